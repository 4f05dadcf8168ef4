"""Tests of routing run on a clock that jumps, unless their module starts processes."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from routing_helpers import is_balanced
from trio.testing import MockClock

from actorsys import RouterDispatcher, open_dispatcher

HERE = pathlib.Path(__file__).parent


def run_on_jumping_clock(
    main: Callable[[], Awaitable[Any]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> Any:
    """Run *main* on a clock that jumps to what is next when nothing is left to do."""
    return trio.run(main, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


def starts_processes(module: object) -> bool:
    return getattr(module, "STARTS_PROCESSES", False)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_ours = item.path.parent == HERE and item.get_closest_marker("trio") is not None
        if is_ours and not starts_processes(getattr(item, "module", None)):
            item.add_marker(pytest.mark.trio(run=run_on_jumping_clock), append=False)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> None:
    """Spare a test the search for processes, unless its module says that it starts some."""
    if starts_processes(request.module):
        request.getfixturevalue("no_leaks")


@pytest.fixture
async def dispatcher() -> AsyncIterator[RouterDispatcher]:
    """A dispatcher with all defaults; its counts add up in the end."""
    async with open_dispatcher() as opened:
        yield opened
    assert is_balanced(opened)
    assert opened.statistics().pending == 0
