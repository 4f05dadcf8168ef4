"""One who listens, as the broker sees it: a bounded queue, and a rule for when it is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import trio
from trio.lowlevel import enable_ki_protection

from ..actor.parcels import Parcel, size_of
from ..errors import ChannelClosed, SubscriberTooSlow
from ..limits import Limits

WhenFull = Literal["block", "drop_oldest", "drop_new", "end"]
WHEN_FULL: tuple[str, ...] = get_args(WhenFull)

_ITEM_BYTES = 128  # what a queued item takes beside its value: its place, a tuple and two headers


class Delivery(NamedTuple):
    """What a subscriber is given: the topic, the value packed, and how many were dropped so far."""

    topic: str
    parcel: Parcel
    dropped: int


Send = Callable[[Delivery], bool]
"""Takes a delivery if it can do so at once; returns whether it has."""


class Subscriber:
    """A queue of at most *capacity* items that wait to be sent to one who listens.

    As many more can be sent and not read yet: `credit` says that some were. Owned by the `Broker`,
    whose *on_end* is called once, when it takes no more.
    """

    def __init__(
        self,
        pattern: str,
        capacity: int,
        when_full: WhenFull,
        limits: Limits,
        on_end: Callable[[Subscriber], None],
    ) -> None:
        self.pattern = pattern
        self.when_full = when_full
        self.dropped = 0
        self.has_ended = False
        self.is_overrun = False
        self._capacity = capacity
        self._max_bytes = limits.max_subscriber_bytes
        self._on_end = on_end
        self._queue: deque[tuple[str, Parcel]] = deque()
        self._queued_bytes = 0
        self._unread = 0
        self._send: Send | None = None
        self._is_taken = False
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else self.when_full
        return f"<Subscriber to {self.pattern!r}: {state}, {len(self._queue)} waiting>"

    @property
    def is_full(self) -> bool:
        """Whether there is room for no further item."""
        return len(self._queue) >= self._capacity or self._queued_bytes > self._max_bytes

    # --- what publishers do --------------------------------------------------------------

    def offer(self, topic: str, parcel: Parcel) -> bool:
        """Take an item, or do with it what the rule says; False if its publisher has to wait."""
        if self.has_ended or self._pass_on(topic, parcel):
            return True
        if self.is_full:
            if self.when_full == "block":
                return False
            if self.when_full == "end":
                self.is_overrun = True
                self._take_no_more()
                return True
            if self.when_full == "drop_new":
                self.dropped += 1
                return True
            self._drop_oldest()
        self._queue.append((topic, parcel))
        self._queued_bytes += _ITEM_BYTES + size_of(parcel)
        self._changed.unpark_all()
        return True

    @enable_ki_protection
    async def put(self, topic: str, parcel: Parcel) -> None:
        """Give it an item as soon as there is room."""
        while not self.offer(topic, parcel):
            await self._changed.park()

    def _pass_on(self, topic: str, parcel: Parcel) -> bool:
        if self._queue or self._is_taken or self._send is None or self._unread >= self._capacity:
            return False
        if not self._send(Delivery(topic, parcel, self.dropped)):
            return False
        self._unread += 1
        return True

    def _drop_oldest(self) -> None:
        while self.is_full:
            self._pop()
            self.dropped += 1

    # --- what the one who listens does ---------------------------------------------------

    def send_with(self, send: Send) -> None:
        """Have items sent by *send* in the publisher's task, when that can be done at once."""
        self._send = send

    @enable_ki_protection
    async def take(self) -> Delivery:
        """Return the next item, once it may be sent; until the next call it is being sent.

        Raises:
          SubscriberTooSlow: the rule has ended it, and what had come before was taken.
          ChannelClosed: the one who listens has ended it.
        """
        self._is_taken = False
        while not self._queue or self._unread >= self._capacity:
            if self.has_ended and not self._queue:
                raise self.reason()
            await self._changed.park()
        self._is_taken = True
        topic, parcel = self._pop()
        self._unread += 1
        return Delivery(topic, parcel, self.dropped)

    def credit(self, count: int) -> None:
        """Take note that *count* more items were read."""
        self._unread = max(0, self._unread - count)
        self._changed.unpark_all()

    def close(self) -> None:
        """Take no more, and forget what waits."""
        self._queue.clear()
        self._queued_bytes = 0
        self._take_no_more()

    def reason(self) -> SubscriberTooSlow | ChannelClosed:
        """Return why there is nothing more to take."""
        return too_slow(self.pattern) if self.is_overrun else closed()

    def _take_no_more(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._on_end(self)
        self._changed.unpark_all()

    def _pop(self) -> tuple[str, Parcel]:
        topic, parcel = self._queue.popleft()
        self._queued_bytes -= _ITEM_BYTES + size_of(parcel)
        self._changed.unpark_all()
        return topic, parcel


def too_slow(pattern: str) -> SubscriberTooSlow:
    """Return the error of one that was to end when it was full."""
    return SubscriberTooSlow(
        f"there was no room for an item to {pattern!r}; read faster, or subscribe with a larger "
        f"capacity or another when_full"
    )


def closed() -> ChannelClosed:
    """Return the error of one that was left."""
    return ChannelClosed("this subscription was closed here")
