"""Who is stopped because another one failed: its callers know, and nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest
import trio

import actorsys
from actorsys.testing.simulation import Simulation

MODULES = [__name__]


async def work(seconds: float) -> str:
    await trio.sleep(seconds)
    return "done"


async def hang() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(20)


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    return Simulation(seed)


def test_calls_in_flight_to_a_sibling_fail_with_its_death(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery(strategy=actorsys.OneForAll()) as nursery:
            first = await nursery.start_actor("a", modules=MODULES, restart="permanent")
            other = await nursery.start_actor("b", modules=MODULES, restart="permanent")

            async def call() -> None:
                with pytest.raises(actorsys.ActorDied) as caught:
                    await other.run(work, 1000)
                assert caught.value.may_have_run
                assert "'a'" in str(caught.value)
                assert await other.run(work, 1) == "done"

            async with trio.open_nursery() as tasks:
                tasks.start_soon(call)
                await trio.sleep(1)
                sim.kill(first)
            await nursery.cancel()

    sim.run(main)


def test_a_one_shot_that_was_stopped_with_the_others_is_not_lost(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery(strategy=actorsys.OneForAll()) as nursery:
            first = await nursery.start_actor("a", modules=MODULES, restart="permanent")
            await nursery.run_in_actor(work, 1000, name="shot")
            await trio.sleep(1)
            sim.kill(first)
            await trio.sleep(10)
            await first.cancel_actor()

    with pytest.raises(ExceptionGroup) as caught:
        sim.run(main)
    (error,) = caught.value.exceptions
    assert isinstance(error, actorsys.ActorDied)
    assert error.uid[0] == "shot"


def test_all_are_stopped_within_one_grace(sim: Simulation) -> None:
    async def main() -> None:
        strategy = actorsys.OneForAll()
        async with (
            actorsys.open_nursery(strategy=strategy) as nursery,
            trio.open_nursery() as calls,
        ):
            first = await nursery.start_actor("a", modules=MODULES, restart="permanent")
            hanging = [
                await nursery.start_actor(f"h{i}", modules=MODULES, restart="permanent")
                for i in range(4)
            ]

            async def call(portal: actorsys.Portal) -> None:
                with pytest.raises(actorsys.ActorDied):
                    await portal.run(hang)

            for portal in hanging:
                calls.start_soon(call, portal)
            await trio.sleep(1)
            began = trio.current_time()
            sim.kill(first)
            await trio.sleep(0.5)
            assert await first.run(work, 0) == "done"
            # One grace, and for each the step from SIGTERM to SIGKILL; and they start anew.
            assert trio.current_time() - began < 3 + 4 * 0.25 + 1
            await nursery.cancel()

    sim.run(main)


@pytest.mark.slow
async def test_a_death_is_told_once_also_to_who_calls_before_it_is_reaped() -> None:
    """A process that holds the stderr of the dead one puts its reaping off."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("child", modules=MODULES)
        await portal.run(leave_a_process_behind)
        assert portal.pid is not None
        os.kill(portal.pid, signal.SIGKILL)
        while portal.is_alive:
            await trio.sleep(0.001)
        assert portal.peer.state == "gone"
        with pytest.raises(actorsys.ActorDied) as caught:
            await portal.run(work, 0)
        assert not caught.value.may_have_run


async def leave_a_process_behind() -> None:
    subprocess.Popen(["sleep", "0.5"])
