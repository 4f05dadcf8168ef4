"""Actors in a row, each of which passes calls on to the next; the last one does the work."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import trio

import actorsys

_next: list[actorsys.Portal] = []
_stops: list[float] = []


@actorsys.context
async def keep_row(ctx: actorsys.Context, length: int) -> None:
    """Keep *length* further actors behind this one, until cancelled."""
    if not length:
        await ctx.started()
        await trio.sleep_forever()
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor(f"relay-{length}", modules=[__name__])
        async with portal.open_context(keep_row, length - 1):
            _next.append(portal)
            await ctx.started()
            await trio.sleep_forever()


async def work() -> None:
    """Work until cancelled, at the end of the row; the moment is noted there."""
    if _next:
        await _next[0].run(work)
        return
    try:
        await trio.sleep_forever()
    finally:
        _stops.append(time.monotonic())


async def take_stops() -> list[float]:
    """Return when work was stopped since this was last asked, as `time.monotonic` says it."""
    if _next:
        return await _next[0].run(take_stops)
    stops = _stops.copy()
    _stops.clear()
    return stops


async def count() -> AsyncIterator[int]:
    """Count as fast as the reader reads."""
    number = 0
    while True:
        yield number
        number += 1
