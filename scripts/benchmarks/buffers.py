"""A side: buffers handed over and arrays echoed with `actorsys`.

The word on the command line says how arrays travel: ``shared``, through shared memory as they do by
default, or ``copied``, through the socket.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import trio

import actorsys

from . import callees
from .side import Job, serve_jobs
from .sizes import ECHOED_SIZES, MIB, SHARED_SIZE, SIZES
from .timing import measure_joint_rate, measure_microseconds, measure_rate

CALLERS = 16

LIMITS = {
    "shared": actorsys.Limits(),
    "copied": actorsys.Limits(shared_array_bytes=sys.maxsize),
}


class Buffers:
    """The jobs of this side; its buffers stay open in *stack*."""

    def __init__(self, portal: actorsys.Portal, stack: AsyncExitStack) -> None:
        self._portal = portal
        self._stack = stack
        self._opened: dict[int, list[actorsys.Buffer]] = {}

    def jobs(self) -> dict[str, Job]:
        """Return what it can do, by name."""
        return {
            **{f"touch {size}": partial(self._touch, size) for size in SIZES},
            **{f"echo {size}": partial(self._echo, size) for size in ECHOED_SIZES},
            f"touches {SHARED_SIZE}": self._touch_jointly,
        }

    async def _touch(self, nbytes: int, seconds: float) -> float:
        """Return how long a hand-over takes, in microseconds: there, looked at and released."""
        (buffer,) = await self._open(nbytes, 1)
        return await measure_microseconds(partial(self._hand_over, buffer), seconds)

    async def _touch_jointly(self, seconds: float) -> float:
        """Return hand-overs a second of many callers together, each with a buffer of its own."""
        free = list(await self._open(SHARED_SIZE, CALLERS))

        async def hand_over() -> None:
            buffer = free.pop()
            await self._hand_over(buffer)
            free.append(buffer)

        return await measure_joint_rate(hand_over, CALLERS, seconds)

    async def _echo(self, nbytes: int, seconds: float) -> float:
        """Return round trips of an array, in MiB/s."""
        from numpy import ones

        echo = partial(self._portal.run, callees.echo, ones(nbytes // 8))
        return await measure_rate(echo, seconds, weight=nbytes / MIB)

    async def _hand_over(self, buffer: actorsys.Buffer) -> None:
        await self._portal.run(callees.touch, buffer)

    async def _open(self, nbytes: int, count: int) -> list[actorsys.Buffer]:
        """Return *count* open buffers, the same ones each time."""
        buffers = self._opened.setdefault(nbytes, [])
        while len(buffers) < count:
            opened = actorsys.open_buffer(nbytes, "u1")
            buffer = await self._stack.enter_async_context(opened)
            buffer.array()[:MIB] = 1  # what nobody has written to is no memory yet
            buffers.append(buffer)
        return buffers[:count]


async def main(limits: actorsys.Limits) -> None:
    """Be the root of this side's actor."""
    async with actorsys.open_nursery(limits=limits) as nursery, AsyncExitStack() as stack:
        portal = await nursery.start_actor("echo", modules=[callees.__name__])
        await serve_jobs(Buffers(portal, stack).jobs())
        await nursery.cancel()


def run(words: list[str]) -> Any:
    """Run this side as the command line says."""
    return trio.run(main, LIMITS[words[0]])


if __name__ == "__main__":
    run(sys.argv[1:])
