"""The journal of a worker: what outlives its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorsys.pools.journal import Journal

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
)


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.created() as made:
        assert made is not None
        yield made


@given(st.lists(st.tuples(st.integers(1, 10_000), PLAIN), unique_by=lambda kept: kept[0] % 511))
def test_what_was_kept_is_found(kept: list[tuple[int, object]]) -> None:
    with Journal.created() as journal:
        assert journal is not None
        were_kept = [(number, value, journal.keep(number, value)) for number, value in kept]
        for number, value, was_kept in were_kept:
            found = journal.find(number)
            assert found == ((value,) if was_kept else None)
            assert found is None or type(found[0]) is type(value)


def test_what_is_large_or_not_plain_is_not_kept(journal: Journal) -> None:
    for value in (b"x" * 100, "x" * 100, 2**64, [1], (1,), {}, 1j, "\ud800"):
        assert not journal.keep(1, value)
        assert journal.find(1) is None


def test_a_later_call_in_the_same_place_is_not_mistaken(journal: Journal) -> None:
    assert journal.keep(1, "one")
    assert journal.keep(512, "later")
    assert journal.find(1) is None


def test_it_outlives_a_process_that_is_killed(journal: Journal) -> None:
    pid = os.fork()
    if not pid:
        with Journal.opened(journal.address) as same:
            assert same is not None
            same.begin(7)
            same.keep(6, "six")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert journal.last_begun == 7
    assert journal.find(6) == ("six",)
    assert journal.find(7) is None


@given(
    st.integers(0, 255),
    st.one_of(st.binary(max_size=55), st.just(b"\xc1" * 55), st.just(b"\xd4\x01x")),
)
def test_whatever_a_hostile_worker_writes_is_a_result_or_nothing(length: int, data: bytes) -> None:
    with Journal.created() as journal:
        assert journal is not None
        assert journal.keep(1, "x")
        start = 2 * 64 + 8
        journal._bytes[start] = length
        journal._bytes[start + 1 : start + 1 + len(data)] = data
        found = journal.find(1)
        assert found is None or type(found[0]) in (type(None), bool, int, float, str, bytes)


def test_where_there_is_none_there_is_none_to_open() -> None:
    with Journal.opened(None) as journal:
        assert journal is None
