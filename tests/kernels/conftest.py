"""The search for what a test leaves behind, where there are processes that it could leave."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> None:
    """Spare a test the search, unless its module says that it starts processes."""
    if getattr(request.module, "STARTS_PROCESSES", False):
        request.getfixturevalue("no_leaks")
