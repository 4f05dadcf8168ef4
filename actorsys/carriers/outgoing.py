"""What a participant sends, on its way to the hub."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import BridgeClosed, CarrierOverflow, RunEnded
from ..limits import Limits
from .frames import Item, ToHub
from .lane import credit, queue


class _Held(NamedTuple):
    """A message or a reply that waits for credit, or to be accepted."""

    item: Item
    size: int
    waiter: Any


class _Lane:
    """The messages, or the replies: none waits for the other kind."""

    def __init__(self, limits: Limits) -> None:
        self.held: deque[_Held] = deque()
        self.waiting = queue(limits)
        self.under_way = credit(limits)


class Outgoing:
    """Takes items from any thread, and lets them out in that order in one other thread.

    Messages and replies need credit: what the hub has not accepted is bounded. Without credit they
    are held here, and what else there is to tell goes past them, with their number.

    *post* has a function called where *transmit* may be called. All state is owned by the lock.
    """

    def __init__(
        self,
        limits: Limits,
        post: Callable[[Callable[[], None]], None],
        transmit: Callable[[Item], None],
    ) -> None:
        self._lock = threading.Lock()
        self._post = post
        self._transmit = transmit
        self._numbers = itertools.count()
        self._ready: deque[Item] = deque()
        self._lanes = {ToHub.MESSAGE: _Lane(limits), ToHub.REPLY: _Lane(limits)}
        self._unaccepted: dict[int, _Held] = {}
        self._is_posted = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Outgoing: {self._held} held, {len(self._unaccepted)} not accepted>"

    @property
    def _held(self) -> int:
        return sum(len(lane.held) for lane in self._lanes.values())

    def send(self, kind: int, rest: Iterable[Any], size: int, waiter: Any) -> None:
        """Send a message or a reply of *size* bytes; *waiter* is for `accepted` to return.

        Raises:
          CarrierOverflow: too much is held already.
          RunEnded: the run has ended.
        """
        with self._lock:
            self._check_open()
            lane = self._lanes[kind]
            if not lane.waiting.has_room:
                raise CarrierOverflow(
                    f"{lane.waiting.frames:,} messages of {lane.waiting.bytes:,} bytes wait to be "
                    f"accepted already (limits.carrier_queue_frames and _bytes); await what "
                    f"send_to_other returns"
                )
            lane.waiting.add(size)
            lane.held.append(_Held([kind, next(self._numbers), *rest], size, waiter))
            self._spend_credit(lane)
            self._check_open()

    def tell(self, kind: int, *rest: Any) -> None:
        """Tell the hub something that needs no credit; nothing happens once this is closed."""
        with self._lock:
            if not self._is_closed:
                self._ready.append([kind, self._held, *rest])
                self._wake()

    def accepted(self, number: int) -> Any:
        """Take notice that the hub has accepted an item; return its waiter."""
        with self._lock:
            held = self._unaccepted.pop(number)
            lane = self._lanes[held.item[0]]
            lane.under_way.remove(held.size)
            self._spend_credit(lane)
            return held.waiter

    def close(self) -> list[Any]:
        """Send nothing more; return the waiters of what was not accepted."""
        with self._lock:
            self._is_closed = True
            left = [*self._unaccepted.values()]
            for lane in self._lanes.values():
                left += lane.held
                lane.held.clear()
            self._unaccepted.clear()
            self._ready.clear()
            return [held.waiter for held in left]

    def _spend_credit(self, lane: _Lane) -> None:
        while lane.held and lane.under_way.has_room:
            held = lane.held.popleft()
            lane.waiting.remove(held.size)
            lane.under_way.add(held.size)
            self._unaccepted[held.item[1]] = held
            self._ready.append(held.item)
        self._wake()

    def _wake(self) -> None:
        if self._ready and not self._is_posted:
            try:
                self._post(self._drain)
            except BridgeClosed:
                self._is_closed = True
            self._is_posted = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise RunEnded("the run has ended, or this participant is being stopped")

    def _drain(self) -> None:
        with self._lock:
            ready, self._ready = self._ready, deque()
            self._is_posted = False
        for item in ready:
            self._transmit(item)
