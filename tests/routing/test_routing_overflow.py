"""There is room for so many messages, and a rule for one that finds none."""

from __future__ import annotations

import pytest
import trio
from routing_helpers import (
    UPDATE,
    Channel,
    Receiver,
    ask,
    dispatch_all,
    is_balanced,
    later,
    reasons_of,
)
from trio.testing import wait_all_tasks_blocked

from actorsys import (
    ChannelClosed,
    MailboxFull,
    Overflow,
    Protocol,
    RoutedMessage,
    RouterDispatcher,
    RoutingLimits,
    open_dispatcher,
)
from actorsys.testing.steps import cancel_at_every_step

TWO = RoutingLimits(max_waiting_per_actor=2)


async def deliver(dispatcher: RouterDispatcher, *actors: object) -> list[object]:
    """Give *actors* a route; return the payloads that arrive."""
    receiver = Receiver()
    dispatcher.add_route("all", receiver)
    for actor in actors:
        dispatcher.assign(actor, "all")
    await wait_all_tasks_blocked()
    return receiver.payloads


async def test_a_sender_waits_for_room_and_keeps_its_place() -> None:
    async with open_dispatcher(limits=TWO) as dispatcher, trio.open_nursery() as tasks:
        await dispatch_all(dispatcher, "one", [1, 2])
        for n in (3, 4):
            tasks.start_soon(dispatcher.dispatch, ask("one", n))
            await wait_all_tasks_blocked()
        assert dispatcher.statistics().accepted == 2
        with pytest.raises(trio.WouldBlock):
            dispatcher.dispatch_nowait(ask("one", 5))
        assert await deliver(dispatcher, "one") == [1, 2, 3, 4]


async def test_a_sender_that_waits_delays_no_other_actor() -> None:
    async with open_dispatcher(limits=TWO) as dispatcher, trio.open_nursery() as tasks:
        await dispatch_all(dispatcher, "one", [1, 2])
        tasks.start_soon(dispatcher.dispatch, ask("one", 3))
        await dispatch_all(dispatcher, "two", [4])
        assert await deliver(dispatcher, "two", "one") == [4, 1, 2, 3]


async def test_a_sender_waits_for_room_in_the_whole() -> None:
    limits = RoutingLimits(max_pending=2)
    async with open_dispatcher(limits=limits) as dispatcher, trio.open_nursery() as tasks:
        await dispatch_all(dispatcher, "one", [1, 2])
        for actor in ("two", "three", "two"):
            tasks.start_soon(dispatcher.dispatch, ask(actor, actor))
            await wait_all_tasks_blocked()
        dispatcher.remove("one")
        await wait_all_tasks_blocked()
        assert dispatcher.statistics().depths == {"two": 1, "three": 1}
        assert sorted(map(str, await deliver(dispatcher, "two", "three"))) == [
            "three",
            "two",
            "two",
        ]


async def test_room_is_made_by_messages_that_expire() -> None:
    async with open_dispatcher(limits=TWO) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2])
        begin = trio.current_time()
        await dispatcher.dispatch(ask("one", 3))
        assert trio.current_time() - begin == pytest.approx(10)


async def test_a_cancelled_sender_has_sent_nothing() -> None:
    async with open_dispatcher(limits=TWO) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2])
        with trio.move_on_after(1):
            await dispatcher.dispatch(ask("one", 3))
        assert dispatcher.statistics().accepted == 2
        assert await deliver(dispatcher, "one") == [1, 2]


async def test_dispatch_cancelled_at_any_checkpoint_is_accepted_or_not_and_never_lost() -> None:
    receiver = Receiver()
    sent = 0

    async with open_dispatcher(limits=TWO) as dispatcher:

        async def operation() -> None:
            nonlocal sent
            dispatcher.unassign("one")
            for _ in range(3):
                sent += 1
                await dispatcher.dispatch(ask("one", sent))

        async def check() -> None:
            dispatcher.assign("one", "a")
            await wait_all_tasks_blocked()
            counts = dispatcher.statistics()
            assert counts.accepted == counts.delivered == len(receiver.payloads)
            assert receiver.payloads == sorted(set(receiver.payloads))

        async def make_room() -> None:
            while True:
                await wait_all_tasks_blocked()
                dispatcher.assign("one", "a")

        dispatcher.add_route("a", receiver)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(make_room)
            assert await cancel_at_every_step(operation, check) >= 1
            tasks.cancel_scope.cancel()


