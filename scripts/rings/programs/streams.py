"""Producers that are fast, and consumers that do not keep up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

import actorsys

SLOW_BYTES_PER_SECOND = 64 * 1024 * 1024

Consumer = Callable[[actorsys.MsgStream], Awaitable[None]]


async def produce(item_bytes: int, total_bytes: int) -> AsyncIterator[bytes]:
    """Yield items as fast as they are taken."""
    for _ in range(total_bytes // item_bytes):
        yield bytes(item_bytes)


@actorsys.context
async def consume(ctx: actorsys.Context, how: str) -> None:
    """Read the stream of the caller in one of the ways of `CONSUMERS`."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await CONSUMERS[how](stream)


async def read_slowly(stream: actorsys.MsgStream) -> None:
    """Read at `SLOW_BYTES_PER_SECOND`, to the end."""
    began = time.monotonic()
    count = 0
    async for item in stream:
        count += len(item)
        ahead = began + count / SLOW_BYTES_PER_SECOND - time.monotonic()
        await trio.sleep(max(0.0, ahead))


async def read_fast(stream: actorsys.MsgStream) -> None:
    """Read what there is, to the end."""
    async for _ in stream:
        pass


async def never_read(stream: actorsys.MsgStream) -> None:
    """Have the stream open, and that is all."""
    await trio.sleep_forever()


CONSUMERS: dict[str, Consumer] = {"slow": read_slowly, "fast": read_fast, "never": never_read}


async def wake_up(pid: int, seconds: float) -> None:
    """Let the frozen process *pid* go on after *seconds*."""
    await trio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
