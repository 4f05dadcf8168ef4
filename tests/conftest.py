"""Fixtures for all tests; nothing a test opens may outlive it."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest

from actorsys.testing import Resources

# Half of what importing NumPy takes is to start threads; many actors of the tests import it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def interrupts_heeded() -> None:
    """Let programs started by tests take SIGINT: what a shell runs in the background does not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Keep what was imported out of the search for garbage after each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_leaks(leak_check: None) -> Iterator[None]:
    """Fail a test that leaves anything behind, or garbage that warns."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail a run that leaves threads behind, those of tests that spare `no_leaks` too."""
    before = Resources.now().threads
    yield
    left = Resources.now().threads - before
    assert not left, f"threads left behind: {left}"
