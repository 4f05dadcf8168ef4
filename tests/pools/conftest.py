"""Simulated trees for the tests of pools, and the search for leaks where processes are real."""

from __future__ import annotations

import random

import pytest
from pool_functions import JOURNAL

from actorsys.testing import Simulation


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> None:
    """Spare a test the search, unless its module says that it starts processes."""
    if getattr(request.module, "STARTS_PROCESSES", False):
        request.getfixturevalue("no_leaks")


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    JOURNAL.clear()
    return Simulation(seed)
