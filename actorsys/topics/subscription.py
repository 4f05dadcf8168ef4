"""What one who listens holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import MsgStream, Portal
from ..actor.parcels import unpack
from . import service
from .broker import Broker
from .subscriber import Delivery, Subscriber, WhenFull


class Publication(NamedTuple):
    """Something that was published: where, and what."""

    topic: str
    value: Any


class Source(Protocol):
    """Where the items of a subscription come from."""

    async def take(self) -> Delivery:
        """Return the next item."""

    def credit(self, count: int) -> None:
        """Take note that *count* more items were read."""


class TopicSubscription(trio.abc.ReceiveChannel[Publication]):
    """What is published to a topic, or to all that a pattern means, from now on.

    Iterate over it: ``async for topic, value in subscription``. ``dropped`` is how many items were
    left out so far, because this was full.
    """

    def __init__(self, pattern: str, source: Source) -> None:
        self.pattern = pattern
        self.dropped = 0
        self._source = source

    def __repr__(self) -> str:
        return f"<TopicSubscription to {self.pattern!r}: {self.dropped} dropped>"

    @enable_ki_protection
    async def receive(self) -> Publication:
        """Return the next item; wait for it. If cancelled, none is lost.

        Raises:
          SubscriberTooSlow: the subscription has ended, because it was to when full.
          RemoteProtocolError: the value means nothing in this process; the next one may.
          ActorUnavailable: the link to the root is lost.
        """
        delivery = await self._source.take()
        self._source.credit(1)
        self.dropped = delivery.dropped
        return Publication(delivery.topic, unpack(delivery.parcel))

    async def aclose(self) -> None:
        """Do nothing: leaving the block of `Topic.subscribe` ends it."""
        await trio.lowlevel.checkpoint()


class _RemoteSource:
    """The stream that comes from the root."""

    def __init__(self, stream: MsgStream, capacity: int) -> None:
        self._stream = stream
        self._batch = max(1, capacity // 2)
        self._read = 0

    async def take(self) -> Delivery:
        return Delivery(*await self._stream.receive())

    def credit(self, count: int) -> None:
        self._read += count
        if self._read >= self._batch:
            flow = self._stream.flow
            if flow.send_frame_nowait(flow.encode(self._read)):
                self._read = 0


@asynccontextmanager
async def subscribe_in_root(
    broker: Broker, pattern: str, capacity: int, when_full: WhenFull
) -> AsyncIterator[TopicSubscription]:
    """Open a subscription of the root itself."""
    with broker.subscribing(pattern, capacity, when_full) as subscriber:
        source: Subscriber = subscriber
        yield TopicSubscription(pattern, source)


@asynccontextmanager
async def subscribe_over_link(
    root: Portal, pattern: str, capacity: int, when_full: WhenFull
) -> AsyncIterator[TopicSubscription]:
    """Open a subscription of another actor."""
    async with root.open_context(service.subscribe, pattern, capacity, when_full) as (ctx, _):
        async with ctx.open_stream() as stream:
            yield TopicSubscription(pattern, _RemoteSource(stream, capacity))
