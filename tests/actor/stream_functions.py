"""Generators and contexts for the tests of streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import journal
import trio

import actorsys

_produced = 0


async def add(a: int, b: int) -> int:
    return a + b


async def calls_in_flight() -> int:
    """Return how many calls of our parent run here, this one apart."""
    (link,) = actorsys.current_actor().statistics().links
    return link.calls_in_flight - 1


async def count(stop: int) -> AsyncIterator[int]:
    for i in range(stop):
        yield i


async def count_for_ever(path: str) -> AsyncIterator[int]:
    i = 0
    try:
        while True:
            yield i
            i += 1
    finally:
        journal.write(path, "closed")


async def clean_up_with_a_wait(path: str) -> AsyncIterator[int]:
    try:
        while True:
            yield 0
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.02)
        journal.write(path, "closed")


async def fail_in_clean_up() -> AsyncIterator[int]:
    try:
        while True:
            yield 0
    finally:
        raise KeyError("clean-up failed")


async def fail_after(stop: int) -> AsyncIterator[int]:
    for i in range(stop):
        yield i
    raise ValueError("no more")


async def fail_at_once() -> AsyncIterator[int]:
    raise ValueError("not even one")
    yield 0


async def yield_what_cannot_travel() -> AsyncIterator[object]:
    yield 1
    yield object()


async def silent() -> AsyncIterator[int]:
    await trio.sleep_forever()
    yield 0


async def produce(size: int) -> AsyncIterator[bytes]:
    """Yield for ever, and count how often."""
    global _produced
    _produced = 0
    while True:
        yield bytes(size)
        _produced += 1


async def produced() -> int:
    return _produced


async def echo_values(values: list[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value


@actorsys.context
async def never_read(ctx: actorsys.Context) -> None:
    await ctx.started()
    async with ctx.open_stream():
        await trio.sleep_forever()


@actorsys.context
async def total(ctx: actorsys.Context) -> tuple[int, int]:
    """Return how many items came, and how many bytes they had."""
    await ctx.started()
    items = size = 0
    async with ctx.open_stream() as stream:
        async for item in stream:
            items += 1
            size += len(item)
    return items, size


@actorsys.context
async def both_ways(ctx: actorsys.Context, items: int, size: int) -> int:
    """Send and receive so many items at the same time; return how many bytes came."""
    await ctx.started()
    received = 0
    async with ctx.open_stream() as stream, trio.open_nursery() as tasks:

        async def send() -> None:
            for _ in range(items):
                await stream.send(bytes(size))

        tasks.start_soon(send)
        for _ in range(items):
            received += len(await stream.receive())
    return received
