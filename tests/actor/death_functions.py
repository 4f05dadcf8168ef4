"""Functions of actors that are about to die."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import journal
import trio

import actorsys


async def add(a: int, b: int) -> int:
    return a + b


async def hang(path: str | None = None) -> None:
    if path is not None:
        journal.write(path, "hanging")
    await trio.sleep_forever()


async def die_by_signal(number: int) -> None:
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), number)
    await trio.sleep_forever()


async def die_by_exit(code: int) -> None:
    print("last words", file=sys.stderr, flush=True)
    os._exit(code)


def die_in_thread() -> None:
    os._exit(9)


async def count() -> AsyncIterator[int]:
    i = 0
    while True:
        yield i
        i += 1


async def count_then_hang(stop: int) -> AsyncIterator[int]:
    for i in range(stop):
        yield i
    await trio.sleep_forever()


@actorsys.context
async def talk(ctx: actorsys.Context) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)


@actorsys.context
async def start_never(ctx: actorsys.Context) -> None:
    await trio.sleep_forever()


async def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
