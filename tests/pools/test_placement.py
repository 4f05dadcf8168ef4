"""Placement: least loaded, rendezvous hashing, and how many calls are sent ahead."""

from __future__ import annotations

import math
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from actorsys.pools.placement import AT_HAND_SECONDS, MOST_AT_HAND, Pace, home_of, least_loaded

counts = st.integers(0, 5)
keys = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()))


class Stub(NamedTuple):
    load: int
    room: int


@given(st.lists(st.builds(Stub, counts, counts)))
def test_nobody_with_room_has_less_to_do_than_who_is_chosen(workers: list[Stub]) -> None:
    open_to = [worker for worker in workers if worker.load < worker.room]
    chosen = least_loaded(workers)
    assert chosen == min(open_to, key=lambda worker: worker.load, default=None)


@given(keys, st.integers(1, 20))
def test_a_key_moves_to_a_new_slot_or_not_at_all(key: object, slots: int) -> None:
    before, after = home_of(key, range(slots)), home_of(key, range(slots + 1))
    assert after in (before, slots)


@given(keys, st.integers(2, 20), st.data())
def test_only_keys_of_a_slot_that_goes_move(key: object, slots: int, data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, slots - 1))
    before = home_of(key, range(slots))
    after = home_of(key, [slot for slot in range(slots) if slot != gone])
    assert after == before or before == gone


def test_keys_are_spread_evenly() -> None:
    homes = [home_of(key, range(4)) for key in range(4000)]
    assert all(900 < homes.count(slot) < 1100 for slot in range(4))


def test_equal_keys_have_the_same_home() -> None:
    assert home_of(1, range(100)) == home_of(1.0, range(100))


def test_nothing_is_sent_ahead_to_a_worker_of_unknown_pace() -> None:
    assert Pace().calls_ahead == 0


@given(st.lists(st.floats(0, 100), min_size=1))
def test_what_is_sent_ahead_takes_no_longer_than_agreed(gaps: list[float]) -> None:
    pace, now = Pace(), 0.0
    pace.begin(now)
    slowest = 0.0
    for gap in gaps:
        now += gap
        slowest = max(slowest, gap)
        pace.note_result(now)
    assert 0 <= pace.calls_ahead <= MOST_AT_HAND
    if len(set(gaps)) == 1:
        assert pace.calls_ahead * gaps[0] <= AT_HAND_SECONDS * (1 + 1e-6)


def test_a_slow_call_makes_a_fast_worker_slow() -> None:
    pace = Pace()
    pace.begin(0)
    for _ in range(100):
        pace.note_result(0)
    assert pace.calls_ahead == MOST_AT_HAND
    pace.note_result(10)
    assert pace.calls_ahead == 0
    for _ in range(100):
        pace.note_result(10)
    assert pace.calls_ahead == MOST_AT_HAND
    assert not pace.is_silent(10.005, 0.01)
    assert pace.is_silent(math.inf, 0.01)


def test_one_that_has_stalled_has_to_show_again_that_it_is_fast() -> None:
    pace = Pace()
    pace.begin(0)
    pace.note_result(0)
    assert pace.calls_ahead == MOST_AT_HAND
    pace.stall()
    assert pace.calls_ahead == 0
    pace.note_result(10)
    assert pace.calls_ahead == 0
    pace.note_result(10)
    assert pace.calls_ahead == MOST_AT_HAND
