"""Which message expires next."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator

from ..limits import RoutingLimits
from .accepted import Accepted
from .protocol import Protocol


class Deadlines:
    """The messages that expire some time, the next one first.

    Those of one kind expire in the order in which they were accepted, so each kind has a plain
    queue; only messages with a deadline of their own need a heap. What has been settled meanwhile
    is passed over, and swept out before it is more than half.
    """

    def __init__(self, limits: RoutingLimits) -> None:
        self._by_kind: dict[Protocol, deque[Accepted]] = {kind: deque() for kind in Protocol}
        self._own: list[tuple[float, int, Accepted]] = []
        self._numbers = itertools.count()
        self._min_swept = self._sweep_at = limits.min_swept_messages
        self._held = 0

    def __repr__(self) -> str:
        return f"<Deadlines: {self._held} held, next at {self.next_at()}>"

    def add(self, item: Accepted) -> None:
        """Take note of *item*."""
        if item.expires_at == math.inf:
            return
        if item.message.deadline is None:
            queue = self._by_kind[item.message.protocol]
            self._trim(queue)
            queue.append(item)
        else:
            heapq.heappush(self._own, (item.expires_at, next(self._numbers), item))
        self._held += 1
        if self._held >= self._sweep_at:
            self._sweep()

    def next_at(self) -> float:
        """Return when the next message expires, ``math.inf`` if none does."""
        firsts = [queue[0].expires_at for queue in self._by_kind.values() if self._trim(queue)]
        while self._own and self._own[0][2].is_settled:
            heapq.heappop(self._own)
            self._held -= 1
        if self._own:
            firsts.append(self._own[0][0])
        return min(firsts, default=math.inf)

    def due(self, now: float) -> Iterator[Accepted]:
        """Yield the messages that have expired by *now* and are not settled, each once."""
        for queue in self._by_kind.values():
            while self._trim(queue) and queue[0].expires_at <= now:
                self._held -= 1
                yield queue.popleft()
        while self._own and self._own[0][0] <= now:
            item = heapq.heappop(self._own)[2]
            self._held -= 1
            if not item.is_settled:
                yield item

    def _trim(self, queue: deque[Accepted]) -> bool:
        """Drop what has been settled from the front; return whether anything is left."""
        while queue and queue[0].is_settled:
            queue.popleft()
            self._held -= 1
        return bool(queue)

    def _sweep(self) -> None:
        for kind, queue in self._by_kind.items():
            self._by_kind[kind] = deque(item for item in queue if not item.is_settled)
        self._own = [entry for entry in self._own if not entry[2].is_settled]
        heapq.heapify(self._own)
        self._held = len(self._own) + sum(map(len, self._by_kind.values()))
        self._sweep_at = max(self._min_swept, 2 * self._held)
