"""A queue of 256 priorities: the highest first, first in first out within one.

Every operation takes the same few steps however much is queued: a deque for each priority, and a
number whose bits say which of them hold something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

LEVELS = 256


class PriorityQueue(Generic[T]):
    """Items by priority, 0 to 255."""

    __slots__ = ("_levels", "_occupied", "_size")

    def __init__(self) -> None:
        self._levels: list[deque[T] | None] = [None] * LEVELS
        self._occupied = 0
        self._size = 0

    def __repr__(self) -> str:
        return f"<PriorityQueue: {self._size} items, best {self.best}>"

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """Yield the items as `pop` would, and leave them in."""
        for level in reversed(self._levels):
            yield from level or ()

    @property
    def best(self) -> int:
        """The highest priority that is queued, -1 if there is nothing."""
        return self._occupied.bit_length() - 1

    @property
    def least(self) -> int:
        """The lowest priority that is queued, -1 if there is nothing."""
        return (self._occupied & -self._occupied).bit_length() - 1

    def push(self, item: T, priority: int) -> None:
        """Put *item* behind the others of its priority."""
        level = self._levels[priority]
        if level is None:
            level = self._levels[priority] = deque()
        self._occupied |= 1 << priority
        level.append(item)
        self._size += 1

    def push_front(self, item: T, priority: int) -> None:
        """Put *item* in front of the others of its priority."""
        self.push(item, priority)
        level = self._levels[priority]
        assert level is not None
        level.rotate(1)

    def pop(self) -> T:
        """Take the first item of the highest priority.

        Raises:
          IndexError: there is nothing.
        """
        return self._take(self._occupied.bit_length() - 1)

    def pop_least(self) -> T:
        """Take the first, that is the oldest, item of the lowest priority; else as `pop`."""
        return self._take(self.least)

    def discard(self, item: T, priority: int) -> None:
        """Remove *item*, which was put in with *priority*, if it is there."""
        level = self._levels[priority]
        if level is not None and item in level:
            level.remove(item)
            self._size -= 1
            if not level:
                self._occupied ^= 1 << priority

    def clear(self) -> list[T]:
        """Take everything, in order."""
        items = list(self)
        self._levels = [None] * LEVELS
        self._occupied = self._size = 0
        return items

    def _take(self, priority: int) -> T:
        level = self._levels[priority] if priority >= 0 else None
        if level is None:
            raise IndexError("the queue is empty")
        item = level.popleft()
        self._size -= 1
        if not level:
            self._occupied ^= 1 << priority
        return item
