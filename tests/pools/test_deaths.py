"""Workers that die: who is told, what is run again, and when the pool gives up."""

from __future__ import annotations

from typing import Any

import pool_functions as remote
import pytest
import trio
from pool_functions import JOURNAL
from pool_helpers import simulated
from tree_helpers import leaves

import actorsys
from actorsys import open_pool
from actorsys.testing import Simulation

MODULES = ["pool_functions"]
OFTEN = actorsys.OneForOne(max_restarts=10_000, backoff=actorsys.Backoff(first=0))


def pids(pool: actorsys.Pool) -> list[int]:
    return [worker.pid or 0 for worker in pool.statistics().workers]


@simulated
async def test_who_called_is_told_and_the_replacement_takes_the_next(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        (pid,) = pids(pool)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call_in_vain, pool)
            await trio.sleep(1)
            sim.kill(pid)
            assert await pool.run(remote.double, 1) == 2
        assert pids(pool) != [pid]
        assert pool.statistics().workers[0].deaths == 1
        assert pool.statistics().failed == 1


async def call_in_vain(pool: actorsys.Pool) -> None:
    with pytest.raises(actorsys.ActorDied, match="killed by SIGKILL") as caught:
        await pool.run(remote.hang, "victim")
    assert caught.value.may_have_run


@pytest.mark.parametrize(
    "message",
    [{"free": 1}, {"free": 7}, {"job": 1}, {"job": []}, {"job": 1, "error": 7}, {}],
    ids=str,
)
@simulated
async def test_a_worker_that_makes_no_sense_loses_its_calls_and_its_link(
    sim: Simulation, message: dict[str, Any]
) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with trio.fail_after(60), pytest.raises(actorsys.ActorUnavailable):
            await pool.run(remote.say, **message)
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_a_call_is_never_run_twice_by_default(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES, strategy=OFTEN) as pool, trio.open_nursery() as tasks:

        async def kill() -> None:
            while True:
                await trio.sleep(sim.chance.uniform(0, 0.1))
                sim.kill(sim.chance.choice(pids(pool)))

        tasks.start_soon(kill)
        results = pool.map(remote.note_slowly, range(300), return_exceptions=True)
        got = [result async for result in results]
        tasks.cancel_scope.cancel()
    died = [n for n, result in enumerate(got) if isinstance(result, actorsys.ActorDied)]
    assert 0 < len(died) < 150
    assert len(JOURNAL) == len(set(JOURNAL))
    assert {n for n, result in enumerate(got) if result == n} | {*died} == {*range(300)}
    for n in died:
        assert got[n].may_have_run
        assert f"item {n} of a map" in got[n].__notes__[-1]


@simulated
async def test_what_had_not_begun_is_given_to_another_and_is_no_retry(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, strategy=OFTEN) as pool:
        await trio.lowlevel.checkpoint()
        async for _ in pool.map(remote.double, range(200)):
            pass  # now it is known to be fast
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call_in_vain, pool)
            await trio.sleep(0.001)
            for n in range(5):
                tasks.start_soon(pool.run, remote.note, n)
            await trio.sleep(0.004)
            assert pool.statistics().in_flight >= 2
            sim.kill(pids(pool)[0])
        assert sorted(JOURNAL[-5:]) == [*range(5)]
        assert pool.statistics().retried == 0


@simulated
async def test_retries_are_counted_and_then_it_is_told(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, strategy=OFTEN) as pool:

        async def kill() -> None:
            while True:
                await trio.sleep(1)
                sim.kill(pids(pool)[0])

        async with trio.open_nursery() as tasks:
            tasks.start_soon(kill)
            with pytest.raises(actorsys.ActorDied) as caught:
                await pool.run(remote.hang, "it", retries=2)
            tasks.cancel_scope.cancel()
        assert [text for text in JOURNAL if text == "it"] == ["it"] * 3
        assert "was tried 3 times" in caught.value.__notes__[-1]
        assert pool.statistics().retried == 2


