"""The items of a map: whatever they do is told to this map, and to nobody else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pool_functions as remote
import pytest
import trio
from pool_helpers import simulated

from actorsys import Pool, open_pool
from actorsys.testing import Simulation

MODULES = ["pool_functions"]


async def spoiled_at_its_end(count: int) -> AsyncIterator[int]:
    """Yield *count* items; whenever it ends, its clean-up fails."""
    try:
        for n in range(count):
            yield n
    finally:
        raise KeyError("clean-up of the items")


async def take(pool: Pool, items: Any, **options: Any) -> list[Any]:
    return [result async for result in pool.map(remote.double, items, **options)]


@simulated
async def test_an_error_of_the_clean_up_of_the_items_ends_this_map_only(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool, trio.open_nursery() as tasks:
        tasks.start_soon(pool.run, remote.nap, 1)
        with pytest.raises(KeyError, match="clean-up"):
            await take(pool, spoiled_at_its_end(3))
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_an_error_of_a_late_clean_up_is_logged(
    sim: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        with caplog.at_level(logging.WARNING, "actorsys.pools"):
            async with pool.map(remote.double, spoiled_at_its_end(100_000)) as results:
                await anext(results)
        assert "after the end of its map: KeyError('clean-up of the items')" in caplog.text
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_a_clean_up_that_fails_while_the_pool_closes_does_not_fail_the_pool(
    sim: Simulation,
) -> None:
    async def nested() -> AsyncIterator[int]:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(fail_when_cancelled)
            while True:
                yield 1
                await trio.sleep(1)

    async def fail_when_cancelled() -> None:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        raise KeyError("clean-up")

    async with open_pool(2, modules=MODULES) as pool:
        results = pool.map(remote.double, nested())
        assert await anext(results) == 2


@simulated
async def test_what_only_looks_asynchronous_is_refused(sim: Simulation) -> None:
    class Misspelled:
        def __aiter__(self) -> Any:
            return 7

    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(TypeError, match="not an async iterator"):
            pool.map(remote.double, Misspelled())


@pytest.mark.parametrize("end", [StopIteration, StopAsyncIteration])
@simulated
async def test_an_end_out_of_place_is_an_error(sim: Simulation, end: type[Exception]) -> None:
    class Source:
        def __iter__(self) -> Source:
            return self

        def __next__(self) -> int:
            raise StopAsyncIteration

    def refuse(n: int) -> int:
        raise end

    async def stream() -> AsyncIterator[int]:
        yield 1

    async with open_pool(1, modules=MODULES) as pool:
        for items in (stream(), [1]):
            with pytest.raises(RuntimeError, match=end.__name__) as caught:
                await take(pool, items, key=refuse)
            assert isinstance(caught.value.__cause__, end)
        with pytest.raises(RuntimeError, match="StopAsyncIteration"):
            await take(pool, Source())


@simulated
async def test_a_channel_stays_open_for_its_owner(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        sending, receiving = trio.open_memory_channel[int](10)
        with sending, receiving:
            for n in range(5):
                sending.send_nowait(n)
            async with pool.map(remote.double, receiving, look_ahead=1) as results:
                assert await anext(results) == 0
            assert receiving.receive_nowait() < 5


@simulated
async def test_as_many_items_as_cannot_be_counted_are_an_unknown_number(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        async with pool.map(remote.length_of, range(2**70)) as results:
            assert results.statistics().total is None


@simulated
async def test_a_map_in_a_thread_is_refused(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with ThreadPoolExecutor(1) as threads:
            ended = threads.submit(pool.map, remote.double, [1])
        with pytest.raises(RuntimeError, match=r"pool\.map .*from_thread"):
            ended.result()
