"""Fixtures of the tests of topics."""

from __future__ import annotations

import random

import pytest

from actorsys.testing import Simulation


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    return Simulation(seed)
