"""Fixtures for all tests; nothing a test opens may outlive it."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import psutil
import pytest

_GONE_WITHIN_SECONDS = 2.0


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves processes or file descriptors behind."""
    this = psutil.Process()
    descriptors = _descriptors()
    yield
    gc.collect()
    children = this.children(recursive=True)
    _, alive = psutil.wait_procs(children, timeout=_GONE_WITHIN_SECONDS)
    assert not alive, f"processes left behind: {alive}"
    left = _descriptors() - descriptors
    assert not left, f"file descriptors left behind: {left}"


def _descriptors() -> set[tuple[str, str]]:
    """Return the open descriptors of this process, those that come and go by themselves apart."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the descriptor of the listing itself
        if not target.startswith(("/dev/", "/proc/")):
            found.add((fd, target))
    return found


@pytest.fixture(scope="session", autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail a run that leaves threads behind other than trio's idle workers."""
    yield
    left = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    assert not left, f"threads left behind: {left}"
