"""Maps: order, look-ahead, errors, early ends, progress."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pool_functions as remote
import pytest
import trio
from pool_functions import JOURNAL
from pool_helpers import simulated

import actorsys
from actorsys import open_pool
from actorsys.testing import Simulation

MODULES = ["pool_functions"]


class Source:
    """An iterable that counts what was taken out of it, and whether it was closed."""

    def __init__(self, count: int, seconds: float = 0) -> None:
        self.taken = 0
        self.is_closed = False
        self._count = count
        self._seconds = seconds

    def __iter__(self) -> Iterator[int]:
        for n in range(self._count):
            self.taken += 1
            yield n

    async def stream(self) -> AsyncIterator[int]:
        try:
            for n in range(self._count):
                self.taken += 1
                yield n
                await trio.sleep(self._seconds)
        finally:
            self.is_closed = True


# --- results ------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [remote.double, remote.double_plainly])
@pytest.mark.parametrize("count", [0, 1, 7, 1000])
@simulated
async def test_results_come_in_the_order_of_the_items(sim: Simulation, fn: Any, count: int) -> None:
    async with open_pool(3, modules=MODULES) as pool:
        results = pool.map(fn, range(count))
        assert [result async for result in results] == [2 * n for n in range(count)]
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@simulated
async def test_unordered_results_come_as_they_are_ready(sim: Simulation) -> None:
    async with open_pool(3, modules=MODULES) as pool:
        naps = [30, 20, 10]
        ordered = pool.map(remote.nap_and_tell, naps)
        assert [seconds async for seconds in ordered] == naps
        unordered = pool.map(remote.nap_and_tell, naps, ordered=False)
        assert [seconds async for seconds in unordered] == naps[::-1]


@simulated
async def test_items_may_come_from_an_asynchronous_iterable(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        source = Source(50, 0.1)
        results = [result async for result in pool.map(remote.double, source.stream())]
        assert results == [2 * n for n in range(50)]
        assert source.is_closed


@simulated
async def test_a_result_does_not_wait_for_the_next_item(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        async with pool.map(remote.double, Source(3, 100).stream()) as results:
            assert await anext(results) == 0
            assert trio.current_time() < 10


@pytest.mark.parametrize("is_stream", [False, True])
@simulated
async def test_no_more_items_are_taken_than_look_ahead_allows(
    sim: Simulation, is_stream: bool
) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        source = Source(100)
        items = source.stream() if is_stream else source
        given = 0
        async for _ in pool.map(remote.double, items, look_ahead=5):
            await trio.sleep(1)
            given += 1
            assert source.taken <= given + 5
        assert given == 100


@simulated
async def test_two_maps_share_the_workers(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:

        async def run(sign: int) -> None:
            items = [sign * n for n in range(100)]
            assert [r async for r in pool.map(remote.double, items)] == [2 * n for n in items]

        async with trio.open_nursery() as tasks:
            tasks.start_soon(run, 1)
            tasks.start_soon(run, -1)


@simulated
async def test_items_with_like_keys_go_to_one_worker(sim: Simulation) -> None:
    async with open_pool(3, modules=MODULES) as pool:
        names = [name async for name in pool.map(remote.own_name, range(60), key=lambda n: n % 10)]
        assert all(len(set(names[key::10])) == 1 for key in range(10))
        assert len(set(names)) > 1


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("fn", [remote.fail_at_13, remote.fail_plainly])
@simulated
async def test_the_first_error_ends_the_map_and_says_which_item(
    sim: Simulation, fn: Any, ordered: bool
) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        got = []
        with pytest.raises(ValueError, match="thirteen") as caught:
            async for result in pool.map(fn, range(100_000), ordered=ordered):
                got.append(result)
        assert "item 13 of a map of pool_functions:fail" in "".join(caught.value.__notes__)
        if ordered:
            assert got == [*range(13)][: len(got)]
        assert pool.statistics().queued == 0
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_an_error_cancels_what_else_is_under_way(sim: Simulation) -> None:
    async with open_pool(3, modules=MODULES) as pool:
        with pytest.raises(ValueError, match="thirteen"):
            async for _ in pool.map(remote.hang_or_fail, range(11, 14)):
                pass
        assert sorted(JOURNAL) == ["cancelled 11", "cancelled 12"]
        assert pool.statistics().in_flight == 0


@simulated
async def test_errors_can_be_had_as_results(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        results = pool.map(remote.fail_at_13, range(20), return_exceptions=True)
        got = [result async for result in results]
        assert isinstance(got[13], ValueError)
        assert got[:13] + got[14:] == [*range(13), *range(14, 20)]
        assert results.statistics() == (20, 0, 19, 1)


@pytest.mark.parametrize("is_stream", [False, True])
@simulated
async def test_an_error_of_the_items_ends_the_map(sim: Simulation, is_stream: bool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    async def stream() -> AsyncIterator[int]:
        for item in items():
            yield item

    async with open_pool(2, modules=MODULES) as pool:
        with pytest.raises(KeyError, match="no more"):
            async for _ in pool.map(remote.hang, stream() if is_stream else items()):
                pass
        assert pool.statistics().in_flight == 0


@simulated
async def test_an_item_that_cannot_travel_ends_the_map(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        got = []
        with pytest.raises(actorsys.EncodeError, match="argument 1") as caught:
            async for result in pool.map(remote.double, [1, object(), 3]):
                got.append(result)
        assert "item 1 of" in caught.value.__notes__[0]
        assert got == [2][: len(got)]


@simulated
async def test_options_that_make_no_sense_are_refused(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(ValueError, match="look_ahead must be at least 1"):
            pool.map(remote.double, [], look_ahead=0)
        with pytest.raises(ValueError, match="retries must be at least 0"):
            pool.map(remote.double, [], retries=-1)
        with pytest.raises(TypeError):
            pool.map(remote.double, 7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="hash"):
            async for _ in pool.map(remote.double, [1], key=lambda n: [n]):
                pass


# --- early ends ---------------------------------------------------------------------------


@simulated
async def test_leaving_the_block_stops_what_is_under_way(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        source = Source(1000)
        async with pool.map(remote.hang_from_10, source) as results:
            async for n in results:
                if n == 3:
                    break
        taken = source.taken
        assert pool.statistics().in_flight == pool.statistics().queued == 0
        assert await pool.run(remote.double, 1) == 2
        assert source.taken == taken < 1000
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@pytest.mark.parametrize("is_stream", [False, True])
@simulated
async def test_a_loop_without_a_block_stops_it_as_well(sim: Simulation, is_stream: bool) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        source = Source(1000, 0.01)
        items = source.stream() if is_stream else source
        async for n in pool.map(remote.hang_from_10, items):
            if n == 3:
                break
        gc.collect()
        await trio.sleep(1)
        assert pool.statistics().in_flight == pool.statistics().queued == 0
        assert source.is_closed == is_stream
        assert source.taken < 1000


@simulated
async def test_a_map_that_nobody_reads_calls_nothing(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        source = Source(3)
        results = pool.map(remote.note, source)
        await trio.sleep(10)
        assert (source.taken, JOURNAL) == (0, [])
        await results.aclose()
        await results.aclose()


@simulated
async def test_no_result_is_lost_to_a_reader_that_is_cancelled(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        results = pool.map(remote.note, range(20), ordered=True)
        got: list[int] = []
        while len(got) < 20:
            with trio.move_on_after(sim.chance.uniform(0, 0.002)):
                got.append(await anext(results))
        assert got == [*range(20)]


@simulated
async def test_a_dropped_map_leaves_the_calls_of_others_alone(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        async with trio.open_nursery() as tasks:
            async with pool.map(remote.hang, range(10)) as results:
                with trio.move_on_after(1):
                    await anext(results)
                tasks.start_soon(pool.run, remote.note, "other")
                await trio.sleep(1)
        assert JOURNAL == [0, ("cancelled", 0), "other"]


# --- progress -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
@simulated
async def test_progress_is_told_without_polling(sim: Simulation, is_stream: bool) -> None:
    told = []

    async def watch(results: actorsys.MapResults) -> None:
        async for progress in results.progress():
            told.append(progress)

    async with open_pool(2, modules=MODULES) as pool, trio.open_nursery() as tasks:
        items = Source(20, 1).stream() if is_stream else range(20)
        results = pool.map(remote.fail_at_13, items, return_exceptions=True)
        tasks.start_soon(watch, results)
        await trio.sleep(1)
        assert told == [(None if is_stream else 20, 0, 0, 0)]
        async for _ in results:
            await trio.sleep(0.1)
    assert told[-1] == (20, 0, 19, 1)
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert len(told) == len(set(told)) > 3


@simulated
async def test_progress_ends_with_a_map_that_is_closed(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool, trio.open_nursery() as tasks:
        async with pool.map(remote.hang, range(5)) as results:
            with trio.move_on_after(1):
                await anext(results)
            progress = results.progress()
            assert (await anext(progress)).in_flight == 5
            tasks.start_soon(results.aclose)
            async for _ in progress:
                pass
