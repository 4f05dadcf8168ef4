"""What the actors of the benchmark run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

import actorsys


async def echo(value: Any) -> Any:
    """Send the argument back."""
    return value


async def count(stop: int) -> AsyncIterator[int]:
    """Stream the integers below *stop*."""
    for i in range(stop):
        yield i


@actorsys.context
async def echo_items(ctx: actorsys.Context) -> None:
    """Send every item back."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)


@actorsys.context
async def hold_child(ctx: actorsys.Context) -> None:
    """Have a child until cancelled; its pid is the handshake value."""
    async with actorsys.open_nursery() as nursery:
        child = await nursery.start_actor("leaf")
        await ctx.started(child.pid)
        await trio.sleep_forever()


async def touch(buffer: actorsys.Buffer) -> int:
    """Map a buffer, look at its first byte and release it."""
    first = int(buffer.array()[0])
    await buffer.release()
    return first
