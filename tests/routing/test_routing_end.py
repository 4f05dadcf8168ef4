"""The end of a dispatcher: within its grace, with every message accounted for, leaving no task."""

from __future__ import annotations

import pytest
import trio
from routing_helpers import (
    Channel,
    Receiver,
    ask,
    dispatch_all,
    is_balanced,
    later,
    letters_of,
    reasons_of,
)
from trio.testing import wait_all_tasks_blocked

from actorsys import ChannelClosed, RouterDispatcher, RoutingStatistics, open_dispatcher


def assert_all_accounted_for(counts: RoutingStatistics) -> None:
    assert counts.pending == 0
    assert counts.accepted == counts.delivered + counts.dead


@pytest.mark.parametrize("kind", [Receiver, Channel])
async def test_closing_with_a_full_route_ends_within_the_grace(
    dispatcher: RouterDispatcher, kind: type[Receiver]
) -> None:
    full, free = kind(), Receiver()
    full.shut()
    dispatcher.add_route("full", full)
    dispatcher.add_route("free", free)
    dispatcher.assign("one", "full")
    dispatcher.assign("two", "free")
    for n in range(10):
        await dispatcher.dispatch(ask(("one", "two")[n % 2], n))
    begin = trio.current_time()
    counts = await dispatcher.aclose(grace=1)
    assert trio.current_time() - begin == pytest.approx(1)
    assert_all_accounted_for(counts)
    assert counts.dead_by_reason == {"shutdown": 5}
    assert free.payloads == [1, 3, 5, 7, 9]
    assert [payload for payload, _ in reasons_of(dispatcher)] == [0, 2, 4, 6, 8]


async def test_closing_waits_for_a_slow_route(dispatcher: RouterDispatcher) -> None:
    times: list[float] = []

    async def send(_: object) -> None:
        await trio.sleep(0.5)
        times.append(trio.current_time())

    dispatcher.add_route("a", send)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", range(5))
    counts = await dispatcher.aclose()
    assert (counts.delivered, counts.dead) == (5, 0)
    assert trio.current_time() == times[-1]


async def test_closing_does_not_wait_for_what_has_no_route(dispatcher: RouterDispatcher) -> None:
    await dispatch_all(dispatcher, "one", [1, 2])
    begin = trio.current_time()
    counts = await dispatcher.aclose(grace=100)
    assert trio.current_time() == begin
    assert counts.dead_by_reason == {"shutdown": 2}


