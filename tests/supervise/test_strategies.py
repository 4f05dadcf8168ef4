"""A strategy, a back-off and a restart policy are checked where they are written down."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

import actorsys
from actorsys import Backoff, OneCancelsAll, OneForAll, OneForOne, RestForOne
from actorsys.testing.simulation import Simulation

RESTARTING = [OneForOne, OneForAll, RestForOne]


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is started."""


async def shout(text: str) -> str:
    return text.upper()


async def describe(restart: str) -> str:
    return f"restart is {restart}"


# --- numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", RESTARTING)
def test_the_defaults_are_those_of_the_contract(strategy: Any) -> None:
    assert (strategy().max_restarts, strategy().within) == (3, 5.0)
    assert strategy(3, 5.0) == strategy(max_restarts=3, within=5) == strategy()


@pytest.mark.parametrize("strategy", RESTARTING)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_restarts": -1}, ValueError),
        ({"max_restarts": 2.0}, TypeError),
        ({"max_restarts": math.inf}, TypeError),
        ({"max_restarts": "3"}, TypeError),
        ({"max_restarts": None}, TypeError),
        ({"max_restarts": True}, TypeError),
        ({"within": 0}, ValueError),
        ({"within": -0.0}, ValueError),
        ({"within": -5.0}, ValueError),
        ({"within": -math.inf}, ValueError),
        ({"within": math.nan}, ValueError),
        ({"within": "5"}, TypeError),
        ({"within": None}, TypeError),
        ({"within": True}, TypeError),
        ({"within": 1j}, TypeError),
        ({"backoff": 0.1}, TypeError),
        ({"backoff": None}, TypeError),
        ({"backoff": Backoff}, TypeError),
    ],
    ids=str,
)
def test_nonsense_is_refused_and_named(
    strategy: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        strategy(**options)


@pytest.mark.parametrize("strategy", RESTARTING)
def test_numbers_at_the_border_of_sense_are_taken(strategy: Any) -> None:
    strategy(max_restarts=0, within=math.inf)
    strategy(max_restarts=10**100, within=1e-9)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"first": -0.1}, ValueError),
        ({"first": math.nan}, ValueError),
        ({"first": "soon"}, TypeError),
        ({"first": True}, TypeError),
        ({"factor": 0.5}, ValueError),
        ({"factor": 0}, ValueError),
        ({"factor": -2.0}, ValueError),
        ({"factor": math.nan}, ValueError),
        ({"factor": None}, TypeError),
        ({"most": 0.05}, ValueError),
        ({"most": -1}, ValueError),
        ({"most": math.nan}, ValueError),
        ({"most": "long"}, TypeError),
        ({"jitter": -0.1}, ValueError),
        ({"jitter": 1.1}, ValueError),
        ({"jitter": math.nan}, ValueError),
        ({"jitter": False}, TypeError),
    ],
    ids=str,
)
def test_nonsense_in_a_backoff_is_refused_and_named(
    options: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        Backoff(**options)


def test_a_backoff_at_the_border_of_sense_is_taken() -> None:
    Backoff(first=0, factor=1, most=0, jitter=0)
    Backoff(first=1, factor=math.inf, most=math.inf, jitter=1)


# --- values -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [OneCancelsAll(), OneForOne(), OneForAll(), RestForOne()])
def test_a_strategy_is_a_value(value: Any) -> None:
    assert value == type(value)()
    assert hash(value) == hash(type(value)())
    assert value not in [cls() for cls in [OneCancelsAll, *RESTARTING] if cls is not type(value)]
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, 1)
    assert type(value).__name__ in repr(value)


# --- where they are used ------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy", [OneCancelsAll, *RESTARTING, None, "one_for_one", 3, Backoff(), b"one"], ids=str
)
async def test_a_nursery_is_not_opened_with_what_is_no_strategy(strategy: Any) -> None:
    with pytest.raises(TypeError, match="strategy"):
        async with actorsys.open_nursery(strategy=strategy):
            pytest.fail("it was opened")
    with pytest.raises(actorsys.NoRuntime):
        actorsys.current_actor()


@pytest.mark.parametrize("strategy", [OneCancelsAll(), OneForOne()])
@pytest.mark.parametrize(
    "restart", ["always", "", "Permanent", "never", None, True, 0, ["permanent"]], ids=repr
)
async def test_a_restart_policy_that_does_not_exist_is_refused(strategy: Any, restart: Any) -> None:
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        with pytest.raises(ValueError, match=r"permanent.*transient.*temporary"):
            await nursery.start_actor("worker", restart=restart)
        assert nursery.children == {}


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_a_restart_policy_needs_a_strategy_that_restarts(restart: Any) -> None:
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(ValueError, match=rf"{restart}.*OneForOne"):
            await nursery.start_actor("worker", restart=restart)
        assert nursery.children == {}


# --- one-shots ----------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary", "nonsense"])
async def test_a_one_shot_takes_no_restart_policy(restart: str) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        with pytest.raises(TypeError, match="one-shot"):
            await nursery.run_in_actor(shout, "hello", restart=restart)
        assert nursery.children == {}


def test_a_function_may_have_an_argument_of_that_name() -> None:
    async def main() -> Any:
        async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
            portal = await nursery.run_in_actor(describe, restart="permanent")
            return await portal.result()

    assert Simulation(1).run(main) == "restart is permanent"
