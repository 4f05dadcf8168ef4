"""Messages reach their actors, in order, whatever happens to routes and assignments."""

from __future__ import annotations

import time

import pytest
import trio
from routing_helpers import Channel, Receiver, ask, dispatch_all, later, letters_of, reasons_of
from trio.testing import wait_all_tasks_blocked

from actorsys import (
    ActorDied,
    ChannelBroken,
    EncodeError,
    NotRouted,
    Protocol,
    RoutedMessage,
    RouterDispatcher,
    open_dispatcher,
)


async def test_message_goes_over_the_route_of_its_actor(dispatcher: RouterDispatcher) -> None:
    a, b = Receiver(), Receiver()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "b")
    await dispatch_all(dispatcher, "one", [1])
    await dispatch_all(dispatcher, "two", [2])
    assert (a.payloads, b.payloads) == ([1], [2])


async def test_order_of_acceptance_is_kept_from_waiting_to_assigned(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    dispatcher.add_route("a", a)
    await dispatcher.dispatch(ask("one", 1))
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [2, 3, 4])
    assert a.payloads == [1, 2, 3, 4]


async def test_all_kinds_keep_one_order_unless_told_otherwise(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    for n, kind in enumerate([*Protocol, *reversed(Protocol)]):
        await dispatcher.dispatch(RoutedMessage("one", kind, n))
    dispatcher.assign("one", "a")
    dispatcher.add_route("a", a)
    await wait_all_tasks_blocked()
    assert a.payloads == list(range(2 * len(Protocol)))


async def test_control_kinds_go_first_in_order_among_themselves() -> None:
    a = Receiver()
    async with open_dispatcher(control={Protocol.SHUTDOWN, Protocol.MODEL_UPDATE}) as dispatcher:
        await dispatch_all(dispatcher, "one", [1, 2])
        await dispatcher.dispatch(RoutedMessage("one", Protocol.SHUTDOWN, 3))
        await dispatcher.dispatch(RoutedMessage("one", Protocol.MODEL_UPDATE, 4))
        dispatcher.assign("one", "a")
        dispatcher.add_route("a", a)
        await wait_all_tasks_blocked()
    assert a.payloads == [3, 4, 1, 2]


async def test_all_messages_for_an_unassigned_actor_are_kept(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    dispatcher.add_route("a", a)
    await dispatch_all(dispatcher, "one", range(5))
    dispatcher.assign("one", "a")
    await wait_all_tasks_blocked()
    assert a.payloads == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("waited", [0.03, 0.15, 0.5, 1.25, 9.0])
async def test_assignment_delivers_at_once_however_long_it_took(
    dispatcher: RouterDispatcher, waited: float
) -> None:
    a = Receiver()
    dispatcher.add_route("a", a)
    await dispatcher.dispatch(ask("one", 1))
    await later(waited)
    before = trio.current_time()
    dispatcher.assign("one", "a")
    await wait_all_tasks_blocked()
    assert a.times == [before]


async def test_a_channel_is_a_route(dispatcher: RouterDispatcher) -> None:
    sender, receiver = trio.open_memory_channel[RoutedMessage](1)
    dispatcher.add_route("a", sender)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2, 3])
    assert [(await receiver.receive()).payload for _ in range(3)] == [1, 2, 3]


async def test_what_cannot_send_is_no_route(dispatcher: RouterDispatcher) -> None:
    with pytest.raises(TypeError, match="async function"):
        dispatcher.add_route("a", object())


