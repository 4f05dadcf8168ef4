"""Links over memory open nothing, so there is nothing that these tests could leave behind."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes and descriptors left behind."""
