"""What tests of kernels share: a simulation around a test, kernels that are up, small waits."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from actorsys import (
    KernelStatistics,
    MailboxOptions,
    OneForOne,
    ReceiveTimeout,
    RingKernelRuntime,
)
from actorsys.testing.simulation import Simulation

SEED = 1
_BOUND_SECONDS = 1000.0  # of the simulated clock


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test as the root actor of a simulation, on a clock that jumps.

    The seed is the argument ``seed`` of the test, if it has one.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        simulation = Simulation(kwargs.get("seed", SEED))
        print(f"seed {simulation.seed}")

        async def main() -> None:
            with trio.fail_after(_BOUND_SECONDS):
                await test(*args, **kwargs)

        simulation.run(main)

    return run


@asynccontextmanager
async def open_kernels(
    *functions: Callable[..., Any], restarts: int = 3, **options: Any
) -> AsyncIterator[RingKernelRuntime]:
    """Open a runtime in which each of *functions* is active, under its own name."""
    async with RingKernelRuntime(strategy=OneForOne(restarts)) as runtime:
        async with trio.open_nursery() as tasks:
            for function in functions:
                tasks.start_soon(launch_active, runtime, function, options)
        yield runtime


async def launch_active(
    runtime: RingKernelRuntime, function: Callable[..., Any], options: dict[str, Any]
) -> None:
    """Launch a kernel under the name of its function, and activate it."""
    await runtime.launch(function.__name__, function, **options)
    await runtime.activate(function.__name__)


def sized(queue_size: int, **options: Any) -> dict[str, MailboxOptions]:
    """Return the option of `launch` for a small mailbox."""
    return {"mailbox": MailboxOptions(queue_size, **options)}


async def received(runtime: RingKernelRuntime, name: str, count: int) -> list[Any]:
    """Return the next *count* responses of a kernel."""
    return [await runtime.receive(name, timeout=5) for _ in range(count)]


async def left_over(runtime: RingKernelRuntime, name: str) -> list[Any]:
    """Return all responses that a kernel still sends, until it has been silent for a while."""
    found = []
    while True:
        try:
            found.append(await runtime.receive(name, timeout=1))
        except ReceiveTimeout:
            return found


async def at_hand(runtime: RingKernelRuntime, name: str) -> list[Any]:
    """Return the responses that are there, and wait for no more."""
    found = []
    while True:
        try:
            found.append(await runtime.receive(name, timeout=0))
        except ReceiveTimeout:
            return found


async def outcome_of(call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    """Return what *call* returns, or the error that it raises."""
    try:
        return await call(*args, **kwargs)
    except Exception as error:
        return error


def accounted(statistics: KernelStatistics) -> int:
    """Return how many messages are processed, waiting, or dropped without having been seen."""
    dropped = sum(n for reason, n in statistics.dropped.items() if reason != "late")
    return statistics.processed + statistics.queue_depth + dropped
