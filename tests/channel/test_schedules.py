"""Calls under random cuts, kills and delays: each ends once, and its caller is told the truth.

`scripts/chaos schedules` does the same a hundred thousand times.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from actorsys.channel import Channel, IncomingCall, OutgoingCall
from scripts.rings.schedule import CALLS
from scripts.rings.schedules import run_schedules

SCHEDULES = 100
pytestmark = pytest.mark.slow


@pytest.fixture
def seed() -> int:
    """Return a fresh seed; what fails with it is shown with it."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return seed


def test_every_call_ends_exactly_once_and_its_caller_is_told_the_truth(seed: int) -> None:
    for figure in run_schedules(SCHEDULES, seed):
        assert figure.is_met, str(figure)
        assert figure.n == SCHEDULES * CALLS


def test_the_same_seed_makes_the_same_run(seed: int) -> None:
    once, again = (list(run_schedules(3, seed)) for _ in range(2))
    assert once == again


# --- what is wrong is found ---------------------------------------------------------------


def test_a_caller_that_is_told_a_lie_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OutgoingCall, "may_have_run", False)
    once, truth = run_schedules(30, 1)
    assert "untrue" in truth.worst
    assert not truth.is_met
    assert once.worst == "all"


def test_a_caller_that_is_never_told_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "fail_calls", lambda *_: 0)
    once, _ = run_schedules(10, 1)
    assert "unresolved" in once.worst
    assert not once.is_met


def test_a_call_that_ends_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    end = IncomingCall.send_return

    async def end_twice(call: IncomingCall, value: Any) -> None:
        await end(call, value)
        await end(call, value)

    monkeypatch.setattr(IncomingCall, "send_return", end_twice)
    once, _ = run_schedules(10, 1)
    assert "has ended, and then came" in once.worst
    assert not once.is_met
