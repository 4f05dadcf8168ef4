"""Calls, one after the other, each of which is timed."""

from __future__ import annotations

import time

import trio

import actorsys

from . import callees

BETWEEN_SECONDS = 0.001
WARM_UP_CALLS = 50


async def warm_up(portal: actorsys.Portal) -> None:
    """Make the calls that are not timed."""
    for _ in range(WARM_UP_CALLS):
        await portal.run(callees.echo, 7)


async def repeat(portal: actorsys.Portal, durations: list[float]) -> None:
    """Make calls until cancelled, and note how long each takes."""
    while True:
        began = time.perf_counter()
        await portal.run(callees.echo, 7)
        durations.append(time.perf_counter() - began)
        await trio.sleep(BETWEEN_SECONDS)


@actorsys.context
async def compare(ctx: actorsys.Context) -> list[float]:
    """Call a child of this actor while the stream is open; return how long each call took."""
    durations: list[float] = []
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("compared", modules=[callees.__name__])
        await warm_up(portal)
        await ctx.started()
        async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
            tasks.start_soon(repeat, portal, durations)
            async for _ in stream:
                pass
            tasks.cancel_scope.cancel()
        await nursery.cancel()
    return durations