async def test_a_route_can_be_added_after_its_actors_were_assigned(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher.add_route("a", a)
    await dispatch_all(dispatcher, "one", [3])
    assert a.payloads == [1, 2, 3]


async def test_an_open_route_is_not_replaced(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    with pytest.raises(ValueError, match="remove it first"):
        dispatcher.add_route("a", Receiver())


async def test_unassigned_actor_keeps_its_messages(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    dispatcher.unassign("one")
    await dispatch_all(dispatcher, "one", [1])
    assert a.payloads == []
    dispatcher.assign("one", "a")
    await wait_all_tasks_blocked()
    assert a.payloads == [1]


# --- routes that fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        trio.ClosedResourceError(),
        trio.BrokenResourceError(),
        ChannelBroken("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_messages_of_a_closed_route_are_delivered_after_reassignment(
    dispatcher: RouterDispatcher, error: Exception
) -> None:
    a, b = Receiver(), Receiver()
    a.errors = [error]
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2, 3])
    await later(9)
    dispatcher.assign("one", "b")
    await dispatch_all(dispatcher, "one", [4])
    assert (a.payloads, b.payloads) == ([], [1, 2, 3, 4])


async def test_messages_of_a_closed_route_are_dead_as_route_closed(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    a.errors = [trio.BrokenResourceError()]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    await later(10)
    assert reasons_of(dispatcher) == [(1, "route_closed"), (2, "route_closed")]


async def test_messages_of_a_missing_route_are_dead_as_route_closed(
    dispatcher: RouterDispatcher,
) -> None:
    dispatcher.assign("one", "nowhere")
    await dispatch_all(dispatcher, "one", [1])
    await later(10)
    assert reasons_of(dispatcher) == [(1, "route_closed")]


async def test_a_closed_route_can_be_added_again(dispatcher: RouterDispatcher) -> None:
    a, again = Receiver(), Receiver()
    a.errors = [trio.BrokenResourceError()]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher.add_route("a", again)
    await wait_all_tasks_blocked()
    assert again.payloads == [1, 2]


async def test_a_message_that_may_have_arrived_is_not_sent_twice(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Receiver(), Receiver()
    a.errors = [ActorDied("killed while it ran"), trio.BrokenResourceError()]
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher.assign("one", "b")
    await wait_all_tasks_blocked()
    assert b.payloads == [2]
    (letter,) = letters_of(dispatcher)
    assert (letter.reason, letter.may_have_been_delivered) == ("route_closed", True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("poison"), "rejected"),
        (ExceptionGroup("many", [ValueError()]), "rejected"),
        (EncodeError("a lock cannot travel"), "encode_error"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_poisoned_message_does_not_stop_its_route(
    dispatcher: RouterDispatcher, error: Exception, reason: str
) -> None:
    a = Receiver()
    a.errors = [error]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    await dispatch_all(dispatcher, "one", ["poison", 1])
    await dispatch_all(dispatcher, "two", [2])
    assert a.payloads == [1, 2]
    (letter,) = letters_of(dispatcher)
    assert (letter.message.payload, letter.reason, letter.attempts) == ("poison", reason, 1)
    assert letter.error is error
    assert letter.error.__traceback__ is None


async def test_shutdown_of_one_actor_does_not_stop_its_route(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    await dispatcher.dispatch(RoutedMessage("one", Protocol.SHUTDOWN))
    await dispatch_all(dispatcher, "two", [1, 2])
    assert a.of("two") == [1, 2]


async def test_a_removed_route_leaves_its_messages_to_the_next(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Channel(), Receiver()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher.remove_route("a")
    dispatcher.assign("one", "b")
    dispatcher.add_route("b", b)
    await wait_all_tasks_blocked()
    assert (a.payloads, b.payloads) == ([], [1, 2])


async def test_a_removed_route_still_finishes_a_send_that_cannot_be_taken_back(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Receiver(), Receiver()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher.remove_route("a")
    dispatcher.assign("one", "b")
    await wait_all_tasks_blocked()
    assert b.payloads == []
    a.open()
    await wait_all_tasks_blocked()
    assert (a.payloads, b.payloads) == ([1], [2])


async def test_only_a_route_that_is_there_is_removed(dispatcher: RouterDispatcher) -> None:
    with pytest.raises(NotRouted, match="no route 'a'"):
        dispatcher.remove_route("a")


# --- others are not delayed -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [Receiver, Channel])
async def test_a_full_route_delays_only_its_own_actors(
    dispatcher: RouterDispatcher, kind: type[Receiver]
) -> None:
    full, free = kind(), Receiver()
    full.shut()
    dispatcher.add_route("full", full)
    dispatcher.add_route("free", free)
    dispatcher.assign("one", "full")
    dispatcher.assign("two", "free")
    begin = trio.current_time()
    await dispatch_all(dispatcher, "one", range(100))
    await dispatch_all(dispatcher, "two", [1, 2])
    assert free.payloads == [1, 2]
    assert trio.current_time() == begin
    full.open()


async def test_an_actor_with_many_messages_delays_another_by_one(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    dispatcher.assign("many", "a")
    dispatcher.assign("one", "a")
    for n in range(10_000):
        dispatcher.dispatch_nowait(ask("many", n))
    dispatcher.dispatch_nowait(ask("one", "mine"))
    dispatcher.add_route("a", a)
    await wait_all_tasks_blocked()
    assert a.payloads.index("mine") <= 1
    assert a.of("many") == list(range(10_000))


def test_more_than_50_000_messages_a_second_of_one_core() -> None:
    """The time is that of this process alone, so that a busy machine does not count."""

    async def route(count: int) -> float:
        receiver = Receiver()

        async def send(message: RoutedMessage) -> None:
            receiver.messages.append(message)

        async with open_dispatcher() as dispatcher:
            for n in range(4):
                dispatcher.add_route(str(n), send)
            for n in range(100):
                dispatcher.assign(n, str(n % 4))
            begin = time.process_time()
            for n in range(count):
                await dispatcher.dispatch(ask(n % 100, n))
            await dispatcher.aclose()
            assert len(receiver.messages) == count
            return count / (time.process_time() - begin)

    assert max(trio.run(route, 10_000) for _ in range(3)) > 50_000


# --- actors ---------------------------------------------------------------------------------


async def test_rename_moves_queue_and_route(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.assign("old", "a")
    await dispatch_all(dispatcher, "old", [1, 2])
    dispatcher.rename("old", "new")
    await dispatch_all(dispatcher, "new", [3])
    a.open()
    await wait_all_tasks_blocked()
    assert [(m.actor_id, m.payload) for m in a.messages] == [("old", 1), ("new", 2), ("new", 3)]
    assert dispatcher.routes == {"a": ["new"]}


async def test_messages_for_the_new_name_that_came_early_follow(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    dispatcher.assign("old", "a")
    await dispatch_all(dispatcher, "new", [3])
    await dispatch_all(dispatcher, "old", [1, 2])
    dispatcher.rename("old", "new")
    dispatcher.add_route("a", a)
    await wait_all_tasks_blocked()
    assert a.of("new") == [1, 2, 3]


async def test_an_actor_is_not_renamed_onto_another(dispatcher: RouterDispatcher) -> None:
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    with pytest.raises(ValueError, match="actor 'two' already"):
        dispatcher.rename("one", "two")
    with pytest.raises(NotRouted, match="no actor 'three'"):
        dispatcher.rename("three", "four")


async def test_removed_actor_leaves_dead_letters_at_once(dispatcher: RouterDispatcher) -> None:
    await dispatch_all(dispatcher, "one", [1, 2])
    assert dispatcher.remove("one") == 2
    assert reasons_of(dispatcher) == [(1, "actor_removed"), (2, "actor_removed")]
    assert dispatcher.remove("one") == 0


@pytest.mark.parametrize(("kind", "may_have"), [(Receiver, True), (Channel, False)])
async def test_removal_cancels_the_send_under_way(
    dispatcher: RouterDispatcher, kind: type[Receiver], may_have: bool
) -> None:
    a = kind()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    await dispatch_all(dispatcher, "one", [1])
    assert dispatcher.remove("one") == 1
    await wait_all_tasks_blocked()
    a.open()
    await dispatch_all(dispatcher, "two", [2])
    assert a.payloads == [2]
    (letter,) = letters_of(dispatcher)
    assert (letter.reason, letter.may_have_been_delivered) == ("actor_removed", may_have)


async def test_removing_actor_and_route_in_one_go_loses_nothing(
    dispatcher: RouterDispatcher,
) -> None:
    a = Channel()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    dispatcher.remove("one")
    dispatcher.remove_route("a")
    await wait_all_tasks_blocked()
    assert reasons_of(dispatcher) == [(1, "actor_removed")]


async def test_a_send_that_was_called_off_too_late_harms_not_the_next_one(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()

    async def send(message: RoutedMessage) -> None:
        if message.payload == "remove me":
            dispatcher.remove(message.actor_id)
        else:
            await a(message)

    dispatcher.dispatch_nowait(ask("one", "remove me"))
    dispatcher.dispatch_nowait(ask("two", 2))
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    dispatcher.add_route("a", send)
    await wait_all_tasks_blocked()
    assert a.payloads == [2]
    assert dispatcher.statistics().delivered == 2


async def test_nothing_is_kept_about_actors_that_are_gone(dispatcher: RouterDispatcher) -> None:
    for n in range(100):
        await dispatcher.dispatch(ask(n))
    await later(10)
    assert "<RouteTable: 0 actors," in repr(dispatcher)


# --- assignments while something is in flight -----------------------------------------------


async def test_reassigned_actor_waits_for_what_is_in_flight(dispatcher: RouterDispatcher) -> None:
    a, b = Receiver(), Receiver()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    dispatcher.assign("one", "b")
    await wait_all_tasks_blocked()
    assert b.payloads == []
    a.open()
    await wait_all_tasks_blocked()
    assert (a.payloads, b.payloads) == ([1], [2])
