"""What the actors of the rings run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import trio

import actorsys


async def echo(value: Any = None) -> Any:
    """Send the argument back."""
    return value


async def count() -> AsyncIterator[int]:
    """Count for as long as somebody reads."""
    number = 0
    while True:
        yield number
        number += 1


async def exit_at_once() -> None:
    """End this process without a word."""
    os._exit(7)


# --- an actor with children of its own --------------------------------------------------------

_nurseries: list[actorsys.ActorNursery] = []


@actorsys.context
async def keep_nursery(ctx: actorsys.Context) -> None:
    """Keep a nursery open, for `start_child_from_thread`, until cancelled."""
    async with actorsys.open_nursery() as nursery:
        _nurseries.append(nursery)
        await ctx.started()
        await trio.sleep_forever()


def start_child_from_thread(name: str) -> int:
    """Start a child; return its pid. A plain function, so it runs in a thread that will end."""
    portal = trio.from_thread.run(_nurseries[0].start_actor, name)
    assert portal.pid is not None
    return portal.pid


# --- an actor that others link to -------------------------------------------------------------


@actorsys.context
async def keep_endpoint(ctx: actorsys.Context, key: bytes) -> None:
    """Keep an endpoint open for the peer ``caller``, until cancelled; start with its address."""
    async with actorsys.open_endpoint(
        "tcp:127.0.0.1:0", modules=[__name__], allow={"caller": key}
    ) as endpoint:
        await ctx.started(endpoint.address)
        await trio.sleep_forever()
