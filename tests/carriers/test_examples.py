"""The algorithms in docs/examples, over carriers of three kinds."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from carrier_helpers import (
    Answering,
    Doing,
    Failing,
    PingPong,
    Recorder,
    on_asyncio,
    open_bus,
)

from actorsys import register_type
from actorsys.carriers import Participant, open_participants

EXAMPLES = str(Path(__file__).parents[2] / "docs" / "examples")
BOXES = [([0, 0], [1, 1]), ([0, -1], [2, 1]), ([-1, 0], [4, 4])]
SETS = [[[0, 1, 2], [1, 2, 3]], [[0, 1, 2], [1, 2, 3]], [[1, 0, 0], [0, 0, 1]]]
GOAL = [2.0, 3.0, 5.0]


@pytest.fixture(scope="module", autouse=True)
def on_path() -> Any:
    sys.path.insert(0, EXAMPLES)
    yield
    sys.path.remove(EXAMPLES)


def load(name: str) -> Any:
    return importlib.import_module(name)


def best_distance() -> float:
    return min(
        float(np.abs(np.array(GOAL) - np.sum(each, axis=0)).sum())
        for each in itertools.product(*SETS)
    )


def test_admm_shares_a_target_that_can_be_met() -> None:
    admm = load("admm")
    for cls in (admm.Point, admm.Shares):
        register_type(cls)

    @on_asyncio
    async def share() -> None:
        boxes = [admm.Box(*bounds) for bounds in BOXES]
        async with open_bus(*boxes, admm.Sharing()) as (bus, carriers):
            shares = await bus.coordinate(admm.Point(np.array([5.0, 3.0])), carriers[-1])
            np.testing.assert_allclose(sum(shares.parts), [5, 3], atol=1e-4)
            assert bus.statistics().requests == 3 * shares.rounds

    share()


@pytest.mark.slow
async def test_admm_in_processes_equals_admm_on_a_bus_bit_for_bit() -> None:
    admm = load("admm")
    start = admm.Point(np.array([9.0, 9.0]))
    for cls in (admm.Point, admm.Shares):
        register_type(cls)
    expected: list[Any] = []

    @on_asyncio
    async def share() -> None:
        boxes = [admm.Box(*bounds) for bounds in BOXES]
        async with open_bus(*boxes, admm.Sharing()) as (bus, carriers):
            expected.append(await bus.coordinate(start, carriers[-1]))

    share()
    async with open_participants(
        [Participant("admm:Box", args=bounds) for bounds in BOXES],
        coordinator=Participant("admm:Sharing"),
        types=["admm:Point", "admm:Shares"],
    ) as run:
        shares = await run.coordinate(start)
        parts = await run.snapshot("admm:read_part")
    assert shares.rounds == expected[0].rounds
    for part, final, reference in zip(parts, shares.parts, expected[0].parts, strict=True):
        assert part.tobytes() == final.tobytes() == reference.tobytes()


@pytest.mark.parametrize("delivery", ["concurrent", "sequenced"])
def test_participants_agree_on_a_plan(delivery: Any) -> None:
    schedules = load("schedules")
    for cls in (schedules.Choice, schedules.Plan, schedules.Knowledge):
        register_type(cls)

    @on_asyncio
    async def agree() -> None:
        selections = [schedules.Selection(each) for each in SETS]
        async with open_bus(*selections, delivery=delivery) as (bus, _):
            await bus.start(schedules.Knowledge(np.array(GOAL), {}, None))
            await bus.quiescent()
        assert [schedules.read_plan(each)[0] for each in selections] == [best_distance()] * 3

    agree()


@pytest.mark.slow
async def test_participants_in_processes_agree_on_a_plan() -> None:
    schedules = load("schedules")
    async with open_participants(
        [Participant(schedules.Selection, args=(each,)) for each in SETS],
        types=[schedules.Choice, schedules.Plan, schedules.Knowledge],
        delivery="sequenced",
    ) as run:
        await run.start(schedules.Knowledge(np.array(GOAL), {}, None))
        await run.quiescent()
        plans = await run.snapshot("schedules:read_plan")
    assert [distance for distance, _ in plans] == [best_distance()] * 3


def test_the_bus_of_the_guide_carries_requests_and_knows_when_all_is_done() -> None:
    bus_carrier = load("bus_carrier")

    @on_asyncio
    async def carry() -> None:
        bus = bus_carrier.Bus()
        playing = PingPong()
        one = bus_carrier.BusCarrier(1, bus, playing)
        await bus.done.wait()  # nothing was sent
        bus_carrier.BusCarrier(2, bus, PingPong())
        bus_carrier.BusCarrier(3, bus, Answering())
        assert await asyncio.gather(*[one.send_awaitable(n, 3) for n in range(5)]) == [
            0,
            2,
            4,
            6,
            8,
        ]
        one.send_to_other(0, 2)
        await bus.done.wait()
        assert playing.received == [1, 3, 5, 7, 9]
        assert one.others("") == [2, 3]

    carry()


def test_the_bus_of_the_guide_tells_of_errors_and_drops_what_is_late() -> None:
    bus_carrier = load("bus_carrier")
    go_on = asyncio.Event()

    async def answer_late(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await go_on.wait()
        await carrier.reply_to_other("late", meta)
        await carrier.reply_to_other("twice", meta)

    @on_asyncio
    async def carry() -> None:
        bus = bus_carrier.Bus()
        recorder = Recorder()
        one = bus_carrier.BusCarrier(1, bus, recorder)
        bus_carrier.BusCarrier(2, bus, Doing(answer_late))
        bus_carrier.BusCarrier(3, bus, Failing())
        with pytest.raises(ZeroDivisionError):
            await one.send_awaitable(0, 3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.send_awaitable("?", 2), 0.01)
        go_on.set()
        await bus.done.wait()
        assert (bus.error, bus.requests, recorder.received) == (None, {}, [])
        one.send_to_other(0, 3)
        await bus.done.wait()
        assert isinstance(bus.error, ZeroDivisionError)
        with pytest.raises(KeyError):
            one.send_awaitable("?", 4)
        assert not bus.requests

    carry()
