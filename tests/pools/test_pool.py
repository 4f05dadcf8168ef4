"""Calls through a pool: who runs them, in what order, and what becomes of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy
import pool_functions as remote
import pytest
import trio
from pool_functions import JOURNAL
from pool_helpers import simulated

import actorsys
from actorsys import open_pool
from actorsys.testing import Simulation

MODULES = ["pool_functions"]


async def run_all(pool: actorsys.Pool, fn: Any, *items: Any, **options: Any) -> list[Any]:
    """Call *fn* with each of *items* at the same time; return the results in their order."""
    results: dict[int, Any] = {}

    async def run(index: int, item: Any) -> None:
        results[index] = await pool.run(fn, item, **options)

    async with trio.open_nursery() as tasks:
        for index, item in enumerate(items):
            tasks.start_soon(run, index, item)
            await trio.sleep(0)  # so that they are made in this order
    return [results[index] for index in range(len(items))]


# --- results ------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [remote.double, remote.double_plainly, "pool_functions:double"])
@simulated
async def test_a_call_returns_what_the_function_does(sim: Simulation, fn: Any) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        assert await pool.run(fn, 21) == 42
        assert await pool.run(fn, n=21) == 42


@simulated
async def test_an_error_is_raised_as_it_was(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        for fn in (remote.fail_at_13, remote.fail_plainly):
            with pytest.raises(ValueError, match="thirteen") as caught:
                await pool.run(fn, 13)
            assert isinstance(caught.value, actorsys.RemoteActorError)
            assert caught.value.src_uid[0] == "pool-0"
            first = caught.value.tb_str.splitlines()[1]
            assert "pool_functions.py" in first
        assert await pool.run(remote.fail_at_13, 12) == 12


@simulated
async def test_a_function_that_wants_to_leave_ends_only_its_call(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(actorsys.RemoteActorError, match="3") as caught:
            await pool.run(remote.leave)
        assert caught.value.type_str == "SystemExit"
        assert pool.statistics().workers[0].deaths == 0


@simulated
async def test_what_cannot_travel_is_told_at_its_call_alone(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(actorsys.EncodeError, match="argument 1 of pool_functions:double"):
            await pool.run(remote.double, object())
        with pytest.raises(actorsys.EncodeError, match="argument 'n' of"):
            await pool.run(remote.double, n=object())
        with pytest.raises(actorsys.EncodeError, match="the result of pool_functions:return_what"):
            await pool.run(remote.return_what_cannot_travel)
        with pytest.raises(actorsys.LimitExceeded):
            await pool.run(remote.length_of, bytes(65 * 2**20))
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_large_values_travel(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        assert await pool.run(remote.length_of, bytes(3_000_000)) == 3_000_000
        for count in (10, 10_000, 1_000_000):
            assert await pool.run(remote.size_and_fill, numpy.ones(count)) == count + 6


@pytest.mark.parametrize("fn", [remote.change_context, remote.change_context_plainly])
@simulated
async def test_what_a_call_sets_is_not_seen_by_the_next_one(sim: Simulation, fn: Any) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        assert [await pool.run(fn) for _ in range(3)] == ["clean"] * 3


# --- who runs what ------------------------------------------------------------------------


@simulated
async def test_a_worker_runs_one_call_at_a_time(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        await run_all(pool, remote.note_span, 1, 2, 3)
        assert [(what, n) for n in (1, 2, 3) for what in ("begin", "end")] == JOURNAL


@simulated
async def test_with_concurrency_it_runs_more(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, concurrency=3) as pool:
        await run_all(pool, remote.note_span, 1, 2, 3, 4)
        assert [n for what, n in JOURNAL[:3]] == [1, 2, 3]
        assert {what for what, _ in JOURNAL[:3]} == {"begin"}


@simulated
async def test_calls_wait_their_turn_in_order(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        began = trio.current_time()
        values = [(n, 1) for n in range(9)]
        async with trio.open_nursery() as tasks:
            for n, seconds in values:
                tasks.start_soon(pool.run, remote.note, n, seconds)
                await trio.sleep(0.01)
        assert [*range(9)] == JOURNAL
        assert 5 <= trio.current_time() - began < 5.5


@simulated
async def test_a_call_goes_to_the_least_loaded_worker(sim: Simulation) -> None:
    async with open_pool(3, modules=MODULES) as pool:
        await pool.run(remote.own_name)
        names = await run_all(pool, remote.nap, 1, 1, 1)
        assert sorted(names) == ["pool-0", "pool-1", "pool-2"]


@simulated
async def test_what_was_sent_ahead_is_not_stuck_behind_a_slow_call(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool:
        await run_all(pool, remote.note, *range(300))  # now they are known to be fast
        async with trio.open_nursery() as tasks:
            tasks.start_soon(pool.run, remote.nap, 1000)
            for _ in range(200):
                tasks.start_soon(pool.run, remote.double, 1)
            began = trio.current_time()
            while pool.statistics().done < 300 + 200:
                await trio.sleep(0.1)
                assert trio.current_time() - began < 10
            tasks.cancel_scope.cancel()


# --- keys ---------------------------------------------------------------------------------


@simulated
async def test_calls_with_like_keys_go_to_one_worker(sim: Simulation) -> None:
    async with open_pool(4, modules=MODULES) as pool:
        homes = {}
        # The hash of a text differs from run to run: few keys may well leave a worker without any.
        for key in range(100):
            names = await run_all(pool, remote.own_name, *range(3), key=("user", key))
            assert len(set(names)) == 1
            homes[key] = names[0]
        assert len(set(homes.values())) == 4
        await pool.resize(5)
        for key, name in homes.items():
            assert await pool.run(remote.own_name, key=("user", key)) in (name, "pool-4")


@simulated
async def test_the_calls_of_a_key_begin_in_order_through_deaths_and_resizing(
    sim: Simulation,
) -> None:
    order: dict[int, list[int]] = {key: [] for key in range(5)}

    async def run(pool: actorsys.Pool, key: int, n: int) -> None:
        await pool.run(remote.note, (key, n), 0.01, key=key, retries=100)

    strategy = actorsys.OneForOne(max_restarts=1000)
    async with open_pool(3, modules=MODULES, strategy=strategy) as pool:
        async with trio.open_nursery() as tasks:
            for n in range(60):
                for key in order:
                    tasks.start_soon(run, pool, key, n)
                await trio.sleep(sim.chance.uniform(0, 0.02))
                if n % 10 == 5:
                    sim.kill(sim.chance.choice(pool.statistics().workers).pid or 0)
                if n % 20 == 7:
                    tasks.start_soon(pool.resize, sim.chance.randrange(1, 5))
    for key, n in JOURNAL:
        if n not in order[key]:  # a retry comes again
            order[key].append(n)
    assert all(numbers == sorted(numbers) and len(numbers) == 60 for numbers in order.values())


@simulated
async def test_the_calls_of_a_key_keep_their_order_while_others_are_called_back(
    sim: Simulation,
) -> None:
    async with open_pool(2, modules=MODULES) as pool, trio.open_nursery() as tasks:
        await run_all(pool, remote.double, *range(300))  # now they are known to be fast
        tasks.start_soon(partial(pool.run, remote.nap, 1, key="a"))
        await trio.sleep(0.001)
        for n in range(100):
            tasks.start_soon(partial(pool.run, remote.note, n, key="a"))
            tasks.start_soon(partial(pool.run, remote.double, n))
            await trio.sleep(sim.chance.uniform(0, 0.01))
    assert [*range(100)] == JOURNAL


async def test_a_key_without_a_hash_is_refused(sim: Simulation) -> None:
    async with sim.open(), open_pool(1, modules=MODULES) as pool:
        with pytest.raises(TypeError, match="key"):
            await pool.run(remote.double, 1, key=[1])
        assert pool.statistics().queued == 0


# --- cancelling ---------------------------------------------------------------------------


@simulated
async def test_a_cancelled_call_is_cancelled_in_its_worker(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with trio.move_on_after(1):
            await pool.run(remote.hang, "it")
        assert JOURNAL == ["it", ("cancelled", "it")]
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_a_cancelled_call_that_waits_never_runs(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(pool.run, remote.nap, 10)
            await trio.sleep(1)
            with trio.move_on_after(1):
                await pool.run(remote.note, "never")
            assert pool.statistics().queued == 0
        await pool.run(remote.note, "later")
        assert JOURNAL == ["later"]


@simulated
async def test_an_error_of_the_clean_up_takes_the_place_of_the_cancellation(
    sim: Simulation,
) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(KeyError, match="clean-up failed"):
            with trio.move_on_after(1):
                await pool.run(remote.fail_when_cancelled)


@simulated
async def test_a_deadline_travels_with_the_call(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with trio.fail_after(60):
            assert 59 < await pool.run(remote.time_left) < 60.1


@simulated
async def test_a_trace_travels_with_the_call(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        token = actorsys.trace_context.set("00-trace")
        for fn in (remote.own_trace, remote.own_trace_plainly):
            assert await pool.run(fn) == "00-trace"
        actorsys.trace_context.reset(token)
        for fn in (remote.own_trace, remote.own_trace_plainly):
            assert await pool.run(fn) is None


@simulated
async def test_a_plain_function_may_raise_stop_iteration(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(actorsys.RemoteActorError) as caught:
            await pool.run(remote.stop_iteration)
        assert caught.value.type_str == "StopIteration"
        assert "in stop_iteration" in caught.value.tb_str
        assert "actorsys/pools" not in caught.value.tb_str
        with pytest.raises(actorsys.RemoteActorError):
            async for _ in pool.map(remote.stop_iteration, [1]):
                pass


# --- misuse -------------------------------------------------------------------------------


@simulated
async def test_it_shows_what_users_call_and_nothing_else(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        shown = {name for name in dir(pool) if not name.startswith("_")}
        assert shown == {"map", "resize", "run", "size", "statistics"}


@pytest.mark.parametrize("bad", [0, -1])
async def test_a_pool_has_at_least_one_worker(bad: int) -> None:
    for options in ({"n": bad}, {"n": 1, "concurrency": bad}):
        with pytest.raises(ValueError, match="must be at least 1"):
            async with open_pool(**options):
                pass


async def test_counts_are_whole_numbers() -> None:
    for options in ({"n": 1.5}, {"n": True}, {"concurrency": "2"}, {"retries": None}):
        with pytest.raises(TypeError, match="whole number"):
            async with open_pool(**options):  # type: ignore[arg-type]
                pass
    with pytest.raises(TypeError, match="strategy"):
        async with open_pool(1, strategy=actorsys.OneForAll()):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize(
    "option",
    [
        {"name": "a\n"},
        {"name": ""},
        {"name": "x" * 63},
        {"name": 7},
        {"env": {"A": 1}},
        {"env": ["A"]},
        {"types": [int]},
        {"types": [7]},
        {"types": 7},
        {"modules": 7},
        {"strategy": actorsys.OneForAll()},
    ],
    ids=str,
)
@simulated
async def test_other_options_that_make_no_sense_are_refused_before_anything_starts(
    sim: Simulation, option: dict[str, Any]
) -> None:
    before = len(sim.processes)
    with pytest.raises((TypeError, ValueError)):
        async with open_pool(2, **option):
            pytest.fail("it was opened")
    assert len(sim.processes) == before


@simulated
async def test_a_pool_that_cannot_grow_because_of_its_name_says_so(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES, name="x" * 62) as pool:
        before = len(sim.processes)
        with pytest.raises(ValueError, match="name"):
            await pool.resize(11)
        assert len(sim.processes) == before
        assert await pool.run(remote.double, 1) == 2


@simulated
async def test_what_is_not_exposed_is_refused_at_once(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool, trio.open_nursery() as tasks:
        tasks.start_soon(pool.run, remote.hang)
        await trio.sleep(1)
        began = trio.current_time()
        for fn in (remote._private, "os:getpid", test_counts_are_whole_numbers, lambda: None):
            with pytest.raises(actorsys.NotExposed):
                await pool.run(fn)
            with pytest.raises(actorsys.NotExposed):
                pool.map(fn, [1])
        for fn in (remote.numbers, 7):
            with pytest.raises(actorsys.LocalProtocolError):
                await pool.run(fn)  # type: ignore[arg-type]
        assert trio.current_time() == began
        tasks.cancel_scope.cancel()


@simulated
async def test_a_function_that_only_the_worker_knows_is_refused_there(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        with pytest.raises(actorsys.NotExposed, match="no function"):
            await pool.run("pool_functions:missing")


@simulated
async def test_a_closed_pool_says_so(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool:
        results = pool.map(remote.double, [1])
    for use in (lambda: pool.run(remote.double, 1), lambda: pool.resize(2), results.__anext__):
        with pytest.raises(actorsys.ChannelClosed, match="pool 'pool' is closed"):
            await use()
    with pytest.raises(actorsys.ChannelClosed):
        pool.map(remote.double, [1])
    assert "closed" in repr(pool)


@simulated
async def test_calls_under_way_are_told_that_the_pool_was_closed(sim: Simulation) -> None:
    errors: list[actorsys.ActorUnavailable] = []

    async def run(pool: actorsys.Pool) -> None:
        with pytest.raises(actorsys.ActorUnavailable, match="closed meanwhile") as caught:
            await pool.run(remote.hang)
        errors.append(caught.value)

    async with trio.open_nursery() as tasks:
        async with open_pool(1, modules=MODULES) as pool:
            tasks.start_soon(run, pool)
            tasks.start_soon(run, pool)
            await trio.sleep(1)
    assert sorted(error.may_have_run for error in errors) == [False, True]


# --- its size -----------------------------------------------------------------------------


@simulated
async def test_it_grows_under_load(sim: Simulation) -> None:
    async with open_pool(1, modules=MODULES) as pool, trio.open_nursery() as tasks:
        for _ in range(4):
            tasks.start_soon(pool.run, remote.nap, 100)
        began = trio.current_time()
        await trio.sleep(1)
        await pool.resize(4)
        assert pool.size == 4
        await trio.sleep(1)
        assert [worker.in_flight for worker in pool.statistics().workers] == [1] * 4
        assert trio.current_time() - began < 3


@simulated
async def test_it_shrinks_when_the_busy_have_finished(sim: Simulation) -> None:
    names: list[str] = []

    async def run(pool: actorsys.Pool) -> None:
        names.append(await pool.run(remote.nap, 10))

    async with open_pool(3, modules=MODULES) as pool, trio.open_nursery() as tasks:
        for _ in range(9):
            tasks.start_soon(run, pool)
        await trio.sleep(1)
        await pool.resize(1)
        assert 10 <= trio.current_time() < 12
        assert len(pool.statistics().workers) == pool.size == 1
    assert sorted(names) == ["pool-0"] * 7 + ["pool-1", "pool-2"]


@simulated
async def test_nothing_is_lost_while_it_is_resized(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES) as pool, trio.open_nursery() as tasks:

        async def resize() -> None:
            while True:
                await pool.resize(sim.chance.randrange(1, 6))
                await trio.sleep(sim.chance.uniform(0, 0.01))

        tasks.start_soon(resize)
        results = [result async for result in pool.map(remote.double, range(500))]
        assert results == [2 * n for n in range(500)]
        tasks.cancel_scope.cancel()


@simulated
async def test_resizing_can_be_cancelled(sim: Simulation) -> None:
    sim.max_boot_seconds = 50
    async with open_pool(1, modules=MODULES) as pool:
        with trio.move_on_after(0.001):
            await pool.resize(5)
        assert pool.size == 1
        await pool.resize(2)
        assert len(await run_all(pool, remote.nap, 1, 1)) == 2


# --- what it tells ------------------------------------------------------------------------


@simulated
async def test_statistics_tell_what_is_done_and_who_does_it(sim: Simulation) -> None:
    async with open_pool(2, modules=MODULES, name="staff") as pool, trio.open_nursery() as tasks:
        for _ in range(5):
            tasks.start_soon(pool.run, remote.nap, 10)
        await trio.sleep(1)
        told = pool.statistics()
        assert [worker.name for worker in told.workers] == ["staff-0", "staff-1"]
        assert len({worker.pid for worker in told.workers}) == 2
        assert [worker.in_flight for worker in told.workers] == [1, 1]
        assert (told.in_flight, told.queued) == (2, 3)
        assert repr(pool) == "<Pool 'staff': open, 2 workers, 3 calls wait>"
        with pytest.raises(ValueError, match="thirteen"):
            await pool.run(remote.fail_at_13, 13)
        await trio.sleep(30)
        told = pool.statistics()
        assert (told.queued, told.done, told.failed, told.retried) == (0, 5, 1, 0)
