"""What waits in the hub, and in which order it is given out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ..actor.parcels import Parcel
from ..limits import Limits

Address = int
Give = Callable[["Lane", "Frame"], int]
"""Gives a frame of a lane to its receiver, and returns the number of the delivery."""


class Frame(NamedTuple):
    """A message or a reply under way, as the hub has it."""

    sender: Address
    number: int
    receiver: Address
    request: int | None
    is_error: bool | None
    """Of a reply, whether it is an error; None for a message."""
    packed: Parcel
    size: int


class Tally:
    """So many frames, so many bytes, and how many of each there may be.

    What is larger than the rest of the room goes through alone.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self.frames = 0
        self.bytes = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"<Tally: {self.frames} frames, {self.bytes} bytes>"

    @property
    def has_room(self) -> bool:
        """Whether one more may come."""
        return self.frames < self._max_frames and self.bytes < self._max_bytes

    def add(self, size: int) -> None:
        """Count a frame of *size* bytes."""
        self.frames += 1
        self.bytes += size

    def remove(self, size: int) -> None:
        """Count one of *size* bytes less."""
        self.frames -= 1
        self.bytes -= size


def credit(limits: Limits) -> Tally:
    """Return a tally of what may be under way to one that has not answered for it."""
    return Tally(limits.carrier_credit_frames, limits.carrier_credit_bytes)


def queue(limits: Limits) -> Tally:
    """Return a tally of what may wait in one place."""
    return Tally(limits.carrier_queue_frames, limits.carrier_queue_bytes)


class Lane:
    """The frames to one receiver, first come, first served.

    Those in front are accepted: their senders may send others. The rest is bounded by the credit of
    the senders. Owned by the hub, which is told of each step through *accept* and *give*.
    """

    def __init__(self, waiting: Tally, accept: Callable[[Frame], None], give: Give) -> None:
        self._arrived: deque[Frame] = deque()
        self._accepted: deque[Frame] = deque()
        self._waiting = waiting
        self._accept = accept
        self._give = give

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.count} waiting>"

    @property
    def count(self) -> int:
        """How many frames wait in it."""
        return len(self._arrived) + len(self._accepted)

    def push(self, frame: Frame) -> None:
        """Take a frame that has arrived."""
        self._arrived.append(frame)
        self.advance()

    def advance(self) -> None:
        """Accept and give out what can be."""
        while True:
            while self._arrived and self._waiting.has_room:
                frame = self._arrived.popleft()
                self._waiting.add(frame.size)
                self._accepted.append(frame)
                self._accept(frame)
            if not self._accepted or not self._may_give():
                return
            frame = self._accepted.popleft()
            self._waiting.remove(frame.size)
            self._note_given(self._give(self, frame), frame)

    def on_handled(self, delivery: int, frame: Frame) -> None:
        """Take notice that a frame that was given out is handled."""
        raise NotImplementedError

    def _may_give(self) -> bool:
        raise NotImplementedError

    def _note_given(self, delivery: int, frame: Frame) -> None:
        raise NotImplementedError


class ConcurrentLane(Lane):
    """Gives out as long as the receiver has not too much in its hands."""

    def __init__(self, limits: Limits, accept: Callable[[Frame], None], give: Give) -> None:
        super().__init__(credit(limits), accept, give)
        self._given = credit(limits)

    def on_handled(self, delivery: int, frame: Frame) -> None:
        self._given.remove(frame.size)

    def _may_give(self) -> bool:
        return self._given.has_room

    def _note_given(self, delivery: int, frame: Frame) -> None:
        self._given.add(frame.size)


class SequencedLane(Lane):
    """One lane for all receivers: the next frame is given out once the one before is handled.

    A handler that waits for the reply to a request of its own does not hold up the others:
    the request stands in this very lane. *is_waiting* says whether one does.
    """

    def __init__(
        self,
        limits: Limits,
        accept: Callable[[Frame], None],
        give: Give,
        is_waiting: Callable[[Address, int], bool],
    ) -> None:
        super().__init__(queue(limits), accept, give)
        self._is_waiting = is_waiting
        self._running: dict[int, Address] = {}

    def on_handled(self, delivery: int, frame: Frame) -> None:
        del self._running[delivery]

    def _may_give(self) -> bool:
        return all(
            self._is_waiting(receiver, delivery) for delivery, receiver in self._running.items()
        )

    def _note_given(self, delivery: int, frame: Frame) -> None:
        self._running[delivery] = frame.receiver
