"""Which worker gets a call: pure decisions, without workers and without a clock.

Keys belong to slots, numbers that stay the same when a worker is started again.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar

AT_HAND_SECONDS = 0.005
"""What a worker has at hand beside what it runs may take it so long. Less would let fast workers
starve while others have the CPU; more would be stuck behind a call that is slow."""

MOST_AT_HAND = 256
"""However fast it is: 5 ms of calls of 20 us, which is what the smallest ones take."""

RECALL_SECONDS = 2 * AT_HAND_SECONDS
"""While others are idle, a worker that has said nothing for so long gives back what it has not
begun: twice what it was trusted to need for all of it."""

_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 by the golden ratio: neighbours end up far apart
_MASK = 2**64 - 1
_WEIGHT = 1 / 8  # of the newest sample, as in the round-trip estimate of TCP


class Loaded(Protocol):
    """Something with a *load*, and *room* for a load below that."""

    @property
    def load(self) -> int: ...
    @property
    def room(self) -> int: ...


W = TypeVar("W", bound=Loaded)


def least_loaded(workers: Iterable[W]) -> W | None:
    """Return the one of *workers* with the lowest load that has room; of several, the first."""
    best: W | None = None
    least = math.inf
    for worker in workers:
        load = worker.load
        if load < least and load < worker.room:
            best, least = worker, load
    return best


def home_of(key: Hashable, slots: Iterable[int]) -> int:
    """Return the one of *slots* where *key* belongs: rendezvous hashing.

    With a slot more, only keys that belong there move, about one in as many as there are slots;
    with a slot less, only those that belonged there.

    Raises:
      TypeError: *key* has no hash.
    """
    number = hash(key)
    return max(slots, key=lambda slot: _mix(number ^ slot * _GOLDEN))


def _mix(number: int) -> int:
    """Spread the bits of *number*: the last steps of splitmix64. Python's hashes are too even."""
    number &= _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


class Pace:
    """How fast a worker returns results.

    ``calls_ahead`` is how many calls it may have beside those that it runs: none, unless it is
    known to be fast.
    """

    def __init__(self) -> None:
        self.calls_ahead = 0
        self._seconds = math.inf
        self._since = 0.0
        self._is_stalled = False

    def __repr__(self) -> str:
        return f"<Pace: {self._seconds:.6f} s a result>"

    def begin(self, now: float) -> None:
        """Take note that it was idle and is given a call."""
        self._since = now

    def note_result(self, now: float) -> None:
        """Take note of a result."""
        seconds = now - self._since
        self._since = now
        if self._is_stalled:
            self._is_stalled = False
            return
        if self._seconds == math.inf:
            self._seconds = seconds
        else:
            self._seconds += _WEIGHT * (seconds - self._seconds)
        if self._seconds * MOST_AT_HAND <= AT_HAND_SECONDS:
            self.calls_ahead = MOST_AT_HAND
        else:
            self.calls_ahead = int(AT_HAND_SECONDS / self._seconds)

    def stall(self) -> None:
        """Trust it no more until it has shown again that it is fast; the next result is no sign."""
        self.calls_ahead = 0
        self._seconds = math.inf
        self._is_stalled = True

    def is_silent(self, now: float, seconds: float) -> bool:
        """Tell whether nothing has come from it for so long."""
        return now - self._since >= seconds
