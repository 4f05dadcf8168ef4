"""Every operation of a pool, cancelled at each of its steps: the pool stays sound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pool_functions as remote
import pytest
import trio

import actorsys
from actorsys import open_pool
from actorsys.testing import Simulation, cancel_at_every_step

Operation = Callable[[actorsys.Pool], Awaitable[None]]
MODULES = ["pool_functions"]
STRIDE = 3
"""To open a pool takes some 500 steps; only each third one is tried, for the sake of time."""


async def run(pool: actorsys.Pool) -> None:
    assert await pool.run(remote.double, 21) == 42


async def run_plainly(pool: actorsys.Pool) -> None:
    assert await pool.run(remote.double_plainly, 21) == 42


async def run_with_a_key(pool: actorsys.Pool) -> None:
    assert await pool.run(remote.double, 21, key="a", retries=1) == 42


async def meet_an_error(pool: actorsys.Pool) -> None:
    with pytest.raises(ValueError, match="thirteen"):
        await pool.run(remote.fail_at_13, 13)


async def map_all(pool: actorsys.Pool) -> None:
    results = [result async for result in pool.map(remote.double, range(12), look_ahead=5)]
    assert results == [2 * n for n in range(12)]


async def map_plainly(pool: actorsys.Pool) -> None:
    async for _ in pool.map(remote.double_plainly, range(12), ordered=False):
        pass


async def map_a_stream(pool: actorsys.Pool) -> None:
    async def stream():  # type: ignore[no-untyped-def]
        for n in range(6):
            yield n
            await trio.lowlevel.checkpoint()

    async with pool.map(remote.double, stream(), look_ahead=2) as results:
        assert [result async for result in results] == [2 * n for n in range(6)]


async def leave_a_map_early(pool: actorsys.Pool) -> None:
    async with pool.map(remote.hang_from_10, range(8, 20)) as results:
        assert await anext(results) == 8


async def drop_a_map(pool: actorsys.Pool) -> None:
    async for _ in pool.map(remote.double, range(100)):
        break


async def grow_and_shrink(pool: actorsys.Pool) -> None:
    await pool.resize(3)
    await pool.resize(2)


OPERATIONS: list[Operation] = [
    run,
    run_plainly,
    run_with_a_key,
    meet_an_error,
    map_all,
    map_plainly,
    map_a_stream,
    leave_a_map_early,
    drop_a_map,
    grow_and_shrink,
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_pool_works_after_a_cancel_at_any_step(operation: Operation) -> None:
    async def main() -> None:
        async with open_pool(2, modules=MODULES) as pool:

            async def attempt() -> None:
                with trio.fail_after(100):
                    await operation(pool)

            async def check() -> None:
                await assert_sound(pool)

            assert await cancel_at_every_step(attempt, check) > 1

    Simulation(seed=1).run(main)


async def assert_sound(pool: actorsys.Pool) -> None:
    """Check that the workers answer, and that nothing is left of what went before."""
    with trio.fail_after(100):
        await pool.resize(2)
        assert [result async for result in pool.map(remote.double, [1, 2, 3])] == [2, 4, 6]
        await trio.sleep(1)  # for what was dropped without waiting for it
    told = pool.statistics()
    assert (told.queued, told.in_flight, len(told.workers)) == (0, 0, 2)
    assert [worker.deaths for worker in told.workers] == [0, 0]


def test_nothing_is_left_of_a_pool_that_is_cancelled_at_any_step() -> None:
    async def attempt() -> None:
        with trio.fail_after(100):
            async with open_pool(1, modules=MODULES) as pool:
                await run(pool)

    async def check() -> None:
        assert actorsys.current_actor().children_count == 0

    async def main() -> None:
        steps = range(0, 10_000, STRIDE)
        assert await cancel_at_every_step(attempt, check, steps=steps) > 1

    Simulation(seed=1).run(main)
