"""What the endpoints of these tests offer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

import actorsys

running = 0


async def double(n: int) -> int:
    return 2 * n


async def count(stop: int) -> AsyncIterator[int]:
    for i in range(stop):
        yield i


@actorsys.context
async def parrot(ctx: actorsys.Context) -> str:
    await ctx.started("hello")
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return "bye"


async def wait_for_ever() -> None:
    global running
    running += 1
    try:
        await trio.sleep_forever()
    finally:
        running -= 1


async def fail() -> None:
    raise ValueError("no")


async def call_back(address: str, key: bytes) -> int:
    """Be an actor that connects to an endpoint of another process."""
    async with actorsys.open_link(address, key=key, name="a friend") as portal:
        result: int = await portal.run(double, 21)
        return result
