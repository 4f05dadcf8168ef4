"""What one who publishes much holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Portal
from ..actor.parcels import Parcel, pack
from ..errors import ChannelClosed
from ..limits import Limits
from . import service
from .broker import Broker, check_fits

Send = Callable[[Parcel], Awaitable[Any]]
Count = Callable[[], int]


class Publisher(trio.abc.SendChannel[Any]):
    """Publishes to one topic, without an answer for each item; see `Topic.open_publisher`."""

    def __init__(
        self,
        topic: str,
        limits: Limits,
        send: Send,
        count: Count,
        changed: trio.lowlevel.ParkingLot,
    ) -> None:
        self.topic = topic
        self._limits = limits
        self._send = send
        self._count = count
        self._changed = changed
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{self.subscribers} listen"
        return f"<Publisher to {self.topic!r}: {state}>"

    @property
    def subscribers(self) -> int:
        """How many listen, as far as is known here; news takes the time of a message."""
        return self._count()

    @enable_ki_protection
    async def wait_subscribers(self, count: int = 1) -> None:
        """Wait until at least *count* listen.

        Raises:
          ChannelClosed: this was closed, before or meanwhile.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        while self._count() < count:
            await self._changed.park()
            self._check_open()

    async def send(self, value: Any) -> None:
        """Publish *value* as it is now; wait while those are full who are not to miss anything.

        If cancelled, some may have it already.

        Raises:
          EncodeError, LimitExceeded: it cannot travel.
          ChannelClosed: this was closed.
          ActorUnavailable: the link to the root is lost.
        """
        self._check_open()
        await self._send(pack_item(value, self._limits))

    def close(self) -> None:
        """Publish nothing more."""
        self._is_closed = True
        self._changed.unpark_all()

    async def aclose(self) -> None:
        """Publish nothing more; leaving the block waits for what was sent before."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ChannelClosed("this publisher was closed here")


def pack_item(value: Any, limits: Limits) -> Parcel:
    """Return *value* as it is now, ready to be published.

    Raises:
      EncodeError, LimitExceeded: it cannot travel.
    """
    return check_fits(pack(value), limits)


@asynccontextmanager
async def publish_in_root(broker: Broker, topic: str) -> AsyncIterator[Publisher]:
    """Open a publisher of the root itself."""

    async def send(parcel: Parcel) -> None:
        await broker.publish(topic, parcel)

    publisher = Publisher(topic, broker.limits, send, lambda: broker.count(topic), broker.changed)
    try:
        yield publisher
    finally:
        publisher.close()


@asynccontextmanager
@enable_ki_protection
async def publish_over_link(root: Portal, limits: Limits, topic: str) -> AsyncIterator[Publisher]:
    """Open a publisher of another actor."""
    changed = trio.lowlevel.ParkingLot()
    async with root.open_context(service.publish_all, topic) as (ctx, count):

        def on_count(news: int) -> None:
            nonlocal count
            count = news
            changed.unpark_all()

        async with ctx.open_stream() as stream:
            stream.flow.divert(on_count)
            publisher = Publisher(topic, limits, stream.send, lambda: count, changed)
            try:
                yield publisher
            finally:
                publisher.close()
