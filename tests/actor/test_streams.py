"""Streams keep order, drop nothing, hold memory, and end on both sides."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import psutil
import pytest
import stream_functions as remote
import trio
import trio.testing
from shared_tree import SharedTree
from tree_helpers import CancelAtStep, freeze, open_journal, open_worker

import actorsys
from actorsys.actor.stream import _SUBSCRIPTION_ITEMS

MODULE = "stream_functions"
shared_tree = SharedTree(["worker"], MODULE)
pytestmark = pytest.mark.timeout(20)
MIB = 1024 * 1024
MAX_PILED_UP_BYTES = 16 * MIB


async def test_items_come_in_order_and_the_end_is_seen() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.count, stop=5000) as stream:
            assert [item async for item in stream] == list(range(5000))
            with pytest.raises(trio.EndOfChannel):
                await stream.receive()
            with pytest.raises(trio.EndOfChannel):
                await stream.receive()
        async with portal.open_stream_from(remote.count, 0) as stream:
            assert [item async for item in stream] == []


async def test_items_are_values_of_every_kind() -> None:
    values = [None, (), [1, {"a": b"b"}], "x" * 100_000, b"y" * 3_000_000, math.inf, {1, 2}]
    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.echo_values, values) as stream:
            assert [item async for item in stream] == values


async def test_leaving_early_runs_the_remote_finally(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        for generator in (remote.count_for_ever, remote.clean_up_with_a_wait):
            async with portal.open_stream_from(generator, journal.path) as stream:
                assert await stream.receive() == 0
            assert await portal.run(remote.calls_in_flight) == 0
            assert await journal.read_line() == "closed"
        with pytest.raises(KeyError, match="of the body"):
            async with portal.open_stream_from(remote.count_for_ever, journal.path) as stream:
                async for item in stream:
                    if item == 10:
                        raise KeyError("of the body")
        assert await journal.read_line() == "closed"
        async with portal.open_stream_from(remote.count_for_ever, journal.path) as stream:
            await stream.receive()
            await stream.aclose()
            assert await journal.read_line() == "closed"
            with pytest.raises(actorsys.ChannelClosed):
                await stream.receive()
        async with portal.open_stream_from(remote.silent):
            pass
        assert await portal.run(remote.calls_in_flight) == 0


async def test_an_error_in_the_remote_finally_is_not_lost() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(KeyError, match="clean-up failed"):
            async with portal.open_stream_from(remote.fail_in_clean_up) as stream:
                await stream.receive()


async def test_an_error_before_the_first_item_is_raised_too() -> None:
    async with open_worker(MODULE) as portal:
        with pytest.raises(ValueError, match="not even one"):
            async with portal.open_stream_from(remote.fail_at_once) as stream:
                async for _ in stream:
                    pytest.fail("there is no item")
        assert await portal.run(remote.add, 1, 1) == 2


async def test_an_error_mid_stream_comes_after_the_items_before_it() -> None:
    seen: list[int] = []
    async with open_worker(MODULE) as portal:
        with pytest.raises(ValueError, match="no more"):
            async with portal.open_stream_from(remote.fail_after, 1000) as stream:
                async for item in stream:
                    seen.append(item)
    assert seen == list(range(1000))


async def test_an_item_that_cannot_travel_is_an_error_of_the_generator() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(actorsys.EncodeError, match="object"):
            async with portal.open_stream_from(remote.yield_what_cannot_travel) as stream:
                async for _ in stream:
                    pass
        assert await portal.run(remote.add, 1, 1) == 2


async def test_a_one_way_stream_only_receives() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.count, 1) as stream:
            with pytest.raises(actorsys.LocalProtocolError):
                await stream.send(1)


# --- back-pressure ------------------------------------------------------------------------


async def settled_production(portal: actorsys.Portal) -> int:
    """Return how many items were produced once no more are, and check that calls stay fast."""
    times = []
    last, unchanged = -1, 0
    while unchanged < 50:
        began = trio.current_time()
        produced = await portal.run(remote.produced)
        times.append(trio.current_time() - began)
        unchanged = unchanged + 1 if produced == last else 0
        last = produced
    assert sorted(times)[len(times) // 2] < 0.02
    return last


def memory_of(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


@pytest.mark.parametrize("size", [100, 64 * 1024, MIB])
async def test_a_reader_that_does_not_read_stops_the_producer(size: int) -> None:
    async with open_worker(MODULE) as portal:
        before = memory_of(portal.pid), memory_of(os.getpid())
        async with portal.open_stream_from(remote.produce, size) as stream:
            produced = await settled_production(portal)
            assert 0 < produced * size < MAX_PILED_UP_BYTES
            after = memory_of(portal.pid), memory_of(os.getpid())
            assert after[0] - before[0] < MAX_PILED_UP_BYTES
            assert after[1] - before[1] < MAX_PILED_UP_BYTES
            for _ in range(produced + 10):
                await stream.receive()
            assert await portal.run(remote.produced) >= produced + 9


async def test_a_reader_over_there_that_does_not_read_stops_the_sender() -> None:
    sent = 0

    async def send_for_ever(stream: actorsys.MsgStream) -> None:
        nonlocal sent
        while True:
            await stream.send(bytes(64 * 1024))
            sent += 1

    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.never_read) as (ctx, _), ctx.open_stream() as stream:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(send_for_ever, stream)
                for _ in range(50):
                    assert await portal.run(remote.add, 1, 1) == 2
                before = sent
                for _ in range(50):
                    assert await portal.run(remote.add, 1, 1) == 2
                assert 0 < before == sent
                assert sent * 64 * 1024 < MAX_PILED_UP_BYTES
                tasks.cancel_scope.cancel()
            await ctx.cancel()


@pytest.mark.slow
async def test_a_frozen_reader_stops_the_sender() -> None:
    sent, size = 0, 60_000
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.total) as (ctx, _):
            async with ctx.open_stream() as stream:
                freeze(portal.pid)
                with trio.move_on_after(0.3):
                    while True:
                        await stream.send(bytes(size))
                        sent += 1
                os.kill(portal.pid, signal.SIGCONT)
            assert sent * size < MAX_PILED_UP_BYTES
            assert await ctx.result() == (sent, sent * size)


async def test_much_passes_through_a_stream_without_piling_up() -> None:
    items, size = 256, 256 * 1024
    async with open_worker(MODULE) as portal:
        before = memory_of(portal.pid)
        async with portal.open_context(remote.total) as (ctx, _):
            async with ctx.open_stream() as stream:
                for _ in range(items):
                    await stream.send(bytes(size))
            assert await ctx.result() == (items, items * size)
        assert memory_of(portal.pid) - before < 2 * MAX_PILED_UP_BYTES


async def test_both_sides_sending_a_lot_at_once_do_not_deadlock() -> None:
    items, size = 100, 128 * 1024
    received = 0
    async with open_worker(MODULE) as portal:
        with trio.fail_after(10):
            async with portal.open_context(remote.both_ways, items, size) as (ctx, _):
                async with ctx.open_stream() as stream, trio.open_nursery() as tasks:

                    async def send() -> None:
                        for _ in range(items):
                            await stream.send(bytes(size))

                    tasks.start_soon(send)
                    for _ in range(items):
                        received += len(await stream.receive())
                assert await ctx.result() == received == items * size


@pytest.mark.parametrize("size", [10, 200_000])
async def test_an_item_whose_send_was_cancelled_was_not_sent(size: int) -> None:
    sent = step = 0
    item = bytes(size)
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.total) as (ctx, _):
            async with ctx.open_stream() as stream:
                while sent < 100:
                    done = False
                    with CancelAtStep(step % 5):
                        await stream.send(item)
                        done = True
                    sent += done
                    step += 1
            assert await ctx.result() == (sent, sent * len(item))


# --- subscriptions ------------------------------------------------------------------------


async def test_several_subscribers_see_every_item() -> None:
    seen: dict[int, list[int]] = {}
    ready = trio.Event()

    async def read(stream: actorsys.MsgStream, key: int) -> None:
        async with stream.subscribe() as items:
            seen[key] = []
            if len(seen) == 3:
                ready.set()
            await ready.wait()
            async for item in items:
                seen[key].append(item)

    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.count, 500) as stream:
            async with trio.open_nursery() as tasks:
                for key in range(3):
                    tasks.start_soon(read, stream, key)
    assert seen == {key: list(range(500)) for key in range(3)}


async def test_the_slowest_subscriber_sets_the_pace() -> None:
    fast_count = 0

    async def read_fast(items: actorsys.Subscription) -> None:
        nonlocal fast_count
        async for _ in items:
            fast_count += 1

    async def wait_held_at(count: int) -> None:
        while fast_count < count:
            await portal.run(remote.add, 1, 1)
        for _ in range(20):  # long enough for another thousand items
            await portal.run(remote.add, 1, 1)
        assert fast_count == count

    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.count, 2000) as stream:
            async with stream.subscribe() as slow, stream.subscribe() as fast:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(read_fast, fast)
                    await wait_held_at(_SUBSCRIPTION_ITEMS)
                    for expected in range(50):
                        assert await slow.receive() == expected
                    await wait_held_at(_SUBSCRIPTION_ITEMS + 50)
                    await slow.aclose()
                assert fast_count == 2000


async def test_a_subscriber_that_is_cancelled_takes_nothing_from_the_others() -> None:
    seen: list[int] = []

    async def read(items: actorsys.Subscription) -> None:
        async for item in items:
            seen.append(item)

    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.count, 300) as stream:
            async with stream.subscribe() as steady, trio.open_nursery() as tasks:
                async with stream.subscribe() as nervous:
                    tasks.start_soon(read, steady)
                    got: list[int] = []
                    step = 0
                    while len(got) < 100:
                        with CancelAtStep(step % 6):
                            got.append(await nervous.receive())
                        step += 1
                    assert got == list(range(100))
    assert seen == list(range(300))


async def test_every_subscriber_is_told_of_an_error_and_of_the_end() -> None:
    told: list[str] = []

    async def read(items: actorsys.Subscription) -> None:
        try:
            async for _ in items:
                pass
            told.append("end")
        except ValueError as error:
            told.append(str(error))

    async with open_worker(MODULE) as portal:
        for generator, stop in ((remote.count, 3), (remote.fail_after, 3)):
            async with portal.open_stream_from(generator, stop) as stream:
                async with stream.subscribe() as one, stream.subscribe() as two:
                    with trio.fail_after(5):
                        async with trio.open_nursery() as tasks:
                            tasks.start_soon(read, one)
                            tasks.start_soon(read, two)
    assert told == ["end", "end", "no more", "no more"]


async def test_a_closed_subscription_says_so() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.count, 3) as stream:
            async with stream.subscribe() as items:
                assert await items.receive() == 0
            with pytest.raises(trio.ClosedResourceError):
                await items.receive()
            async with stream.subscribe() as items:
                assert [item async for item in items] == [1, 2]
