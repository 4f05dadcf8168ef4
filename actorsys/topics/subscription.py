"""What one who listens holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import MsgStream, Portal
from ..actor.parcels import unpack
from ..errors import ActorsysError
from . import service
from .broker import Broker
from .subscriber import Delivery, Subscriber, WhenFull, too_slow


class Publication(NamedTuple):
    """Something that was published: where, and what."""

    topic: str
    value: Any


class Source(Protocol):
    """Where the items of a subscription come from."""

    async def take(self) -> Delivery:
        """Return the next item; a checkpoint, even if it is there already."""

    def credit(self) -> None:
        """Take note that the item was read."""

    def close(self) -> None:
        """Give no more items."""


class TopicSubscription(trio.abc.ReceiveChannel[Publication]):
    """What is published to a topic, or to all that a pattern means, from now on.

    Iterate over it: ``async for topic, value in subscription``. ``dropped`` is how many items were
    left out before the one received last, because this was full.
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
          RemoteProtocolError: the value means nothing in this process; the next one may.
          BufferFault: a buffer in it is not to be had any more; the next one may be.
          SubscriberTooSlow: the subscription has ended, because it was to when full.
          ChannelClosed: it was closed here.
          ActorUnavailable: the link to the root is lost.
        """
        delivery = await self._source.take()
        self._source.credit()
        self.dropped = delivery.dropped
        return Publication(delivery.topic, unpack(delivery.parcel))

    async def aclose(self) -> None:
        """End the subscription, as leaving its block does. What was not read is dropped."""
        self._source.close()
        await trio.lowlevel.checkpoint()


class _SourceInRoot:
    """The subscriber itself."""

    def __init__(self, broker: Broker, subscriber: Subscriber) -> None:
        self._broker = broker
        self._subscriber = subscriber

    async def take(self) -> Delivery:
        await self._broker.pause()
        return await self._subscriber.take()

    def credit(self) -> None:
        self._subscriber.credit(1)

    def close(self) -> None:
        self._subscriber.close()


class _SourceOverLink:
    """The stream that comes from the root, which ends it only if this was too slow.

    The root is told what was read in batches, of half the capacity.
    """

    def __init__(self, stream: MsgStream, pattern: str, capacity: int) -> None:
        self._stream = stream
        self._pattern = pattern
        self._batch = max(1, capacity // 2)
        self._read = 0

    async def take(self) -> Delivery:
        if self._read >= self._batch:
            await self._credit_later()
        try:
            item = await self._stream.__anext__()
        except StopAsyncIteration:
            raise too_slow(self._pattern) from None
        return Delivery(*item)

    def credit(self) -> None:
        self._read += 1
        if self._read >= self._batch:
            flow = self._stream.flow
            with suppress(ActorsysError):  # how the stream has ended is told once all was read
                if flow.send_frame_nowait(flow.encode(self._read)):
                    self._read = 0

    async def _credit_later(self) -> None:
        """Tell what could not be told at once, since the link was crowded, or is lost."""
        count, self._read = self._read, 0
        try:
            await self._stream.send(count)
        except BaseException as error:
            self._read += count
            if not isinstance(error, ActorsysError):
                raise

    def close(self) -> None:
        self._stream.flow.stop()


@asynccontextmanager
async def subscribe_in_root(
    broker: Broker, pattern: str, capacity: int, when_full: WhenFull
) -> AsyncIterator[TopicSubscription]:
    """Open a subscription of the root itself."""
    with broker.subscribing(pattern, capacity, when_full) as subscriber:
        yield TopicSubscription(pattern, _SourceInRoot(broker, subscriber))


@asynccontextmanager
async def subscribe_over_link(
    root: Portal, pattern: str, capacity: int, when_full: WhenFull
) -> AsyncIterator[TopicSubscription]:
    """Open a subscription of another actor."""
    async with root.open_context(service.subscribe, pattern, capacity, when_full) as (ctx, _):
        async with ctx.open_stream() as stream:
            yield TopicSubscription(pattern, _SourceOverLink(stream, pattern, capacity))
