"""Promise 15: how soon a cancellation, and a deadline, has reached the work.

The clock of `time.monotonic` is one for all processes, so the actor that works can say when it was
stopped.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import trio

import actorsys

from .figure import Figure
from .latencies import in_ms, p99
from .programs import relays

RELAYS = 2
CANCELLED_WITHIN_SECONDS = 0.05
STOPPED_WITHIN_SECONDS = 0.1
BEFORE_CANCEL_SECONDS = 0.005
DEADLINE_SECONDS = (0.02, 0.06)
HELD_UP_SECONDS = 0.15


# --- cancellations ----------------------------------------------------------------------------


CANCEL_WAYS = [
    ("quiet link", 0, False),
    ("link with a stream at full speed", 0, True),
    (f"through {RELAYS} actors", RELAYS, False),
]
"""Each with the number of actors between, and whether a stream keeps the link busy."""


def cancel_calls(trials: int, seed: int) -> Iterator[Figure]:
    """Cancel *trials* calls in each of `CANCEL_WAYS`."""
    chance = random.Random(seed)
    for way, relay_count, is_busy in CANCEL_WAYS:
        delays = trio.run(_cancel_all, trials, chance, relay_count, is_busy)
        yield Figure(
            promise=15,
            what=f"from a cancellation to its arrival in the work, p99, {way}",
            n=len(delays),
            seed=seed,
            worst=f"{in_ms(p99(delays))} (slowest {in_ms(max(delays))})",
            target=in_ms(CANCELLED_WITHIN_SECONDS),
            is_met=p99(delays) <= CANCELLED_WITHIN_SECONDS and len(delays) == trials,
        )


async def _cancel_all(
    trials: int, chance: random.Random, relay_count: int, is_busy: bool
) -> list[float]:
    """Return for each call how long its cancellation took to arrive."""
    delays = []
    async with _open_row(relay_count) as portal, trio.open_nursery() as tasks:
        if is_busy:
            tasks.start_soon(_read_stream, portal)
        for _ in range(trials):
            pause = chance.random() * BEFORE_CANCEL_SECONDS
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as calls:
                    calls.start_soon(portal.run, relays.work)
                    await _wait_working(portal)
                    await trio.sleep(pause)
                    began = time.monotonic()
                    scope.cancel()
            delays += [stop - began for stop in await portal.run(relays.take_stops)]
        tasks.cancel_scope.cancel()
    return delays


async def _wait_working(portal: actorsys.Portal) -> None:
    """Return when a call that was sent before is running: calls of one link start in order."""
    await portal.run(relays.take_stops)


async def _read_stream(portal: actorsys.Portal) -> None:
    async with portal.open_stream_from(relays.count) as stream:
        async for _ in stream:
            pass


# --- deadlines --------------------------------------------------------------------------------


async def _be_awake(portal: actorsys.Portal, seconds: float) -> None:
    await trio.sleep_forever()


async def _be_blocked(portal: actorsys.Portal, seconds: float) -> None:
    time.sleep(seconds + HELD_UP_SECONDS)


async def _freeze_relay(portal: actorsys.Portal, seconds: float) -> None:
    assert portal.pid is not None
    os.kill(portal.pid, signal.SIGSTOP)
    time.sleep(seconds + HELD_UP_SECONDS)
    os.kill(portal.pid, signal.SIGCONT)


HoldUp = Callable[[actorsys.Portal, float], Awaitable[None]]
"""Spends the time until the deadline, and longer, so that somebody cannot see to it."""

DEADLINE_WAYS: list[tuple[str, int, HoldUp]] = [
    ("direct, caller awake", 0, _be_awake),
    ("direct, caller blocked", 0, _be_blocked),
    (f"through {RELAYS} actors, caller awake", RELAYS, _be_awake),
    (f"through {RELAYS} actors, caller blocked", RELAYS, _be_blocked),
    (
        f"through {RELAYS} actors, caller blocked and the first of them frozen",
        RELAYS,
        _freeze_relay,
    ),
]


def miss_deadlines(trials: int, seed: int) -> Iterator[Figure]:
    """Let *trials* calls run into their deadline in each of `DEADLINE_WAYS`."""
    chance = random.Random(seed)
    for way, relay_count, hold_up in DEADLINE_WAYS:
        delays = trio.run(_miss_all, trials, chance, relay_count, hold_up)
        worst = max(delays, default=0.0)
        yield Figure(
            promise=15,
            what=f"from a deadline to the end of the work, {way}",
            n=len(delays),
            seed=seed,
            worst=in_ms(worst),
            target=in_ms(STOPPED_WITHIN_SECONDS),
            is_met=worst <= STOPPED_WITHIN_SECONDS and len(delays) == trials,
        )


async def _miss_all(
    trials: int, chance: random.Random, relay_count: int, hold_up: HoldUp
) -> list[float]:
    """Return for each call how long after its deadline the work has ended.

    A call whose deadline passes before the work has begun is made again.
    """
    delays: list[float] = []
    async with _open_row(relay_count) as portal:
        for _ in range(2 * trials):
            if len(delays) == trials:
                break
            seconds = chance.uniform(*DEADLINE_SECONDS)
            deadline = time.monotonic() + seconds
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as calls:
                    calls.start_soon(portal.run, relays.work)
                    await _wait_working(portal)
                    await hold_up(portal, seconds)
            delays += [stop - deadline for stop in await portal.run(relays.take_stops)]
    return delays


@asynccontextmanager
async def _open_row(relay_count: int) -> AsyncIterator[actorsys.Portal]:
    """Start an actor with *relay_count* more between it and the work; yield its portal."""
    with trio.CancelScope() as scope:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("first", modules=[relays.__name__])
            async with portal.open_context(relays.keep_row, relay_count):
                yield portal
                scope.cancel()
