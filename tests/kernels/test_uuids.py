"""UUIDs of messages are UUIDs like any other, and each is a new one."""

from __future__ import annotations

import copy
import os
import pickle
import uuid

import pytest

from actorsys.kernels.uuids import new_uuid, uuid_of


def test_a_new_uuid_is_a_random_one() -> None:
    made = new_uuid()
    assert (made.version, made.variant) == (4, uuid.RFC_4122)
    assert made == uuid.UUID(str(made)) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made))


def test_no_two_are_the_same() -> None:
    assert len({new_uuid() for _ in range(10_000)}) == 10_000


def test_every_bit_that_is_free_is_drawn() -> None:
    seen_set = seen_clear = 0
    for _ in range(200):
        number = new_uuid().int
        seen_set |= number
        seen_clear |= ~number
    fixed = 0xF000_C000_0000_0000_0000
    assert seen_set & seen_clear & ((1 << 128) - 1) == (1 << 128) - 1 - fixed


def test_a_forked_process_draws_others() -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write_end, new_uuid().bytes)
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(read_end, 16)
    os.close(read_end)
    os.close(write_end)
    assert theirs != new_uuid().bytes


def test_a_uuid_comes_back_from_its_bytes() -> None:
    made = uuid.uuid4()
    assert uuid_of(made.bytes) == made


@pytest.mark.parametrize("size", [0, 15, 17])
def test_other_bytes_are_none(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        uuid_of(bytes(size))
