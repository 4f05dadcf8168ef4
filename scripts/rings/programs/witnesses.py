"""Functions that note that they have run, for callers in the same process to compare with."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

import actorsys

ran: Counter[int] = Counter()
"""How often each call has run, by its number."""

running: set[int] = set()
disorder: list[str] = []
"""What was received out of order."""


def forget_all() -> None:
    """Begin with nothing noted."""
    ran.clear()
    running.clear()
    disorder.clear()


@contextmanager
def noted(number: int) -> Iterator[None]:
    """Note that the call *number* runs."""
    ran[number] += 1
    running.add(number)
    try:
        yield
    finally:
        running.discard(number)


def check_order(number: int, expected: int, item: object) -> None:
    """Note it if *item* of a stream is not the *expected* one."""
    if item != expected:
        disorder.append(f"call {number} received {item!r} instead of {expected}")


async def answer(number: int, seconds: float, size: int) -> bytes:
    """Return *size* bytes after *seconds*."""
    with noted(number):
        await trio.sleep(seconds)
        return bytes(size)


async def fail(number: int, seconds: float) -> None:
    """Raise ValueError after *seconds*."""
    with noted(number):
        await trio.sleep(seconds)
        raise ValueError(number)


async def count(number: int, stop: int) -> AsyncIterator[int]:
    """Yield the numbers below *stop*."""
    with noted(number):
        for item in range(stop):
            yield item


@actorsys.context
async def echo(ctx: actorsys.Context, number: int) -> int:
    """Send every item back; return how many there were."""
    with noted(number):
        await ctx.started(number)
        seen = 0
        async with ctx.open_stream() as stream:
            async for item in stream:
                check_order(number, seen, item)
                seen += 1
                await stream.send(item)
        return seen


@actorsys.context
async def cancel_itself(ctx: actorsys.Context, number: int) -> None:
    """Start, and end as cancelled."""
    with noted(number):
        await ctx.started(number)
        await ctx.cancel()
