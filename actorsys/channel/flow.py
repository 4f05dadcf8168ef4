"""The items of one call, in both directions, with their credit.

Both ends of a stream use it. The reader task of the link only puts items in and never waits; how
much can pile up is bounded by the window that the peer was granted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import ActorsysError, ChannelBroken, ChannelClosed, retell
from ..wire import EncodedFrame, Item, ReceiveWindow, SendCredit, undone_on_error
from .pacing import Pacing
from .waiters import Waiters

if TYPE_CHECKING:
    from .channel import Channel


class _Unreadable(NamedTuple):
    """An item that means nothing in this process, in its place."""

    fault: ActorsysError


class Flow:
    """The stream of one call, seen from one end. ``channel`` is the link that it goes over.

    A `stop` ends both directions: who sends it neither sends nor reads any more.
    """

    __slots__ = (
        "_changed",
        "_cid",
        "_credit",
        "_failure",
        "_items",
        "_pacing",
        "_peer_stopped",
        "_sink",
        "_stopped",
        "_window",
        "channel",
        "failure_told",
    )

    def __init__(self, channel: Channel, cid: str) -> None:
        self.channel = channel
        self._cid = cid
        self._credit = SendCredit(channel.session.peer_window_bytes)
        self._window = ReceiveWindow(channel.limits.stream_window_bytes)
        self._items: deque[tuple[Any, int]] = deque()
        self._peer_stopped = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._sink: Callable[[Any], None] | None = None
        self.failure_told = False
        limits = channel.limits
        self._pacing = Pacing(limits.items_per_checkpoint, limits.checkpoint_seconds)
        self._changed = Waiters()

    def __repr__(self) -> str:
        state = "stopped" if self._stopped or self._peer_stopped else "open"
        return f"<Flow {self._cid}: {state}, {len(self._items)} unread, {self._credit!r}>"

    @property
    def is_awaited(self) -> bool:
        """Whether a task waits in `send` or `receive` right now."""
        return bool(self._changed)

    @property
    def _is_over(self) -> bool:
        return self._peer_stopped or self._stopped

    # --- what user code does -------------------------------------------------------------

    @enable_ki_protection
    async def send(self, value: Any) -> None:
        """Send an item; wait for credit. If cancelled, the item was not sent.

        Raises:
          EncodeError, LimitExceeded: the item cannot travel; the stream stays usable.
          ChannelBroken: the far side has ended the stream.
          ChannelClosed: this side has.
        """
        await self._wait_sendable()
        await self._send_now(self.encode(value))

    def encode(self, value: Any) -> EncodedFrame:
        """Return *value* as an item that can be sent.

        Raises:
          EncodeError, LimitExceeded: it cannot travel.
        """
        channel = self.channel
        return channel.encode({"yield": channel.codec.wrap_large(value), "cid": self._cid})

    @enable_ki_protection
    async def send_frame(self, frame: EncodedFrame) -> None:
        """Send an encoded item; else as `send`."""
        with undone_on_error(frame):
            await self._wait_sendable()
        await self._send_now(frame)

    async def _wait_sendable(self) -> None:
        """Wait for credit and room; raise if the stream is over.

        What is sent at once after that has both: whoever waits in between has to wait here again.
        """
        if self._pacing.is_pause_due():
            await self._pacing.pause()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        outbox = self.channel.outbox
        while not self._is_over:
            if self._credit.available <= 0:
                await self.channel.reader.wait(self._changed)
            elif outbox.is_full and outbox.broken is None:
                await outbox.wait_progress()
            else:
                return
            self._pacing.begin()
        await self._refuse_to_send()

    async def _send_now(self, frame: EncodedFrame) -> None:
        outbox = self.channel.outbox
        is_large = len(frame) > 1
        self._credit.spend(sum(map(len, frame)) if is_large else len(frame[0]))
        outbox.put(frame)
        if is_large:
            await outbox.give_back(outbox.enqueued)

    @enable_ki_protection
    def send_frame_nowait(self, frame: EncodedFrame) -> bool:
        """Send an encoded item if that can be done at once; return whether it was.

        The memory of a large part must not be changed any more.
        """
        outbox = self.channel.outbox
        if self._is_over or self._credit.available <= 0 or outbox.is_full:
            return False
        self._credit.spend(len(frame[0]) if len(frame) == 1 else sum(map(len, frame)))
        outbox.put(frame)
        return True

    def divert(self, sink: Callable[[Any], None]) -> None:
        """Pass items to *sink*, in the reader's task, in place of keeping them for `receive`.

        Credit is granted back at once: whoever takes items this way bounds what piles up.
        """
        self._sink = sink
        while self._items:
            value, size = self._items.popleft()
            self._consume(size)
            sink(value)

    @enable_ki_protection
    async def receive(self) -> Any:
        """Return the next item; wait for it. If cancelled, no item is lost.

        Raises:
          trio.EndOfChannel: the far side has ended the stream.
          RemoteActorError, ActorUnavailable: it has failed.
          EncodeError, BufferFault: this item means nothing here; the next one may.
        """
        if self._items:
            await self._pacing.pause()
        while not self._items:
            self._check_failure()
            if self._stopped:
                raise ChannelClosed("this stream was closed here")
            if self._peer_stopped:
                raise trio.EndOfChannel
            await self.channel.reader.wait(self._changed)
        return self._take()

    def _take(self) -> Any:
        value, size = self._items.popleft()
        self._consume(size)
        if type(value) is _Unreadable:
            raise retell(value.fault, "a stream item")
        return value

    @enable_ki_protection
    async def __anext__(self) -> Any:
        """Return the next item, as `receive`, for a loop over all of them."""
        # In as few steps as there can be: this is what a stream of small items spends its time on.
        items = self._items
        if items:
            if self._pacing.is_pause_due():
                await self._pacing.pause()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
            if items:
                value, size = items.popleft()
                self._consume(size)
                if type(value) is _Unreadable:
                    raise retell(value.fault, "a stream item")
                return value
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    @enable_ki_protection
    def stop(self) -> None:
        """Send our stop, once; what arrives from now on is dropped."""
        if not self._stopped:
            self.close()
            if self._failure is None and self.channel.is_open:
                self.channel.send({"stop": True, "cid": self._cid})

    @enable_ki_protection
    def close(self) -> None:
        """Send and receive no more; the end of the call will tell the peer."""
        self._stopped = True
        self._items.clear()
        self._wake_all()

    # --- what the reader task does -------------------------------------------------------

    def on_item(self, item: Item) -> bool:
        """Take an item of the peer; return whether it could be.

        One that cannot be read is told to whoever receives it, and the next one may be good. There
        is nobody to be told where items are diverted.
        """
        if self._stopped:
            return True
        if self._sink is not None:
            if item.fault is not None:
                return False
            self._window.receive(item.size)
            self._consume(item.size)
            self._sink(item.value)
            return True
        self._window.receive(item.size)
        value = item.value if item.fault is None else _Unreadable(item.fault)
        self._items.append((value, item.size))
        self._changed.wake()
        return True

    def on_credit(self, size: int) -> None:
        """Take a grant of the peer."""
        self._credit.grant(size)
        self._changed.wake()

    def on_stop(self) -> None:
        """Take the peer's stop: what it sent before can still be received."""
        self._peer_stopped = True
        self._wake_all()

    def finish(self, failure: BaseException | None) -> None:
        """Take the end of the call; what came before it can still be received."""
        self._peer_stopped = True
        self._failure = self._failure or failure
        self._wake_all()

    # --- inside --------------------------------------------------------------------------

    def _wake_all(self) -> None:
        """Have everybody look again, also those who wait for room on the link."""
        self._changed.wake()
        self.channel.outbox.wake_waiting()

    def _check_failure(self) -> None:
        if self._failure is not None:
            self.failure_told = True
            raise self._failure

    async def _refuse_to_send(self) -> None:
        # Whoever ended the stream may have cancelled us as well; then that is what happened.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_failure()
        if self._stopped:
            raise ChannelClosed("this stream was closed here")
        raise ChannelBroken("the far side has ended the stream; nobody would read this")

    def _consume(self, size: int) -> None:
        granted = self._window.consume(size)
        if granted and not self._peer_stopped and self.channel.is_open:
            self.channel.send({"credit": granted, "cid": self._cid})
