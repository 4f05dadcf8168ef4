"""What one who publishes much holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Portal
from ..actor.parcels import Parcel, pack
from . import service
from .broker import Broker

Count = Callable[[], int]
Send = Callable[[Parcel], Awaitable[Any]]


class Publisher(trio.abc.SendChannel[Any]):
    """Publishes to one topic, without an answer for each item."""

    def __init__(self, topic: str, send: Send, count: Count, changed: trio.lowlevel.ParkingLot):
        self.topic = topic
        self._send = send
        self._count = count
        self._changed = changed

    def __repr__(self) -> str:
        return f"<Publisher to {self.topic!r}: {self.subscribers} listen>"

    @property
    def subscribers(self) -> int:
        """How many listen, as far as is known here; news takes the time of a message."""
        return self._count()

    async def wait_subscribers(self, count: int = 1) -> None:
        """Wait until at least *count* listen."""
        await trio.lowlevel.checkpoint()
        while self._count() < count:
            await self._changed.park()

    async def send(self, value: Any) -> None:
        """Publish *value* as it is now; wait while those are full who are not to miss anything.

        If cancelled, some may have it already.

        Raises:
          EncodeError: it cannot travel.
          ActorUnavailable: the link to the root is lost.
        """
        await self._send(pack(value))

    async def aclose(self) -> None:
        """Do nothing: leaving the block of `Topic.open_publisher` ends it."""
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def publish_in_root(broker: Broker, topic: str) -> AsyncIterator[Publisher]:
    """Open a publisher of the root itself."""

    async def send(parcel: Parcel) -> None:
        await broker.publish(topic, parcel)

    yield Publisher(topic, send, lambda: broker.count(topic), broker.changed)


@asynccontextmanager
@enable_ki_protection
async def publish_over_link(root: Portal, topic: str) -> AsyncIterator[Publisher]:
    """Open a publisher of another actor."""
    changed = trio.lowlevel.ParkingLot()
    async with root.open_context(service.publish_all, topic) as (ctx, count):

        def on_count(news: int) -> None:
            nonlocal count
            count = news
            changed.unpark_all()

        async with ctx.open_stream() as stream:
            stream.flow.divert(on_count)
            yield Publisher(topic, stream.send, lambda: count, changed)