async def test_reject_tells_the_sender() -> None:
    async with open_dispatcher(limits=TWO, overflow=Overflow.REJECT) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2])
        with pytest.raises(MailboxFull, match="2 messages wait for it"):
            await dispatcher.dispatch(ask("one", 3))
        counts = dispatcher.statistics()
        assert (counts.accepted, counts.refused) == (2, 1)


async def test_drop_oldest_buries_the_oldest() -> None:
    async with open_dispatcher(limits=TWO, overflow=Overflow.DROP_OLDEST) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2, 3])
        assert reasons_of(dispatcher) == [(1, "overflow")]
        assert await deliver(dispatcher, "one") == [2, 3]


async def test_drop_oldest_never_drops_what_comes_before() -> None:
    async with open_dispatcher(
        limits=TWO, overflow=Overflow.DROP_OLDEST, control={Protocol.SHUTDOWN}
    ) as dispatcher:
        await dispatcher.dispatch(RoutedMessage("one", Protocol.SHUTDOWN, 1))
        await dispatch_all(dispatcher, "one", [2, 3])
        await dispatcher.dispatch(RoutedMessage("one", Protocol.SHUTDOWN, 4))
        await dispatch_all(dispatcher, "one", [5])
        assert reasons_of(dispatcher) == [(2, "overflow"), (3, "overflow"), (5, "overflow")]
        assert await deliver(dispatcher, "one") == [1, 4]


async def test_drop_oldest_of_a_full_dispatcher_drops_nothing_of_others() -> None:
    limits = RoutingLimits(max_pending=2)
    async with open_dispatcher(limits=limits, overflow=Overflow.DROP_OLDEST) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2])
        await dispatch_all(dispatcher, "two", [3])
        assert reasons_of(dispatcher) == [(3, "overflow")]


async def test_drop_new_buries_the_new_one() -> None:
    async with open_dispatcher(limits=TWO, overflow=Overflow.DROP_NEW) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2, 3])
        assert reasons_of(dispatcher) == [(3, "overflow")]
        assert await deliver(dispatcher, "one") == [1, 2]


async def test_coalescing_keeps_only_the_newest_model_update_and_counts_the_rest() -> None:
    async with open_dispatcher(overflow={UPDATE: Overflow.COALESCE}) as dispatcher:
        await dispatch_all(dispatcher, "one", ["first"])
        for n in range(1000):
            await dispatcher.dispatch(RoutedMessage("one", UPDATE, n))
        await dispatch_all(dispatcher, "one", ["last"])
        counts = dispatcher.statistics()
        assert (counts.coalesced, counts.dead_by_reason) == (999, {"overflow": 999})
        assert await deliver(dispatcher, "one") == ["first", 999, "last"]


async def test_coalescing_needs_no_room() -> None:
    rules = {UPDATE: Overflow.COALESCE}
    async with open_dispatcher(limits=TWO, overflow=rules) as dispatcher:
        await dispatcher.dispatch(RoutedMessage("one", UPDATE, 1))
        await dispatch_all(dispatcher, "one", [2])
        dispatcher.dispatch_nowait(RoutedMessage("one", UPDATE, 3))
        assert await deliver(dispatcher, "one") == [2, 3]


async def test_a_message_that_comes_back_is_coalesced_as_well() -> None:
    full = Channel()
    full.shut()
    rules = {UPDATE: Overflow.COALESCE, Protocol.MODEL_VERSION: Overflow.DROP_OLDEST}
    limits = RoutingLimits(max_waiting_per_actor=1)
    async with open_dispatcher(limits=limits, overflow=rules) as dispatcher:
        dispatcher.add_route("full", full)
        dispatcher.assign("one", "full")
        await dispatcher.dispatch(RoutedMessage("one", UPDATE, 1))
        await wait_all_tasks_blocked()
        await dispatcher.dispatch(RoutedMessage("one", UPDATE, 2))
        await dispatcher.dispatch(RoutedMessage("one", Protocol.MODEL_VERSION, 3))
        dispatcher.remove_route("full")
        await wait_all_tasks_blocked()
        dispatcher.dispatch_nowait(RoutedMessage("one", UPDATE, 4))
        assert reasons_of(dispatcher) == [(2, "overflow"), (1, "overflow")]
        assert await deliver(dispatcher, "one") == [3, 4]


