"""What actors of the tests of routing run."""

from __future__ import annotations

import os
import signal
from typing import Any

import actorsys
from actorsys import RoutedMessage


@actorsys.context
async def collect(ctx: actorsys.Context) -> list[Any]:
    """Return the payloads of the messages of a stream, up to one that is None."""
    payloads: list[Any] = []
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for message in stream:
            if message is None:
                break
            payloads.append(message.payload)
    return payloads


async def answer(message: RoutedMessage) -> str:
    """Answer one message; some are deadly, and some are wrong."""
    if message.payload == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if message.payload == "fail":
        raise ValueError("not this one")
    return f"{message.protocol.name} for {message.actor_id}: {message.payload}"
