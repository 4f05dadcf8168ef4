"""Fixtures for all tests; nothing a test opens may outlive it."""

from __future__ import annotations

import gc
import inspect
import os
import signal
from collections.abc import Iterator

import pytest
from shared_tree import SharedTree

from actorsys.testing import LeakCheck, Resources

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


@pytest.hookimpl(tryfirst=True)  # before pytest-trio marks what has no mark yet
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have tests run in the tree that their file shares; those that want to be alone come last."""
    order: dict[str, int] = {}
    place: dict[pytest.Item, tuple[int, bool]] = {}
    for item in items:
        is_async = inspect.iscoroutinefunction(getattr(item, "obj", None))
        tree = find_tree(item) if is_async else None
        is_alone = tree is not None and item.get_closest_marker("trio") is not None
        if tree is not None:
            run = tree.run_alone if is_alone else tree.run
            item.add_marker(pytest.mark.trio(run=run), append=False)
        place[item] = order.setdefault(str(item.path), len(order)), is_alone
    items.sort(key=place.__getitem__)


def find_tree(of: pytest.Item | pytest.FixtureRequest) -> SharedTree | None:
    """Return the tree that the async tests of a file share, if they do."""
    return getattr(getattr(of, "module", None), "shared_tree", None)


@pytest.fixture(scope="module", autouse=True)
def opened_shared_tree(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the tree open that the tests of a file share; nothing of it may outlive them."""
    tree = find_tree(request)
    if tree is None:
        yield
        return
    with LeakCheck(), tree.open():
        yield


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
