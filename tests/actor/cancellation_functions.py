"""Functions that are cancelled; what they see of it they leave in a journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

import journal
import trio

import actorsys


async def add(a: int, b: int) -> int:
    return a + b


async def calls_in_flight() -> int:
    """Return how many calls of our parent run here, this one apart."""
    (link,) = actorsys.current_actor().statistics().links
    return link.calls_in_flight - 1


async def sleep_noting(path: str, name: str) -> None:
    """Sleep until cancelled; note the start and the end."""
    journal.write(path, f"{name} started")
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        journal.write(path, f"{name} cancelled")
        raise


async def call_down(path: str, depth: int) -> None:
    """Start a child, and let the last of *depth* generations sleep; note each end."""
    if not depth:
        await sleep_noting(path, "0")
        return
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor(f"hop-{depth}", modules=[__name__])
        try:
            await portal.run(call_down, path, depth - 1)
        except trio.Cancelled:
            journal.write(path, f"{depth} cancelled")
            raise


async def fail_while_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("clean-up failed")


async def clean_up_slowly(path: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
        journal.write(path, "cleaned up")


async def refuse_to_end(path: str) -> None:
    """Ignore cancellation until the process ends."""
    with trio.CancelScope(shield=True):
        journal.write(path, "started")
        await trio.sleep_forever()


async def return_all_the_same() -> str:
    with contextlib.suppress(trio.Cancelled):
        await trio.sleep_forever()
    return "a result nobody waits for"


async def time_left() -> float:
    return trio.current_effective_deadline() - trio.current_time()


async def call_with_deadline(path: str, seconds: float) -> None:
    """Call a child of this actor under a deadline, and note the child's pid first."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("callee", modules=[__name__])
        with trio.move_on_after(seconds):
            await portal.run(sleep_noting, path, "callee")
        await portal.cancel_actor()


async def numbers() -> AsyncIterator[int]:
    i = 0
    while True:
        yield i
        i += 1


async def silent_numbers(path: str) -> AsyncIterator[int]:
    journal.write(path, "started")
    try:
        yield 0
        await trio.sleep_forever()
    finally:
        journal.write(path, "closed")


def block_a_thread(path: str, seconds: float) -> None:
    journal.write(path, "blocked")
    time.sleep(seconds)


@actorsys.context
async def echo_items(ctx: actorsys.Context) -> str:
    await ctx.started("first")
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return "done"


@actorsys.context
async def send_for_ever(ctx: actorsys.Context) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        while True:
            await stream.send(0)
