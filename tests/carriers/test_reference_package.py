"""The algorithms of the package that the carriers come from, each participant in a process.

Its results over its own in-process carrier are the reference. Some cases take the data of its own
tests: ``DRO_SOURCE`` names a checkout.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from actorsys.carriers import BudgetExceeded, Participant, Run, open_participants

dro = pytest.importorskip(
    "distributed_resource_optimization",
    reason="the package distributed_resource_optimization is not installed here",
)
import reference_factories as factories  # noqa: E402 - it imports the package

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BASE = "distributed_resource_optimization.algorithm."
TYPES = [
    *(BASE + "admm.core:" + name for name in ("ADMMStart", "ADMMMessage", "ADMMAnswer")),
    BASE + "admm.sharing_admm:ADMMSharingData",
    *(
        BASE + "heuristic.cohda.core:" + name
        for name in (
            "WorkingMemory",
            "SystemConfig",
            "ScheduleSelection",
            "SolutionCandidate",
            "TargetParams",
        )
    ),
    BASE + "consensus.averaging:AveragingConsensusMessage",
    BASE + "diffusion.diffusion:DiffusionMessage",
]
ETA = [0.1, 0.5, -1.0]
STORE = [-1.0, 0.0, 1.0]


def sharing(*data: Any) -> Any:
    return dro.create_sharing_admm_start(dro.create_admm_sharing_data(*data))


ADMM = {
    "sharing-zero": ([(10, ETA), (15, ETA), (10, STORE)], lambda: sharing([-4, 0, 6]), 10),
    "sharing-equal": ([(10, ETA), (15, ETA), (10, ETA)], lambda: sharing([0.2, 1, -2]), 3),
    "sharing-priorities": (
        [(10, ETA), (15, ETA), (10, STORE)],
        lambda: sharing([-4, 0, 6], [5, 1, 1]),
        59,
    ),
    "sharing-mixed": (
        [(10, ETA), (15, ETA), (10, [1.0, 0.0, -1.0])],
        lambda: sharing([1.2, 1, -4]),
        75,
    ),
    "consensus-basic": (
        [(10, [0.1, 0.5])] * 3,
        lambda: dro.create_admm_start_consensus(np.array([1.5, 7.5])),
        174,
    ),
    "consensus-two": (
        [(10, [0.6, 0.4])] * 2,
        lambda: dro.create_admm_start_consensus([1.0, 2.0]),
        186,
    ),
    "consensus-three": (
        [(10, [0.6, 0.4])] * 3,
        lambda: dro.create_admm_start_consensus([1.0, 2.0]),
        151,
    ),
    "consensus-infeasible": (
        [(10, ETA)] * 3,
        lambda: dro.create_admm_start_consensus([2.0, 2.0, 3.0]),
        4,
    ),
    "consensus-boxes": (
        [
            ([45 / 7, 0.0, 4.5],),
            ([0.04, 0.06, 0.1],),
            ([0.3, 0.0, 1 / 3],),
            ([1.5, 0.0, 5 / 3],),
        ],
        lambda: dro.create_admm_start_consensus([22.559, 0.0, 22.559]),
        29,
    ),
}


def in_process(actors: list[Any], coordinator: Any, start: Any) -> list[Any]:
    """Return what the package's own carrier makes of it."""
    asyncio.run(dro.start_coordinated_optimization(actors, coordinator, start))
    return [actor.x for actor in actors]


@pytest.mark.parametrize("case", ADMM)
async def test_admm_equals_the_in_process_carrier_bit_for_bit(case: str) -> None:
    arguments, make_start, iterations = ADMM[case]
    make_coordinator = (
        factories.sharing_coordinator
        if case.startswith("sharing")
        else factories.consensus_coordinator
    )
    factory = factories.box_actor if case == "consensus-boxes" else factories.flex_actor
    expected = await trio.to_thread.run_sync(
        in_process,
        [factory(*each) for each in arguments],
        make_coordinator(),
        make_start(),
    )
    async with open_participants(
        [Participant(factory, args=each) for each in arguments],
        coordinator=Participant(make_coordinator),
        types=TYPES,
    ) as run:
        await run.coordinate(make_start())
        await run.quiescent()
        found = await run.snapshot(factories.read_x)
        statistics = run.statistics()
    for (_, x), reference in zip(found, expected, strict=True):
        assert x.tobytes() == reference.tobytes()
    assert len({pid for pid, _ in found} | {os.getpid()}) == len(arguments) + 1
    assert statistics.requests == statistics.replies == iterations * len(arguments)
    if case == "sharing-priorities":
        np.testing.assert_allclose(found[2][1], [-3.98277, 0, 3.98277], atol=1e-4)


async def run_heuristic(sets: list[Any], target: list[float], delivery: Any) -> tuple[Run, Any]:
    participants = [Participant(factories.schedules, args=each) for each in enumerate(sets, 1)]
    async with open_participants(participants, types=TYPES, delivery=delivery) as run:
        await run.start(dro.create_cohda_start_message(target))
        await run.quiescent()
        return run, await run.snapshot(factories.read_candidate)


