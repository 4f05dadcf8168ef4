"""Promise 2: what ends an actor together with its parent leaves it alone while the parent lives.

The kernel's signal for the death of a parent fires when the *thread* ends that has forked. trio's
worker threads end after ten seconds without work; the full wait is longer than that.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import trio

import actorsys

from . import processes
from .figure import Figure
from .programs import callees

ACTORS_EACH_WAY = 2
WAYS = 4

Start = Callable[[str], Awaitable[int]]
"""Starts an actor of the given name and returns its pid."""


def idle(seconds: int, seed: int) -> Iterator[Figure]:
    """Leave actors alone for *seconds*; the tasks and threads that started them have ended."""
    started: list[int] = []
    try:
        deaths = trio.run(_count_deaths, started, seconds)
        story = f"{deaths} deaths"
    except Exception as error:
        # A death that nobody waits for leaves through the nursery.
        deaths, story = 1, f"at least 1 death: {error!r}"
    yield Figure(
        promise=2,
        what=f"actors idle for {seconds} s, what had started them having ended",
        n=len(started),
        seed=seed,
        worst=story,
        target="0 deaths",
        is_met=not deaths and len(started) == WAYS * ACTORS_EACH_WAY,
    )


async def _count_deaths(started: list[int], seconds: int) -> int:
    """Start actors in all ways, and count who is gone after *seconds*; note all pids."""
    with trio.CancelScope() as scope:
        async with _open_parents() as starts:
            for number in range(ACTORS_EACH_WAY):
                for start in starts:
                    started.append(await start(f"idle-{number}"))
            await trio.sleep(seconds)
            gone = [pid for pid in started if not processes.is_living(pid)]
            scope.cancel()
    return len(gone)


@asynccontextmanager
async def _open_parents() -> AsyncIterator[list[Start]]:
    """Open a nursery here and one in an actor; yield the ways to start actors in them."""
    async with actorsys.open_nursery() as nursery:

        async def start(name: str) -> int:
            return (await nursery.start_actor(name)).pid

        parent = await nursery.start_actor("parent", modules=[callees.__name__])
        async with parent.open_context(callees.keep_nursery):
            yield [
                partial(_start_in_task, start),
                partial(_start_in_thread, start),
                partial(_start_in_foreign_thread, start),
                partial(parent.run, callees.start_child_from_thread),
            ]


async def _start_in_task(start: Start, name: str) -> int:
    pids: list[int] = []

    async def start_one() -> None:
        pids.append(await start(name))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(start_one)
    return pids[0]


async def _start_in_thread(start: Start, name: str) -> int:
    return await trio.to_thread.run_sync(trio.from_thread.run, start, name)


async def _start_in_foreign_thread(start: Start, name: str) -> int:
    """Start an actor from a thread that trio knows nothing of, and let that end."""
    pids: list[int] = []
    token = trio.lowlevel.current_trio_token()
    thread = threading.Thread(
        target=lambda: pids.append(trio.from_thread.run(start, name, trio_token=token))
    )
    thread.start()
    await trio.to_thread.run_sync(thread.join)
    return pids[0]
