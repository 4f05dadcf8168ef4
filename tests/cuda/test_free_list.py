"""Which parts of a slab are in use: never twice, and all of it again in the end."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from actorsys.cuda.free_list import FreeList

SIZE, STEP = 64 * 512, 512


class Ranges(RuleBasedStateMachine):
    """A free list against a map of what is in use, unit by unit."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.list = FreeList(SIZE, STEP)
        self.units: set[int] = set()
        self.lengths: dict[int, int] = {}

    @rule(target=taken, size=st.integers(0, SIZE // 3))
    def take(self, size: int) -> object:
        offset = self.list.take(size)
        length = max(1, -(-size // STEP))
        if offset is None:
            assert not self.has_room(length)
            return multiple()
        units = {offset // STEP + n for n in range(length)}
        assert offset % STEP == 0
        assert not units & self.units
        assert max(units) < SIZE // STEP
        self.units |= units
        self.lengths[offset] = length
        return offset

    def has_room(self, length: int) -> bool:
        free = "".join(" x"[unit in self.units] for unit in range(SIZE // STEP))
        return " " * length in free

    @rule(offset=consumes(taken))
    def give_back(self, offset: int) -> None:
        self.list.give_back(offset)
        self.units -= {offset // STEP + n for n in range(self.lengths.pop(offset))}

    @invariant()
    def counts_what_is_free(self) -> None:
        assert self.list.free == SIZE - STEP * len(self.units)
        assert self.list.is_unused is (not self.units)


TestRanges = Ranges.TestCase


def test_what_was_given_back_is_whole_again() -> None:
    parts = FreeList(SIZE, STEP)
    offsets = [parts.take(STEP) for _ in range(SIZE // STEP)]
    assert parts.take(1) is None
    for offset in [*offsets[::2], *offsets[1::2]]:
        assert offset is not None
        parts.give_back(offset)
    assert parts.take(SIZE) == 0


def test_what_is_not_in_use_is_not_given_back() -> None:
    with pytest.raises(KeyError):
        FreeList(SIZE, STEP).give_back(0)
