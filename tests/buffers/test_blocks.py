"""Blocks and their pool: one buffer after the other, and never two at a time."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from buffer_helpers import outcome
from hypothesis import given
from hypothesis import strategies as st

import actorsys
from actorsys import BufferLost, BufferPoolFull, NotShareable, StaleBuffer
from actorsys.buffers.block import (
    MAX_ABOUT_BYTES,
    PAGE_BYTES,
    Block,
    BorrowedBlock,
    BufferAddress,
)
from actorsys.buffers.block_pool import BlockPool, size_class
from actorsys.memory import FileAddress

SIZE = 4 * PAGE_BYTES


@pytest.fixture
def block() -> Iterator[Block]:
    block = Block(SIZE)
    yield block
    block.close()


def pattern(generation: int) -> bytes:
    """Return what stands in a block of this generation in these tests."""
    return bytes([generation % 251 + 1])


# --- names -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4))
def test_a_name_is_read_as_it_was_written(numbers: list[int]) -> None:
    address = BufferAddress.checked(numbers)
    assert BufferAddress.parse(str(address)) == address


@given(st.text(max_size=50) | st.text("0123456789abcdef-", max_size=50))
def test_a_text_is_a_name_or_a_value_error(text: str) -> None:
    try:
        address = BufferAddress.parse(text)
    except ValueError:
        return
    assert all(0 <= number < 2**63 for number in (*address.file, address.generation))


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_numbers_are_a_name_or_a_value_error(numbers: list[Any]) -> None:
    try:
        BufferAddress.checked(numbers)
    except ValueError:
        return
    assert [type(number) for number in numbers] == [int] * 4


# --- generations -------------------------------------------------------------------------------


def test_who_has_it_open_keeps_it_from_becoming_another(block: Block) -> None:
    assert block.renew(b"first")
    block.mapping.view()[:] = pattern(1) * SIZE
    first, second = BorrowedBlock(block.address), BorrowedBlock(block.address)
    assert first.about == second.about == b"first"
    assert first.capacity == SIZE
    assert not block.renew(b"second")
    first.close()
    first.close()
    assert not block.renew(b"second")
    assert bytes(second.mapping.view()) == pattern(1) * SIZE
    second.close()
    old = block.address
    assert block.renew(b"second")
    assert block.address != old
    with pytest.raises(StaleBuffer):
        BorrowedBlock(old)
    third = BorrowedBlock(block.address)
    assert third.about == b"second"
    third.close()


def test_what_is_no_buffer_for_now_cannot_be_opened(block: Block) -> None:
    for address in (block.address, block.address._replace(generation=7)):
        with pytest.raises(StaleBuffer):
            BorrowedBlock(address)
    assert block.renew(b"x")
    assert block.renew(b"")
    with pytest.raises(StaleBuffer):
        BorrowedBlock(block.address)


def test_what_has_been_closed_is_stale_or_lost(block: Block) -> None:
    assert block.renew(b"x")
    address = block.address
    borrowed = BorrowedBlock(address)
    block.close()
    with pytest.raises(StaleBuffer):
        BorrowedBlock(address)
    assert bytes(borrowed.mapping.view()) == bytes(SIZE)
    borrowed.close()


def test_a_description_has_room_for_so_much(block: Block) -> None:
    assert block.renew(bytes(MAX_ABOUT_BYTES))
    borrowed = BorrowedBlock(block.address)
    assert borrowed.about == bytes(MAX_ABOUT_BYTES)
    borrowed.close()


def test_what_is_frozen_can_be_opened_and_read(block: Block) -> None:
    assert block.renew(b"x")
    early = BorrowedBlock(block.address)
    assert not early.is_frozen
    with pytest.raises(BlockingIOError):
        block.freeze()
    early.mapping.view()[:3] = b"abc"
    early.close()
    block.freeze()
    late = BorrowedBlock(block.address)
    assert late.is_frozen
    assert not late.mapping.is_writable
    assert bytes(late.mapping.view()[:3]) == b"abc"
    late.close()


def test_a_file_that_is_too_small_for_a_page_is_stale() -> None:
    from actorsys.memory import SharedFile

    file = SharedFile.create(PAGE_BYTES)
    with pytest.raises(StaleBuffer):
        BorrowedBlock(BufferAddress(file.address, 0))
    file.close()


OWNER = """
import sys
from actorsys.buffers.block import Block
block = Block(4096)
block.renew(b"x")
print(block.address, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("is_reaped", [True, False])
def test_what_has_ended_with_its_process_is_lost(is_reaped: bool) -> None:
    root = str(Path(actorsys.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdout is not None
        address = BufferAddress.parse(process.stdout.readline().strip())
        borrowed = BorrowedBlock(address)
        process.kill()
        if is_reaped:
            process.wait()
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        fault = outcome(BorrowedBlock, address)
        read = bytes(borrowed.mapping.view())
        borrowed.close()
        assert read == bytes(4096)
        assert isinstance(fault, BufferLost)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_sees_the_bytes_of_another_generation(seed: int) -> None:
    """Borrowers come and go while the owner renews whenever he can."""
    chance = random.Random(seed)
    block = Block(SIZE)
    names: list[tuple[BufferAddress, bytes]] = []
    held: list[tuple[BorrowedBlock, bytes]] = []
    for _ in range(300):
        action = chance.choice(["renew", "open", "open", "close"])
        if action == "renew" and block.renew(b"x"):
            assert not held
            fill = pattern(block.address.generation)
            block.mapping.view()[:] = fill * SIZE
            names.append((block.address, fill))
        elif action == "open" and names:
            address, fill = chance.choice(names[-3:])
            try:
                held.append((BorrowedBlock(address), fill))
            except StaleBuffer:
                assert address != block.address
        elif action == "close" and held:
            held.pop(chance.randrange(len(held)))[0].close()
        for borrowed, fill in held:
            assert bytes(borrowed.mapping.view()) == fill * SIZE
    for borrowed, _ in held:
        borrowed.close()
    block.close()


# --- the pool ----------------------------------------------------------------------------------


@given(st.integers(0, 2**40))
def test_a_size_class_wastes_little(size: int) -> None:
    found = size_class(size)
    assert found >= max(1, size)
    assert found % PAGE_BYTES == 0
    assert found <= max(PAGE_BYTES, size * 1.25 + PAGE_BYTES)
    assert size_class(found) == found


def test_what_comes_back_is_used_again_and_cleared() -> None:
    pool = BlockPool(2**20, 2**20)
    block = pool.take(SIZE, b"x")
    block.mapping.view()[:] = b"a" * SIZE
    old = block.address
    pool.give_back(block)
    assert pool.take(SIZE, b"y") is block
    assert block.address != old
    assert bytes(block.mapping.view()) == bytes(SIZE)
    assert (pool.size, pool.reuses) == (SIZE, 1)
    pool.give_back(block)
    pool.close()
    assert pool.size == 0


def test_no_more_is_taken_than_there_is_room_for() -> None:
    pool = BlockPool(2 * SIZE, 2 * SIZE)
    first, second = pool.take(SIZE, b"x"), pool.take(SIZE, b"x")
    with pytest.raises(BufferPoolFull, match="max_buffer_bytes"):
        pool.take(1, b"x")
    pool.give_back(first)
    # What rests gives way to another size.
    third = pool.take(1, b"x")
    assert pool.size == SIZE + PAGE_BYTES
    for block in (second, third):
        pool.give_back(block)
    with pytest.raises(BufferPoolFull):
        pool.take(2 * SIZE + 1, b"x")
    pool.close()
    assert pool.size == 0


def test_what_rests_is_bounded() -> None:
    pool = BlockPool(10 * SIZE, SIZE)
    blocks = [pool.take(SIZE, b"x") for _ in range(5)]
    for block in blocks:
        pool.give_back(block)
    assert pool.size == SIZE
    pool.close()


def test_what_somebody_has_open_is_set_aside_until_he_has_not() -> None:
    pool = BlockPool(SIZE, SIZE)
    block = pool.take(SIZE, b"x")
    borrowed = BorrowedBlock(block.address)
    block.mapping.view()[:1] = b"a"
    pool.give_back(block)
    assert "1 blocks set aside" in repr(pool)
    with pytest.raises(BufferPoolFull):
        pool.take(SIZE, b"x")
    assert bytes(borrowed.mapping.view()[:1]) == b"a"
    borrowed.close()
    again = pool.take(SIZE, b"x")
    assert bytes(again.mapping.view()) == bytes(SIZE)
    assert pool.size == SIZE
    pool.give_back(again)
    pool.close()


def test_what_was_set_aside_and_is_free_is_used_before_new_memory() -> None:
    pool = BlockPool(100 * SIZE, 100 * SIZE)
    for _ in range(5):
        block = pool.take(SIZE, b"x")
        borrowed = BorrowedBlock(block.address)
        pool.give_back(block)
        borrowed.close()
    size = pool.size
    pool.close()
    assert size <= 2 * SIZE


def test_what_was_frozen_is_given_up() -> None:
    pool = BlockPool(SIZE, SIZE)
    block = pool.take(SIZE, b"x")
    block.freeze()
    pool.give_back(block)
    assert pool.size == 0
    second = pool.take(SIZE, b"x")
    second.mapping.view()[:1] = b"a"
    pool.give_back(second)
    pool.close()


def test_a_pool_that_is_closed_keeps_nothing() -> None:
    pool = BlockPool(10 * SIZE, 10 * SIZE)
    in_use, resting, lent = (pool.take(SIZE, b"x") for _ in range(3))
    borrowed = BorrowedBlock(lent.address)
    pool.give_back(resting)
    pool.give_back(lent)
    pool.close()
    assert pool.size == SIZE
    pool.give_back(in_use)
    assert pool.size == 0
    assert bytes(borrowed.mapping.view()) == bytes(SIZE)
    borrowed.close()


def test_what_cannot_be_described_takes_nothing() -> None:
    pool = BlockPool(10 * SIZE, 10 * SIZE)
    with pytest.raises(NotShareable):
        pool.take(SIZE, bytes(MAX_ABOUT_BYTES + 1))
    size = pool.size
    pool.close()
    assert size == 0


async def test_who_waits_gets_what_comes_back(autojump_clock: trio.testing.MockClock) -> None:
    pool = BlockPool(SIZE, SIZE)
    block = pool.take(SIZE, b"x")
    borrowed = BorrowedBlock(block.address)
    taken: list[Block] = []

    async def take() -> None:
        taken.append(await pool.take_when_free(SIZE, b"y"))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        pool.give_back(block)
        await trio.testing.wait_all_tasks_blocked()
        assert not taken
        borrowed.close()
    assert trio.current_time() <= 1
    assert pool.size == SIZE
    pool.give_back(taken.pop())
    pool.close()


async def test_who_waits_for_too_much_is_told_at_once() -> None:
    pool = BlockPool(SIZE, SIZE)
    with pytest.raises(BufferPoolFull):
        await pool.take_when_free(SIZE + 1, b"x")


def test_addresses_of_nothing_leave_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    for pid, fd in ((os.getpid(), 0), (os.getpid(), 10_000), (2**30, 3), (0, 0)):
        with pytest.raises((StaleBuffer, BufferLost)):
            BorrowedBlock(BufferAddress(FileAddress(pid, fd, 1), 1))
    assert os.listdir("/proc/self/fd") == before
