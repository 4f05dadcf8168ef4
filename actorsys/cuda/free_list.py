"""Which parts of a slab are in use."""

from __future__ import annotations

import bisect


class FreeList:
    """The free parts of *size* bytes, from which ranges are taken, the first that is large enough.

    Offsets and lengths are multiples of *step*. Parts that touch each other are one.
    """

    def __init__(self, size: int, step: int) -> None:
        self.size = size
        self.free = size
        self._step = step
        self._parts = [(0, size)]
        self._taken: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<FreeList: {self.free} of {self.size} bytes in {len(self._parts)} parts>"

    @property
    def is_unused(self) -> bool:
        """Whether all of it is free."""
        return not self._taken

    def take(self, size: int) -> int | None:
        """Return the offset of *size* bytes that are in use from now on; None if there are none."""
        length = max(1, -(-size // self._step)) * self._step
        for index, (offset, room) in enumerate(self._parts):
            if room >= length:
                rest = [(offset + length, room - length)] if room > length else []
                self._parts[index : index + 1] = rest
                self._taken[offset] = length
                self.free -= length
                return offset
        return None

    def give_back(self, offset: int) -> None:
        """Take a range back.

        Raises:
          KeyError: none that is in use begins there.
        """
        length = self._taken.pop(offset)
        self.free += length
        index = bisect.bisect(self._parts, (offset, 0))
        if index < len(self._parts) and self._parts[index][0] == offset + length:
            length += self._parts.pop(index)[1]
        if index and sum(self._parts[index - 1]) == offset:
            offset, before = self._parts.pop(index - 1)
            length += before
        bisect.insort(self._parts, (offset, length))
