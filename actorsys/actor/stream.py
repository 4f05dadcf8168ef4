"""Streams as user code holds them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Flow
from ..errors import ChannelClosed, LocalProtocolError

_SUBSCRIPTION_ITEMS = 64  # how far one subscriber may be ahead of the slowest


class MsgStream(trio.abc.Channel[Any]):
    """A stream of values to and from a task in another actor.

    Iterate over it, or `receive`; items come in order, none is lost. A sender waits while its
    receiver is slow. Leaving its ``async with`` block ends it for both sides.
    """

    def __init__(self, flow: Flow, *, receive_only: bool = False) -> None:
        self.flow = flow
        self._receive_only = receive_only
        self._hub: _Hub | None = None

    def __repr__(self) -> str:
        kind = "one-way" if self._receive_only else "two-way"
        return f"<MsgStream, {kind}: {self.flow!r}>"

    async def send(self, value: Any) -> None:
        """Send *value*; wait while the far side is slow. If cancelled, it was not sent.

        Raises:
          EncodeError, LimitExceeded: it cannot travel; the stream stays usable.
          ChannelBroken: the far side has ended the stream, and would not read it.
          ChannelClosed: this side has.
          RemoteActorError, ActorUnavailable: the far side has failed.
          LocalProtocolError: this is the receiving end of a one-way stream.
        """
        if self._receive_only:
            raise LocalProtocolError("this stream is one-way; use open_context to send as well")
        await self.flow.send(value)

    async def receive(self) -> Any:
        """Return the next item; wait for it. If cancelled, no item is lost.

        Raises:
          trio.EndOfChannel: the far side has ended the stream.
          ChannelClosed: this side has.
          RemoteActorError, ActorUnavailable: the far side has failed.
          EncodeError, BufferFault: this item means nothing in this process; the next one may.
        """
        return await self.flow.receive()

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        return self.flow.__anext__()

    async def aclose(self) -> None:
        """End the stream for both sides. What has not been read is dropped."""
        self.flow.stop()
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    @enable_ki_protection
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Open a subscription: each sees every item that comes while it is open.

        The slowest of them sets the pace. Do not `receive` from the stream itself meanwhile.
        """
        if self._hub is None:
            self._hub = _Hub(self.flow)
        subscription = self._hub.add()
        try:
            yield subscription
        finally:
            subscription.close()


class _Hub:
    """Hands each item of a stream to every subscription.

    There is no task for it: whichever subscriber runs out of items first fetches the next one
    for all of them.
    """

    def __init__(self, flow: Flow) -> None:
        self.subscriptions: set[Subscription] = set()
        self.changed = trio.lowlevel.ParkingLot()
        self._flow = flow
        self._fetching = False

    def add(self) -> Subscription:
        subscription = Subscription(self)
        self.subscriptions.add(subscription)
        return subscription

    @enable_ki_protection
    async def fetch(self) -> None:
        """Fetch one item for everybody, or wait until somebody else has made progress."""
        if self._fetching or self._is_any_full():
            await self.changed.park()
            return
        self._fetching = True
        try:
            item = await self._flow.receive()
            for subscription in self.subscriptions:
                subscription.items.append(item)
        finally:
            self._fetching = False
            self.changed.unpark_all()

    def _is_any_full(self) -> bool:
        return any(len(s.items) >= _SUBSCRIPTION_ITEMS for s in self.subscriptions)


class Subscription(trio.abc.ReceiveChannel[Any]):
    """One local reader's view of a stream that several read; see `MsgStream.subscribe`."""

    def __init__(self, hub: _Hub) -> None:
        self.items: deque[Any] = deque()
        self._hub = hub
        self._closed = False

    def __repr__(self) -> str:
        return f"<Subscription: {len(self.items)} unread>"

    @enable_ki_protection
    async def receive(self) -> Any:
        """Return the next item; wait for it. Raises what `MsgStream.receive` does."""
        if self.items:
            await trio.lowlevel.checkpoint()
        while not self.items:
            if self._closed:
                raise ChannelClosed("this subscription was closed here")
            await self._hub.fetch()
        self._hub.changed.unpark_all()
        return self.items.popleft()

    def close(self) -> None:
        """End this subscription; the others go on."""
        self._closed = True
        self.items.clear()
        self._hub.subscriptions.discard(self)
        self._hub.changed.unpark_all()

    async def aclose(self) -> None:
        """End this subscription; the others go on."""
        self.close()
        await trio.lowlevel.checkpoint()