async def test_a_message_that_failed_does_not_come_back_behind_a_newer_one() -> None:
    a = Receiver()
    a.shut()
    a.errors = [trio.BusyResourceError()]
    async with open_dispatcher(overflow=Overflow.COALESCE) as dispatcher:
        dispatcher.add_route("a", a)
        dispatcher.assign("one", "a")
        await dispatch_all(dispatcher, "one", [1])
        await dispatch_all(dispatcher, "one", [2])
        a.open()
        await later(1)
        counts = dispatcher.statistics()
        assert (a.payloads, counts.coalesced, counts.retries) == ([2], 1, 0)
        assert reasons_of(dispatcher) == [(1, "overflow")]


@pytest.mark.parametrize("first", ["old", "new"])
async def test_of_two_that_meet_in_a_rename_the_newer_one_stays(first: str) -> None:
    second = "new" if first == "old" else "old"
    async with open_dispatcher(overflow=Overflow.COALESCE) as dispatcher:
        for actor in (first, second):
            await dispatch_all(dispatcher, actor, [actor])
            await trio.sleep(1)
        dispatcher.rename("old", "new")
        assert reasons_of(dispatcher) == [(first, "overflow")]
        assert dispatcher.statistics().depths == {"new": 1}
        await dispatch_all(dispatcher, "new", ["last"])
        assert await deliver(dispatcher, "new") == ["last"]


async def test_a_message_alone_is_still_the_newest_after_a_rename() -> None:
    async with open_dispatcher(overflow=Overflow.COALESCE) as dispatcher:
        dispatcher.assign("old", "all")
        await dispatch_all(dispatcher, "new", [1])
        dispatcher.rename("old", "new")
        await dispatch_all(dispatcher, "new", [2])
        assert await deliver(dispatcher, "new") == [2]


async def test_what_was_in_flight_during_a_rename_gives_way_to_nothing_older() -> None:
    a = Receiver()
    a.shut()
    a.errors = [trio.BusyResourceError()]
    async with open_dispatcher(overflow=Overflow.COALESCE) as dispatcher:
        dispatcher.add_route("a", a)
        dispatcher.assign("old", "a")
        await dispatch_all(dispatcher, "new", ["older"])
        await trio.sleep(1)
        await dispatch_all(dispatcher, "old", ["newer"])
        dispatcher.rename("old", "new")
        a.open()
        await later(1)
        assert (a.payloads, reasons_of(dispatcher)) == (["newer"], [("older", "overflow")])


async def test_a_million_messages_to_nobody_stay_within_the_limits() -> None:
    limits = RoutingLimits(max_pending=500, max_waiting_per_actor=100, max_dead_letters=50)
    async with open_dispatcher(limits=limits, overflow=Overflow.DROP_OLDEST) as dispatcher:
        for n in range(20_000):  # what happens does not change with their number
            dispatcher.dispatch_nowait(ask(n % 50, n))
            assert dispatcher.statistics().pending <= 500 if n % 1000 == 0 else True
        counts = dispatcher.statistics()
        assert (counts.pending, len(dispatcher.dead_letters)) == (500, 50)
        assert counts.dropped_letters == counts.dead - 50
        assert is_balanced(dispatcher)


async def test_waiting_senders_are_told_of_the_end() -> None:
    errors: list[str] = []

    async def send(dispatcher: RouterDispatcher) -> None:
        try:
            await dispatcher.dispatch(ask("one", 3))
        except ChannelClosed as error:
            errors.append(str(error))

    async with open_dispatcher(limits=TWO) as dispatcher, trio.open_nursery() as tasks:
        await dispatch_all(dispatcher, "one", [1, 2])
        tasks.start_soon(send, dispatcher)
        await wait_all_tasks_blocked()
        await dispatcher.aclose()
    assert errors == ["this dispatcher was closed; the message was not accepted"]


async def test_messages_that_wait_for_room_die_with_their_actor() -> None:
    async with open_dispatcher(limits=TWO) as dispatcher, trio.open_nursery() as tasks:
        await dispatch_all(dispatcher, "one", [1, 2])
        tasks.start_soon(dispatcher.dispatch, ask("one", 3))
        await wait_all_tasks_blocked()
        assert dispatcher.remove("one") == 3
    assert is_balanced(dispatcher)


@pytest.mark.parametrize("options", [{"overflow": "block"}, {"overflow": {1: 2}}, {"control": [1]}])
async def test_options_that_are_none_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        async with open_dispatcher(**options):  # type: ignore[arg-type]
            pass
