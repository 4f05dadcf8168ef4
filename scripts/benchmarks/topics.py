"""One item for ten others: published to a topic, or sent by ten streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import actorsys

from .timing import measure_rate

LISTENERS = 10
ITEMS = 1024  # to each: the answers of the ten, once they have them, do not count
TOPIC = "benchmark.items"


@actorsys.context
async def read_stream(ctx: actorsys.Context) -> None:
    """Read items, and say so after as many as are sent at a time."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await _count(stream, stream)


@actorsys.context
async def read_topic(ctx: actorsys.Context) -> None:
    """Read what is published, and say so after as many as are published at a time."""
    async with actorsys.Topic(TOPIC).subscribe() as subscription:
        await ctx.started()
        async with ctx.open_stream() as stream:
            await _count(subscription, stream)


async def _count(items: AsyncIterator[Any], stream: actorsys.MsgStream) -> None:
    count = 0
    async for _ in items:
        count += 1
        if count % ITEMS == 0:
            await stream.send(count)


class FanOut:
    """The jobs about ten listeners, each an actor, which are started for the first of them."""

    def __init__(self, nursery: actorsys.ActorNursery) -> None:
        self._nursery = nursery
        self._listeners: list[actorsys.Portal] = []

    async def streams(self, seconds: float) -> float:
        """Return items a second, each sent to all listeners by a stream of their own."""
        async with self._listening(read_stream) as streams:

            async def send(item: int) -> None:
                for stream in streams:
                    await stream.send(item)

            return await _measure(send, streams, seconds)

    async def topic(self, seconds: float) -> float:
        """Return items a second, each published to all listeners."""
        async with self._listening(read_topic) as streams:
            return await _measure(actorsys.Topic(TOPIC).publish, streams, seconds)

    @asynccontextmanager
    async def _listening(
        self, fn: Callable[..., Awaitable[None]]
    ) -> AsyncIterator[list[actorsys.MsgStream]]:
        """Have all listeners run *fn* while the block runs; yield the streams to them."""
        while len(self._listeners) < LISTENERS:
            name = f"listener {len(self._listeners)}"
            self._listeners.append(await self._nursery.start_actor(name, modules=[__name__]))
        async with AsyncExitStack() as stack:
            streams = []
            for portal in self._listeners:
                ctx, _ = await stack.enter_async_context(portal.open_context(fn))
                stack.push_async_callback(ctx.cancel)
                streams.append(await stack.enter_async_context(ctx.open_stream()))
            yield streams


async def _measure(
    send: Callable[[int], Awaitable[Any]], streams: list[actorsys.MsgStream], seconds: float
) -> float:
    async def send_all() -> None:
        for number in range(ITEMS):
            await send(number)
        for stream in streams:
            await stream.receive()

    return await measure_rate(send_all, seconds, weight=ITEMS)