@simulated
async def test_a_pool_can_retry_by_default(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES, strategy=OFTEN, retries=1000) as pool:

        async def kill() -> None:
            while True:
                await trio.sleep(sim.chance.uniform(0, 0.2))
                sim.kill(sim.chance.choice(pids(pool)))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(kill)
            results = [result async for result in pool.map(remote.note_slowly, range(300))]
            tasks.cancel_scope.cancel()
        assert results == [*range(300)]
        assert pool.statistics().retried > 0


@simulated
async def test_an_error_of_the_function_is_not_retried(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, retries=5) as pool:
        with pytest.raises(ValueError, match="thirteen"):
            await pool.run(remote.fail_at_13, 13)
        assert pool.statistics().retried == 0


@simulated
async def test_a_cancelled_call_is_not_retried(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, strategy=OFTEN) as pool:
        with trio.move_on_after(1):
            await pool.run(remote.hang_shielded, 100, retries=5)
        sim.kill(pids(pool)[0])
        assert await pool.run(remote.double, 1) == 2
        assert JOURNAL == ["shielded"]


@simulated
async def test_a_link_that_is_cut_is_a_death_too(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool, trio.open_nursery() as tasks:
        tasks.start_soon(die_somehow, pool)
        await trio.sleep(1)
        sim.cut_links(pids(pool)[0])
        assert await pool.run(remote.double, 1) == 2


async def die_somehow(pool: actorsys.Pool) -> None:
    with pytest.raises(actorsys.ActorUnavailable):
        await pool.run(remote.hang)


@simulated
async def test_a_worker_that_leaves_may_die_on_its_way(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool, trio.open_nursery() as tasks:
        tasks.start_soon(call_in_vain, pool)
        tasks.start_soon(call_in_vain, pool)
        await trio.sleep(1)
        tasks.start_soon(pool.resize, 1)
        await trio.sleep(1)
        for pid in pids(pool):
            sim.kill(pid)
        await trio.sleep(1)
        assert len(pool.statistics().workers) == 1


@simulated
async def test_too_many_deaths_end_the_pool_loudly(sim: Simulation) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_pool(2, modules=MODULES) as pool:
            for _ in range(100):
                await trio.sleep(0.2)
                sim.kill(sim.chance.choice(pids(pool)))
    (error,) = leaves(caught.value)
    assert isinstance(error, actorsys.RestartIntensityExceeded)
    assert len(error.history) == 7


@simulated
async def test_a_pool_that_has_grown_may_lose_more_workers(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        await pool.resize(4)
        for _ in range(3):
            for pid in pids(pool):
                sim.kill(pid)
            await trio.sleep(1.5)
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_a_pool_with_a_strategy_of_its_own_keeps_it(sim: Simulation) -> None:
    once = actorsys.OneForOne(max_restarts=1)
    with pytest.raises(ExceptionGroup) as caught:
        async with open_pool(1, modules=MODULES, strategy=once) as pool:
            await pool.resize(4)
            for pid in pids(pool)[:2]:
                sim.kill(pid)
            await trio.sleep(10)
    assert isinstance(leaves(caught.value)[0], actorsys.RestartIntensityExceeded)


@simulated
async def test_a_pool_whose_workers_cannot_start_is_not_opened(sim: Simulation) -> None:
    sim.max_boot_seconds = 100

    async def kill() -> None:
        await trio.sleep(0.01)
        sim.kill(max(sim.processes))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(kill)
        with pytest.raises(actorsys.SpawnError):
            async with open_pool(2, modules=MODULES):
                pytest.fail("it was opened")


@simulated
async def test_a_death_does_not_take_finished_calls_with_it(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, strategy=OFTEN) as pool:
        remote.KILL.append(lambda: sim.kill(pids(pool)[0]))
        results = pool.map(remote.kill_at_13, [1] * 100 + [*range(30)], return_exceptions=True)
        got = [result async for result in results]
        remote.KILL.clear()
        assert [n for n, result in enumerate(got) if isinstance(result, Exception)] == [113]
