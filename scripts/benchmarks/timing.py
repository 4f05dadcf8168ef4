"""Time a job: how often a step can be repeated in a second, and how long one takes."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import trio

Step = Callable[[], Awaitable[Any]]

WARM_UP_SHARE = 0.1
"""Of the time of a round; caches, windows and branch predictors are settled well before."""


async def measure_rate(step: Step, seconds: float, *, weight: float = 1) -> float:
    """Repeat *step* for *seconds*; return how many it does per second, times *weight*."""
    await _repeat(step, seconds * WARM_UP_SHARE)
    begin = perf_counter()
    count = await _repeat(step, seconds)
    return count * weight / (perf_counter() - begin)


async def measure_microseconds(step: Step, seconds: float, *, weight: float = 1) -> float:
    """Repeat *step* for *seconds*; return how long a *weight*-th of it takes, in microseconds."""
    return 1e6 / await measure_rate(step, seconds, weight=weight)


async def measure_joint_rate(step: Step, callers: int, seconds: float) -> float:
    """Let *callers* tasks repeat *step* for *seconds*; return the steps per second of all."""
    counts: list[int] = []

    async def call() -> None:
        counts.append(await _repeat(step, seconds))

    await _repeat(step, seconds * WARM_UP_SHARE)
    begin = perf_counter()
    async with trio.open_nursery() as tasks:
        for _ in range(callers):
            tasks.start_soon(call)
    return sum(counts) / (perf_counter() - begin)


async def measure_duration(
    step: Step, seconds: float, *, after: Callable[[], Awaitable[Any]] | None = None
) -> float:
    """Repeat *step* for *seconds*; return the median of how long it takes, in seconds.

    *after* is called after each step and not counted.
    """
    durations: list[float] = []
    while sum(durations) < seconds:
        begin = perf_counter()
        await step()
        durations.append(perf_counter() - begin)
        if after is not None:
            await after()
    return statistics.median(durations)


async def _repeat(step: Step, seconds: float) -> int:
    """Repeat *step*, at least once, until *seconds* are over; return how often."""
    end = perf_counter() + seconds
    count = 0
    while True:
        await step()
        count += 1
        if perf_counter() >= end:
            return count
