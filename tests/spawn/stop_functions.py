"""Functions that end well, badly, or not at all, for the tests of stopping."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator

import journal
import trio

import actorsys


async def add(a: int, b: int) -> int:
    return a + b


async def note_end(path: str, name: str = "it") -> None:
    journal.write(path, f"{name} started")
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.02)
        journal.write(path, f"{name} ended")


async def note_end_of_stream(path: str) -> AsyncIterator[int]:
    journal.write(path, "stream started")
    try:
        yield 0
        await trio.sleep_forever()
    finally:
        journal.write(path, "stream ended")


@actorsys.context
async def note_end_of_context(ctx: actorsys.Context, path: str) -> None:
    await ctx.started()
    journal.write(path, "context started")
    try:
        await trio.sleep_forever()
    finally:
        journal.write(path, "context ended")


async def note_end_two_deep(path: str) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("deep", modules=[__name__])
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, note_end, path, "inner")
            await note_end(path, "outer")


async def ignore_cancel(path: str) -> None:
    with trio.CancelScope(shield=True):
        journal.write(path, "started")
        await trio.sleep_forever()


async def ignore_everything(path: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await ignore_cancel(path)


async def block_the_loop(path: str) -> None:
    journal.write(path, "started")
    time.sleep(30)


async def ignore_cancel_two_deep(path: str) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("deep", modules=[__name__])
        await portal.run(ignore_everything, path)


def block_a_thread(path: str) -> None:
    journal.write(path, "started")
    time.sleep(30)


async def idle(path: str) -> None:
    journal.write(path, "started")
    await trio.sleep_forever()
