"""Messages that a process has been given and has not taken yet."""

from __future__ import annotations

from typing import Generic, TypeVar

from .priority_queue import LEVELS

T = TypeVar("T")


class AtHand(Generic[T]):
    """Items by number, in the order in which they were added."""

    def __init__(self) -> None:
        self._items: dict[int, tuple[T, int]] = {}
        self._next_number = 0
        self._floor = LEVELS  # none has a lower priority
        self._is_floor_exact = True  # one has just this priority, or there is none at all

    def __repr__(self) -> str:
        return f"<AtHand: {len(self._items)} items, none below priority {self._floor}>"

    def __len__(self) -> int:
        return len(self._items)

    def has_any_below(self, priority: int) -> bool:
        """Tell whether an item has a lower priority than *priority*."""
        # The floor rises only here: to know it after each removal is seldom worth its time.
        if self._floor < priority and not self._is_floor_exact:
            self._floor = min((least for _, least in self._items.values()), default=LEVELS)
            self._is_floor_exact = True
        return self._floor < priority

    def add(self, item: T, priority: int) -> int:
        """Add *item* and return its number."""
        number = self._next_number
        self._next_number += 1
        self._items[number] = item, priority
        if priority <= self._floor:
            self._floor = priority
            self._is_floor_exact = True
        return number

    def find(self, number: int) -> T:
        """Return the item with *number*; a KeyError says that there is none."""
        return self._items[number][0]

    def remove(self, number: int) -> None:
        """Remove the item with *number*; a KeyError says that there is none."""
        _, priority = self._items.pop(number)
        if priority == self._floor:
            self._is_floor_exact = False

    def discard(self, number: int) -> None:
        """Remove the item with *number*, if there is one."""
        if number in self._items:
            self.remove(number)

    def clear(self) -> list[T]:
        """Take everything, in order."""
        items = [item for item, _ in self._items.values()]
        self._items.clear()
        self._floor, self._is_floor_exact = LEVELS, True
        return items