async def test_closing_tries_again_what_has_failed(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    a.errors = [trio.BusyResourceError()] * 3
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    assert (await dispatcher.aclose()).delivered == 1


async def test_a_send_that_does_not_heed_its_cancellation_is_given_up() -> None:
    done = trio.Event()

    async def send(_: object) -> None:
        with trio.CancelScope(shield=True):
            await done.wait()

    async with open_dispatcher() as dispatcher:
        dispatcher.add_route("a", send)
        dispatcher.assign("one", "a")
        await dispatch_all(dispatcher, "one", [1, 2])
        begin = trio.current_time()
        counts = await dispatcher.aclose(grace=1)
        assert trio.current_time() - begin == pytest.approx(1.4)
        assert_all_accounted_for(counts)
        letters = letters_of(dispatcher)
        assert [letter.may_have_been_delivered for letter in letters] == [True, False]
        done.set()
    assert dispatcher.statistics() == counts


async def test_a_closed_dispatcher_accepts_nothing(dispatcher: RouterDispatcher) -> None:
    await dispatcher.aclose()
    with pytest.raises(ChannelClosed, match="accepts no more messages"):
        await dispatcher.dispatch(ask("one"))
    with pytest.raises(ChannelClosed, match="open another"):
        dispatcher.add_route("a", Receiver())
    with pytest.raises(ChannelClosed, match="open another"):
        dispatcher.assign("one", "a")
    assert await dispatcher.aclose() == dispatcher.statistics()


async def test_leaving_the_block_closes_as_aclose_does() -> None:
    a = Receiver()
    async with open_dispatcher() as dispatcher:
        dispatcher.add_route("a", a)
        dispatcher.assign("one", "a")
        for n in range(1000):
            dispatcher.dispatch_nowait(ask("one", n))
        dispatcher.dispatch_nowait(ask("two", "parked"))
    assert a.payloads == list(range(1000))
    assert reasons_of(dispatcher) == [("parked", "shutdown")]


@pytest.mark.parametrize("kind", [Receiver, Channel])
async def test_cancelling_the_block_leaves_no_task_and_loses_no_message(
    kind: type[Receiver],
) -> None:
    a = kind()
    a.shut()
    nurseries = trio.lowlevel.current_task().child_nurseries
    before = len(nurseries)
    with trio.CancelScope() as scope:
        async with open_dispatcher() as dispatcher:
            dispatcher.add_route("a", a)
            dispatcher.assign("one", "a")
            await dispatch_all(dispatcher, "one", [1, 2])
            scope.cancel()
            await trio.sleep_forever()
    assert len(nurseries) == before
    assert_all_accounted_for(dispatcher.statistics())
    letters = {letter.message.payload: letter for letter in letters_of(dispatcher)}
    assert {letter.reason for letter in letters.values()} == {"shutdown"}
    assert letters[1].may_have_been_delivered is (kind is Receiver)


async def test_an_aclose_that_is_cancelled_ends_the_grace() -> None:
    a = Receiver()
    a.shut()
    async with open_dispatcher() as dispatcher:
        dispatcher.add_route("a", a)
        dispatcher.assign("one", "a")
        await dispatch_all(dispatcher, "one", [1, 2])
        with trio.move_on_after(1):
            await dispatcher.aclose(grace=100)
    assert_all_accounted_for(dispatcher.statistics())


async def test_an_error_of_the_body_leaves_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_dispatcher() as dispatcher:
            await dispatcher.dispatch(ask("one"))
            raise KeyError("mine")
    assert_all_accounted_for(dispatcher.statistics())


async def test_an_error_in_a_pump_surfaces_with_the_name_of_its_route() -> None:
    def broken_rule(error: Exception) -> bool:
        raise ZeroDivisionError

    a = Receiver()
    a.errors = [ValueError()]
    with pytest.raises(ExceptionGroup) as info:
        async with open_dispatcher(is_transient=broken_rule) as dispatcher:
            dispatcher.add_route("to the moon", a)
            dispatcher.assign("one", "to the moon")
            await dispatcher.dispatch(ask("one"))
            await trio.sleep_forever()
    (error,) = info.value.exceptions
    assert isinstance(error, ZeroDivisionError)
    assert error.__notes__ == ["in the pump of route 'to the moon'"]
    assert_all_accounted_for(dispatcher.statistics())


# --- dead letters ---------------------------------------------------------------------------


async def test_each_dead_letter_comes_once_with_what_happened(
    dispatcher: RouterDispatcher,
) -> None:
    for n in range(3):
        await dispatcher.dispatch(ask("one", n, deadline=n + 1))
    seen = []
    async with trio.open_nursery() as tasks:

        async def read() -> None:
            async for letter in dispatcher.dead_letters:
                seen.append((letter.message.payload, round(letter.age), str(letter.reason)))

        for _ in range(2):
            tasks.start_soon(read)
        await later(3)
        await dispatcher.aclose()
    assert seen == [(0, 1, "expired"), (1, 2, "expired"), (2, 3, "expired")]


async def test_dead_letters_are_readable_after_the_end() -> None:
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(ask("one", 1))
    assert [letter.message.payload async for letter in dispatcher.dead_letters] == [1]
    with pytest.raises(trio.EndOfChannel):
        await dispatcher.dead_letters.receive()


async def test_a_reader_that_reads_nothing_delays_nobody(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    a.errors = [ValueError() for _ in range(20_000)]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    for n in range(20_001):
        await dispatcher.dispatch(ask("one", n))
    await wait_all_tasks_blocked()
    assert a.payloads == [20_000]
    assert len(dispatcher.dead_letters) == dispatcher.dead_letters.dropped == 10_000


async def test_a_cancelled_reader_loses_no_letter(dispatcher: RouterDispatcher) -> None:
    with trio.move_on_after(1):
        await dispatcher.dead_letters.receive()
    await dispatcher.dispatch(ask("one", 1, deadline=0))
    assert (await dispatcher.dead_letters.receive()).message.payload == 1


async def test_letters_after_their_stream_was_closed_are_counted(
    dispatcher: RouterDispatcher,
) -> None:
    await dispatcher.dead_letters.aclose()
    await dispatcher.dispatch(ask("one", 1, deadline=0))
    await wait_all_tasks_blocked()
    assert dispatcher.statistics().dropped_letters == 1
    with pytest.raises(ChannelClosed):
        await dispatcher.dead_letters.receive()


# --- counts ---------------------------------------------------------------------------------


async def test_statistics_tell_what_has_happened(dispatcher: RouterDispatcher) -> None:
    full, poisoned = Receiver(), Receiver()
    full.shut()
    poisoned.errors = [ValueError(), trio.BusyResourceError()]
    dispatcher.add_route("full", full)
    dispatcher.add_route("poisoned", poisoned)
    dispatcher.assign("one", "full")
    dispatcher.assign("two", "poisoned")
    await dispatch_all(dispatcher, "one", [1, 2, 3])
    await later(2)
    await dispatch_all(dispatcher, "two", [4, 5, 6])
    await later(0.1)
    await dispatch_all(dispatcher, "three", [7])
    counts = dispatcher.statistics()
    assert (counts.accepted, counts.delivered, counts.pending) == (7, 2, 4)
    assert (counts.waiting, counts.in_flight) == (3, 1)
    assert counts.depths == {"one": 3, "three": 1}
    assert counts.dead_by_reason == {"rejected": 1}
    assert (counts.retries, counts.refused, counts.coalesced) == (1, 0, 0)
    assert counts.oldest_age == pytest.approx(2.1)
    assert (counts.latency.mean, counts.worst_latency) == pytest.approx((0.1, 0.1))
    assert is_balanced(dispatcher)
    full.open()


async def test_the_oldest_is_found_wherever_a_rename_has_put_it(
    dispatcher: RouterDispatcher,
) -> None:
    await dispatch_all(dispatcher, "new", [1])
    await later(4)
    await dispatch_all(dispatcher, "old", [2])
    dispatcher.rename("old", "new")
    assert dispatcher.statistics().oldest_age == pytest.approx(4)


async def test_what_waits_is_counted_where_it_waits(dispatcher: RouterDispatcher) -> None:
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher._desk._table.queues["one"].pop()
    counts = dispatcher.statistics()
    assert (counts.waiting, is_balanced(dispatcher)) == (1, False)
    dispatcher._ledger.accepted -= 1
    dispatcher._ledger.pending -= 1
