"""Slabs: many ranges in few of them, and none is freed while anybody has it mapped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from actorsys.cuda import Gpu, Range, RangeAddress, find_gpu
from actorsys.cuda.slabs import SLAB_BYTES, UNIT_BYTES
from actorsys.errors import DeviceOutOfMemory
from actorsys.memory import FileAddress, GuestBook, SharedFile
from actorsys.testing import fake_cuda

NO_PID = 2**22 + 1  # above the largest that Linux gives


def test_ranges_lie_in_one_slab_of_whole_units(gpu: Gpu) -> None:
    ranges = [gpu.take(1000) for _ in range(5)]
    assert {taken.slab.base for taken in ranges} == {ranges[0].slab.base}
    assert gpu.slab_bytes == SLAB_BYTES
    large = gpu.take(SLAB_BYTES + 1)
    assert large.slab.parts.size == SLAB_BYTES + UNIT_BYTES
    for taken in [*ranges, large]:
        gpu.give_back(taken)
    assert gpu.slab_bytes == 0


def test_a_device_without_room_refuses(gpu: Gpu) -> None:
    with pytest.raises(DeviceOutOfMemory):
        gpu.take(2**40)
    assert gpu.slab_bytes == 0


ADDRESS = RangeAddress("GPU-1", FileAddress(1, 2, 3), bytes(64), UNIT_BYTES, 512)


def test_an_address_is_read_as_it_was_written() -> None:
    assert RangeAddress.checked(ADDRESS.pack(), 512) == ADDRESS


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": ""},
        {"uuid": 5},
        {"uuid": "x" * 65},
        {"handle": bytes(63)},
        {"handle": bytearray(64)},
        {"handle": "x" * 64},
        {"slab_bytes": -1},
        {"slab_bytes": 2**50},
        {"slab_bytes": 512},
        {"offset": 7},
        {"offset": UNIT_BYTES},
        {"offset": True},
        {"control": (1, -2, 3)},
        {"control": (1, 2.0, 3)},
    ],
    ids=str,
)
def test_what_is_no_address_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"slab|handle|name|numbers"):
        RangeAddress.checked(ADDRESS._replace(**change).pack(), 512)


@settings(max_examples=50)
@given(st.lists(st.none() | st.integers() | st.binary() | st.text(), max_size=8))
def test_whatever_arrives_is_an_address_or_a_value_error(told: list[Any]) -> None:
    try:
        RangeAddress.checked(told, 1)
    except ValueError:
        return
    raise AssertionError(f"{told} is an address")


class SlabMachine(RuleBasedStateMachine):
    """Ranges come and go, and so do those who have slabs mapped, some of them by dying."""

    ranges = Bundle("ranges")
    guests = Bundle("guests")

    def __init__(self) -> None:
        super().__init__()
        self.runtime = fake_cuda.install()
        self.gpu = find_gpu("cuda:0")
        self.used: dict[Range, int] = {}
        self.mapped: list[tuple[SharedFile, Any]] = []

    @rule(target=ranges, size=st.sampled_from([1, 513, UNIT_BYTES, SLAB_BYTES // 2, SLAB_BYTES]))
    def take(self, size: int) -> Range:
        taken = self.gpu.take(size)
        for other, other_size in self.used.items():
            is_apart = (
                other.slab is not taken.slab
                or other.offset + other_size <= taken.offset
                or taken.offset + size <= other.offset
            )
            assert is_apart
        self.used[taken] = size
        return taken

    @rule(taken=consumes(ranges))
    def give_back(self, taken: Range) -> None:
        del self.used[taken]
        self.gpu.give_back(taken)

    @rule(target=guests, taken=ranges)
    def enter(self, taken: Range) -> tuple[SharedFile, Any, GuestBook, int, FileAddress]:
        file = SharedFile.open(taken.slab.control)
        mapping = file.map(0, GuestBook.SIZE_BYTES)
        book = GuestBook(file, mapping)
        line = book.enter()
        self.mapped.append((file, mapping))
        return file, mapping, book, line, taken.slab.control

    @rule(guest=consumes(guests), dies=st.booleans())
    def end(self, guest: Any, dies: bool) -> None:
        file, mapping, book, line, _ = guest
        if dies:
            book._write(line, NO_PID, 1)
        else:
            book.leave(line)
        self.mapped.remove((file, mapping))
        mapping.close()
        file.close()
        self.gpu.tidy()

    @invariant()
    def slabs_are_there_as_long_as_they_are_needed(self) -> None:
        needed = {taken.slab.control for taken in self.used}
        needed |= {file.address for file, _ in self.mapped}
        assert set(self.gpu._slabs._slabs) == needed

    def teardown(self) -> None:
        for file, mapping in self.mapped:
            mapping.view()[:] = bytes(mapping.size)
            mapping.close()
            file.close()
        for taken in self.used:
            self.gpu.give_back(taken)
        self.gpu.tidy()
        assert self.gpu.slab_bytes == 0
        fake_cuda.uninstall(self.runtime)


TestSlabs = SlabMachine.TestCase
TestSlabs.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