TWO = [[[0.0, 1, 2], [1, 2, 3]]] * 2
SMALL, LARGE = np.eye(4)[:3].tolist(), (2 * np.eye(4)[[0, 1, 3]]).tolist()
FOUR = [SMALL, LARGE, SMALL, LARGE]


@pytest.mark.parametrize("delivery", ["concurrent", "sequenced"])
async def test_two_schedules_meet_their_optimum(delivery: str) -> None:
    run, candidates = await run_heuristic(TWO, [1.2, 2, 3], delivery)
    assert candidates == [(-2.2, [0, 2, 4], [1, 2])] * 2
    if delivery == "sequenced":
        assert run.statistics().messages == 5


@pytest.mark.parametrize("delivery", ["concurrent", "sequenced"])
async def test_four_participants_meet_their_optimum(delivery: str) -> None:
    run, candidates = await run_heuristic(FOUR, [3.0, 3.0, 1.0, 2.0], delivery)
    assert candidates == [(-3.0, [3, 3, 0, 0], [1, 2, 3, 4])] * 4
    if delivery == "sequenced":
        assert run.statistics().messages == 103


def hinrichs() -> list[Any]:
    source = os.environ.get("DRO_SOURCE")
    if source is None:
        pytest.skip("the schedules are in the tests of a checkout; name it with DRO_SOURCE")
    sys.path.insert(0, str(Path(source)))
    try:
        from tests.cohda.test_cohda import S_HINRICHS
    finally:
        sys.path.remove(str(Path(source)))
    return list(S_HINRICHS)


@pytest.mark.parametrize("delivery", ["concurrent", "sequenced"])
async def test_ten_participants_agree(delivery: str) -> None:
    run, candidates = await run_heuristic(hinrichs(), [542, 528, 519, 511, 509.0], delivery)
    assert all(candidate == candidates[0] for candidate in candidates)
    performance, total, present = candidates[0]
    assert -5 <= performance <= -2
    assert present == [*range(1, 11)]
    if delivery == "sequenced":
        assert (performance, total) == (-5.0, [543, 529, 520, 512, 510])
        assert run.statistics().messages == 3169


CONSENSUS = {
    "averaging": ([(1, 30), (5, 30), (10, 30)], factories.averaging, 187),
    "diffusion": ([(1, 30), (5, 30), (10, 30)], factories.diffusion, 187),
}


def run_in_process(actors: list[Any], start: Any) -> list[list[float]]:
    asyncio.run(dro.start_distributed_optimization(actors, start))
    return [actor._lam.tolist() for actor in actors]


@pytest.mark.parametrize("case", CONSENSUS)
async def test_consensus_is_exact_when_sequenced(case: str) -> None:
    arguments, factory, messages = CONSENSUS[case]
    make_start = {
        "averaging": dro.create_averaging_consensus_start,
        "diffusion": dro.create_diffusion_start,
    }[case]
    expected = await trio.to_thread.run_sync(
        run_in_process, [factory(*each) for each in arguments], make_start(1.0)
    )
    participants = [Participant(factory, args=each) for each in arguments]
    async with open_participants(participants, types=TYPES, delivery="sequenced") as run:
        await run.start(make_start(1.0))
        await run.quiescent()
        found = await run.snapshot(factories.read_lam)
    assert [lam for lam, _ in found] == expected
    assert run.statistics().messages == messages


TARGET = [10, 30, 40, 45, 60, 10]


def dispatch_start() -> Any:
    return dro.AveragingConsensusMessage(lam=np.ones(6) * 10, k=0, data=TARGET)


DISPATCH = {
    "averaging": (
        Participant(factories.averaging, args=(10, 100), kwargs={"dispatch": True}),
        dispatch_start,
        607,
    ),
    "diffusion": (
        Participant(factories.diffusion_dispatch),
        lambda: dro.DiffusionMessage(phi=np.ones(6) * 10, k=0, data=TARGET, initial=True),
        1807,
    ),
}


@pytest.mark.parametrize("case", DISPATCH)
async def test_economic_dispatch_meets_the_clearing_price(case: str) -> None:
    participant, make_start, messages = DISPATCH[case]
    async with open_participants([participant] * 3, types=TYPES, delivery="sequenced") as run:
        await run.start(make_start())
        await run.quiescent()
        found = await run.snapshot(factories.read_lam)
    price = [10.333333333333332, 11.0, 11.333333333333332, 11.5, 12.0, 10.333333333333332]
    np.testing.assert_allclose([lam for lam, _ in found], [price] * 3, rtol=1e-12)
    assert run.statistics().messages == messages


async def test_consensus_that_does_not_end_meets_its_budget() -> None:
    participant = Participant(factories.averaging, args=(10, 10**9), kwargs={"dispatch": True})
    async with open_participants([participant] * 3, types=TYPES, max_messages=500) as run:
        await run.start(dispatch_start())
        with pytest.raises(BudgetExceeded, match="max_messages"):
            await run.quiescent()
