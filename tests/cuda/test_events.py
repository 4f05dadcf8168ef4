"""Marks: the work of one process comes after that of another, whoever looks when."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from owner_process import OwnerProcess, place_of

from actorsys.cuda import Gpu, Mark, events
from actorsys.testing.fake_cuda import FakeCuda

F4 = np.dtype("f4")


def test_work_waits_for_a_mark_of_another_process(
    gpu: Gpu, fake: FakeCuda, owner: OwnerProcess
) -> None:
    address = owner.take()
    opened = gpu.open(address)
    assert opened is not None
    array = fake.array(place_of(address, opened.base), (10,), F4, "C", None)
    mark = owner.fill(0, 10, 7.0)
    assert array.tolist() == [0.0] * 10  # nobody has waited
    assert not gpu.wait(mark)
    array += 1.0
    assert array.tolist() == [8.0] * 10
    assert gpu.wait(mark)
    del array
    gpu.close(opened)
    gpu.tidy(is_last=True)


def test_a_mark_of_a_process_that_has_ended_is_done_with(gpu: Gpu, owner: OwnerProcess) -> None:
    owner.take()
    marks = [owner.fill(0, 10, 7.0), owner.fill(0, 10, 8.0)]
    assert not gpu.wait(marks[0])
    owner.end()
    assert [gpu.wait(mark) for mark in marks] == [True, True]
    gpu.tidy()
    assert gpu._events.pids <= {owner.process.pid}


def test_events_are_used_again_when_they_are_done(gpu: Gpu, fake: FakeCuda) -> None:
    for _ in range(10):
        gpu.mark()
        gpu.synchronize()
    assert "1 own" in repr(gpu)


def test_an_event_that_is_used_again_too_early_stands_for_both(
    gpu: Gpu, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_EVENTS", 1)
    taken = gpu.take(4096)
    gpu.zero(taken, 4096)
    array = fake.array(taken.place, (4,), F4, "C", None)
    with fake.stream():
        array[:2] = 5.0
        first = gpu.mark()
    with fake.stream():
        array[2:] = 6.0
        assert gpu.mark() == first
    with fake.stream():
        assert array.tolist() == [0, 0, 0, 0]
        gpu.wait(first)
        assert array.tolist() == [5, 5, 6, 6]
    del array
    gpu.give_back(taken)


def test_old_events_of_others_are_given_up(
    gpu: Gpu, owner: OwnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_OPENED_EVENTS", 2)
    owner.take()
    for value in range(5):
        gpu.wait(owner.fill(0, 10, value))
    assert "2 opened" in repr(gpu)


@given(st.lists(st.none() | st.integers() | st.binary() | st.just(bytes(64)), max_size=3))
def test_whatever_arrives_is_a_mark_or_a_value_error(told: list[object]) -> None:
    try:
        mark = Mark.checked(told)
    except ValueError:
        return
    assert 0 < mark.pid < 2**31
    assert len(mark.handle) == 64


def test_a_mark_of_this_process_that_is_no_more_is_done_with(gpu: Gpu) -> None:
    assert gpu.wait(Mark(os.getpid(), bytes(64)))
