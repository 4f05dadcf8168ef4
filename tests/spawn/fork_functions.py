"""Actors that fork."""

from __future__ import annotations

import os
import time

import trio


async def fork_and_wait(path: str) -> int:
    """Fork a copy that stays out of the event loop; return its pid."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


async def fork_and_return() -> int:
    """Fork a copy that comes back into the event loop; return its pid, and 0 in the copy.

    The copy comes first, by as much as it needs to answer in place of the actor.
    """
    pid = os.fork()
    if pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


async def add(a: int, b: int) -> int:
    return a + b


async def fork_among_others() -> set[int]:
    """Fork a copy that returns, in a batch with other tasks; return the pids in which those ran."""
    reader, writer = os.pipe()

    async def note() -> None:
        os.write(writer, f"{os.getpid()} ".encode())

    async def fork() -> None:
        await fork_and_return()

    for _ in range(5):  # the scheduler runs a batch in this order, or the other way round
        async with trio.open_nursery() as tasks:
            for function in (note, note, fork, note, note):
                tasks.start_soon(function)
    os.close(writer)
    with open(reader) as noted:
        return set(map(int, noted.read().split()))
