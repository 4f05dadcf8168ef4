"""Messages that a process has been given and has not taken yet."""

from __future__ import annotations

from typing import Generic, TypeVar

from .priority_queue import LEVELS

T = TypeVar("T")


class AtHand(Generic[T]):
    """Items by number, in the order in which they were added, and the least of their priorities."""

    def __init__(self) -> None:
        self._items: dict[int, tuple[T, int]] = {}
        self._counts = [0] * LEVELS
        self._occupied = 0
        self._next_number = 0

    def __repr__(self) -> str:
        return f"<AtHand: {len(self._items)} items, least priority {self.least}>"

    def __len__(self) -> int:
        return len(self._items)

    @property
    def least(self) -> int:
        """The lowest priority there is; one above all of them if there is nothing."""
        if not self._occupied:
            return LEVELS
        return (self._occupied & -self._occupied).bit_length() - 1

    def add(self, item: T, priority: int) -> int:
        """Add *item* and return its number."""
        number = self._next_number
        self._next_number += 1
        self._items[number] = item, priority
        self._counts[priority] += 1
        self._occupied |= 1 << priority
        return number

    def find(self, number: int) -> T:
        """Return the item with *number*; a KeyError says that there is none."""
        return self._items[number][0]

    def remove(self, number: int) -> None:
        """Remove the item with *number*; a KeyError says that there is none."""
        _, priority = self._items.pop(number)
        self._counts[priority] -= 1
        if not self._counts[priority]:
            self._occupied ^= 1 << priority

    def discard(self, number: int) -> None:
        """Remove the item with *number*, if there is one."""
        if number in self._items:
            self.remove(number)

    def clear(self) -> list[T]:
        """Take everything, in order."""
        items = [item for item, _ in self._items.values()]
        self._items.clear()
        self._counts = [0] * LEVELS
        self._occupied = 0
        return items
