"""Every behaviour of a bridge is tested on both kinds of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actorsys.bridges import Bridge, BridgeKind, open_bridge
from actorsys.bridges.guest import run_as_guest

Scenario = Callable[[Bridge], Awaitable[Any]]
RunTrio = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture(params=["thread", "guest"])
def kind(request: pytest.FixtureRequest) -> BridgeKind:
    return request.param


@pytest.fixture
def run_trio(kind: BridgeKind) -> RunTrio:
    """Run a function in trio, as it runs beside asyncio in this kind."""
    return trio.run if kind == "thread" else run_as_guest


@pytest.fixture
def cross(kind: BridgeKind, run_trio: RunTrio) -> Callable[[Scenario], Any]:
    """Run a scenario in trio with an open bridge."""

    def run(scenario: Scenario) -> Any:
        async def main() -> Any:
            with trio.fail_after(10):
                async with open_bridge(kind) as bridge:
                    return await scenario(bridge)

        return run_trio(main)

    return run
