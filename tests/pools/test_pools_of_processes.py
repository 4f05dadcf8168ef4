"""Pools of real processes: what a simulation cannot show."""

from __future__ import annotations

import os
from pathlib import Path

import pool_functions as remote
import pytest
import trio
from tree_helpers import run_script

import actorsys
from actorsys import open_pool
from actorsys.pools.recipe import available_cpus

MODULES = ["pool_functions"]
STARTS_PROCESSES = True


@pytest.mark.parametrize("fn", [remote.exit_at_13, remote.abort_at_13])
async def test_a_call_that_kills_its_worker_takes_nothing_with_it(fn: object) -> None:
    async with open_pool(2, modules=MODULES, env={"PYTHONFAULTHANDLER": ""}) as pool:
        items = [1] * 300 + [*range(30)]
        results = pool.map(fn, items, return_exceptions=True)  # type: ignore[arg-type]
        got = [result async for result in results]
        died = [n for n, result in enumerate(got) if isinstance(result, actorsys.ActorDied)]
        assert died == [313]
        assert got[:313] + got[314:] == items[:313] + items[314:]
        assert sum(worker.deaths for worker in pool.statistics().workers) == 1


async def test_a_worker_that_was_taken_over_harms_only_its_call() -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(actorsys.ActorDied) as caught:
            await pool.run(remote.spoil_journal_and_exit, 1)
        assert caught.value.may_have_run
        assert await pool.run(remote.double, 1) == 2


async def test_an_array_that_a_call_sets_is_not_for_the_next_one() -> None:
    async with open_pool(1, modules=MODULES) as pool:
        assert [total async for total in pool.map(remote.change_array, range(5))] == [3.0] * 5


async def test_a_call_that_is_made_again_may_succeed(tmp_path: Path) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        path = str(tmp_path / "was here")
        assert await pool.run(remote.exit_once, path, retries=1) == "survived"
        assert pool.statistics().retried == 1


async def test_a_plain_function_that_was_cancelled_keeps_its_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    results: list[int] = []
    cancelled = trio.Event()
    scope = trio.CancelScope()

    async def read() -> None:
        with scope:
            await pool.run(remote.read_pipe, str(pipe))
        cancelled.set()

    async def run_next() -> None:
        results.append(await pool.run(remote.double_plainly, 21))

    async with open_pool(1, modules=MODULES) as pool, trio.open_nursery() as tasks:
        tasks.start_soon(read)
        with await trio.to_thread.run_sync(open, pipe, "w"):  # it has begun
            scope.cancel()
            await cancelled.wait()
            assert pool.statistics().in_flight == 1
            tasks.start_soon(run_next)
            await trio.sleep(0.05)
            assert (pool.statistics().queued, results) == (1, [])
    assert results == [42]


async def test_a_deadline_is_not_for_the_calls_that_follow_in_the_same_thread() -> None:
    async with open_pool(1, modules=MODULES) as pool, trio.open_nursery() as tasks:
        async for _ in pool.map(remote.double_plainly, range(200)):
            pass  # now calls are sent ahead

        async def run_with_a_deadline() -> None:
            with trio.fail_after(1):
                await pool.run(remote.sleep_plainly, 0.05)

        tasks.start_soon(run_with_a_deadline)
        await trio.sleep(0.01)
        assert await pool.run(remote.sleep_plainly, 1.1)
        assert pool.statistics().failed == 0


async def test_many_maps_that_are_left_early_leave_nothing_behind() -> None:
    async with open_pool(2, modules=MODULES) as pool:
        for _ in range(20):
            async with pool.map(remote.double_plainly, range(100_000)) as results:
                async for result in results:
                    if result == 10:
                        break
            assert pool.statistics().queued == 0
        assert [result async for result in pool.map(remote.double, range(3))] == [0, 2, 4]
        assert [worker.deaths for worker in pool.statistics().workers] == [0, 0]


async def test_a_pool_inside_a_worker_of_a_pool() -> None:
    async with open_pool(1, modules=MODULES) as pool:
        assert await pool.run(remote.map_inside, 3) == [0, 2, 4]


async def test_by_default_there_is_a_worker_for_each_cpu() -> None:
    assert available_cpus() == len(os.sched_getaffinity(0))


SCRIPT = """
import trio, actorsys

def double(n):
    return 2 * n

async def main():
    async with actorsys.open_pool(2, modules=[__name__]) as pool:
        async for result in pool.map(double, range(100_000)):
            if result == 10:
                break
        print(sum([result async for result in pool.map(double, range(10))]))

if __name__ == "__main__":
    trio.run(main)
"""


def test_a_script_can_have_its_own_functions_mapped(tmp_path: Path) -> None:
    ended = run_script(tmp_path, SCRIPT)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "90\n", "")
