"""Deadlines, what is tried again, and that nothing happens in between."""

from __future__ import annotations

import math

import pytest
import trio
from routing_helpers import (
    ASK,
    Channel,
    Receiver,
    ask,
    dispatch_all,
    later,
    letters_of,
    reasons_of,
)
from trio.testing import wait_all_tasks_blocked

from actorsys import (
    ActorUnavailable,
    DeadlineExceeded,
    MailboxFull,
    Protocol,
    RetryDelay,
    RoutedMessage,
    RouterDispatcher,
    RoutingLimits,
    open_dispatcher,
)
from actorsys.routing.accepted import Accepted
from actorsys.routing.actor_queue import ActorQueue
from actorsys.routing.deadlines import Deadlines

SECONDS = dict(zip(Protocol, [10, 15, 20, 30, 30, 60, 60], strict=True))


@pytest.mark.parametrize("kind", Protocol, ids=lambda kind: kind.name)
async def test_a_millisecond_before_its_deadline_a_message_is_delivered(
    dispatcher: RouterDispatcher, kind: Protocol
) -> None:
    a = Receiver()
    await dispatcher.dispatch(RoutedMessage("one", kind, 1))
    await later(SECONDS[kind] - 0.001)
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await wait_all_tasks_blocked()
    assert a.payloads == [1]


@pytest.mark.parametrize("kind", Protocol, ids=lambda kind: kind.name)
async def test_at_its_deadline_a_message_is_dead(
    dispatcher: RouterDispatcher, kind: Protocol
) -> None:
    await dispatcher.dispatch(RoutedMessage("one", kind, 1))
    begin = trio.current_time()
    letter = await dispatcher.dead_letters.receive()
    assert trio.current_time() - begin == pytest.approx(SECONDS[kind])
    assert (letter.reason, letter.attempts) == ("expired", 0)
    assert letter.age == pytest.approx(SECONDS[kind])


async def test_a_message_has_a_deadline_of_its_own(dispatcher: RouterDispatcher) -> None:
    for payload, deadline in enumerate([3.0, 1.0, math.inf, 0.0, 2]):
        await dispatcher.dispatch(ask("one", payload, deadline=deadline))
    await later(11)
    assert [payload for payload, _ in reasons_of(dispatcher)] == [3, 1, 4, 0]
    assert dispatcher.remove("one") == 1


async def test_deadlines_are_set_by_kind() -> None:
    async with open_dispatcher(deadlines={ASK: 0.5}) as dispatcher:
        await dispatcher.dispatch(ask("one", 1))
        await dispatcher.dispatch(RoutedMessage("one", Protocol.MODEL_VERSION, 2))
        await later(0.5)
        assert reasons_of(dispatcher) == [(1, "expired")]


@pytest.mark.parametrize("deadline", [-1, math.nan])
async def test_a_deadline_that_is_none_is_refused(
    dispatcher: RouterDispatcher, deadline: float
) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        await dispatcher.dispatch(ask("one", deadline=deadline))


async def test_the_deadline_counts_from_acceptance_not_from_reassignment(
    dispatcher: RouterDispatcher,
) -> None:
    a = Channel()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    await later(6)
    dispatcher.remove_route("a")
    dispatcher.unassign("one")
    await later(4)
    assert reasons_of(dispatcher) == [(1, "expired"), (2, "expired")]


async def test_a_message_with_no_time_at_all_is_never_sent(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    for n in range(100):
        await dispatcher.dispatch(ask("one", n, deadline=0))
        await wait_all_tasks_blocked()
    assert a.payloads == []
    assert [(letter.reason, letter.attempts) for letter in letters_of(dispatcher)] == [
        ("expired", 0)
    ] * 100


@pytest.mark.parametrize(("kind", "may_have"), [(Receiver, True), (Channel, False)])
async def test_a_send_under_way_is_cancelled_at_the_deadline(
    dispatcher: RouterDispatcher, kind: type[Receiver], may_have: bool
) -> None:
    a = kind()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    await dispatch_all(dispatcher, "one", [1])
    await later(5)
    await dispatch_all(dispatcher, "two", [2])
    await later(5)
    (letter,) = letters_of(dispatcher)
    assert (letter.message.payload, letter.reason, letter.attempts) == (1, "expired", 1)
    assert letter.may_have_been_delivered is may_have
    a.open()
    await wait_all_tasks_blocked()
    assert a.payloads == [2]


# --- requests -------------------------------------------------------------------------------


async def test_a_request_returns_what_its_route_has_returned(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    dispatcher.assign("one", "a")
    assert await dispatcher.request(ask("one", 1)) == "answer to 1"


async def test_a_request_that_expires_raises_deadline_exceeded(
    dispatcher: RouterDispatcher,
) -> None:
    with pytest.raises(DeadlineExceeded, match="REQUEST_INFERENCE for actor 'one'") as info:
        await dispatcher.request(ask("one"))
    assert isinstance(info.value, (TimeoutError, trio.TooSlowError))
    assert info.value.letter.reason == "expired"
    assert reasons_of(dispatcher) == [(None, "expired")]


async def test_a_request_that_is_refused_raises_with_its_cause(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    a.errors = [ValueError("no such layer")]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    with pytest.raises(Exception, match="rejected") as info:
        await dispatcher.request(ask("one"))
    assert str(info.value.__cause__) == "no such layer"


async def test_a_request_that_was_given_up_is_delivered_all_the_same(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    with trio.move_on_after(1):
        await dispatcher.request(ask("one", 1))
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await wait_all_tasks_blocked()
    assert a.payloads == [1]


# --- trying again ---------------------------------------------------------------------------

TRANSIENT = [
    ActorUnavailable("restarting", may_have_run=False),
    trio.BusyResourceError(),
    trio.WouldBlock(),
    MailboxFull("full"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
async def test_gaps_between_attempts_double_up_to_800_ms(
    dispatcher: RouterDispatcher, error: Exception
) -> None:
    a = Receiver()
    a.errors = [error] * 6
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    await later(5)
    gaps = [after - before for before, after in zip(a.times, a.times[1:], strict=False)]
    assert gaps == pytest.approx([0.1, 0.2, 0.4, 0.8, 0.8, 0.8])
    assert a.payloads == [1]
    assert dispatcher.statistics().retries == 6


async def test_delays_start_anew_after_a_success(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    a.errors = [trio.BusyResourceError(), trio.BusyResourceError()]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    await later(1)
    a.errors = [trio.BusyResourceError()]
    await dispatch_all(dispatcher, "one", [2])
    await later(0.1)
    assert a.payloads == [1, 2]


def test_jitter_leaves_out_a_share() -> None:
    delay = RetryDelay(jitter=0.5, chance=lambda: 0.5)
    assert [delay(n) for n in (0, 3, 100)] == pytest.approx([0.075, 0.6, 0.6])


async def test_an_actor_that_is_tried_again_delays_no_other(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    a.errors = [trio.BusyResourceError()]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    await dispatch_all(dispatcher, "two", [3])
    assert a.payloads == [3]
    await later(0.1)
    assert a.payloads == [3, 1, 2]


async def test_reassignment_ends_the_wait_at_once(dispatcher: RouterDispatcher) -> None:
    a, b = Receiver(), Receiver()
    a.errors = [trio.BusyResourceError()]
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    dispatcher.assign("one", "b")
    await wait_all_tasks_blocked()
    assert b.payloads == [1]


async def test_which_errors_are_transient_can_be_told() -> None:
    a = Receiver()
    a.errors = [OSError("later")]
    async with open_dispatcher(
        is_transient=lambda error: isinstance(error, OSError), retry_delay=lambda _: 7.0
    ) as dispatcher:
        dispatcher.add_route("a", a)
        dispatcher.assign("one", "a")
        await dispatch_all(dispatcher, "one", [1])
        await later(7)
        assert a.payloads == [1]


async def test_a_message_expires_between_attempts(dispatcher: RouterDispatcher) -> None:
    a = Receiver()
    a.errors = [trio.BusyResourceError() for _ in range(100)]
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    await later(10)
    (letter,) = letters_of(dispatcher)
    assert (letter.reason, letter.attempts, letter.age) == ("expired", 15, pytest.approx(10))


# --- no polling -----------------------------------------------------------------------------


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_parked_messages_wake_nobody_for_ten_minutes(dispatcher: RouterDispatcher) -> None:
    for n in range(1000):
        dispatcher.dispatch_nowait(ask(n % 10, n, deadline=601))
    dispatcher.add_route("a", Receiver())
    await wait_all_tasks_blocked()
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    await trio.sleep(600)
    trio.lowlevel.remove_instrument(steps)
    assert steps.count == 1  # this task


def test_settled_messages_are_swept_out() -> None:
    deadlines = Deadlines(RoutingLimits())
    parked = Accepted(ask("one"), ActorQueue("one"), 0, 10, False, None)
    deadlines.add(parked)
    for own in (None, 5.0):
        for _ in range(10_000):
            item = Accepted(ask("one", deadline=own), ActorQueue("one"), 0, 10, False, None)
            deadlines.add(item)
            item.settle()
    assert "next at 10" in repr(deadlines)
    held = sum(map(len, deadlines._by_kind.values())) + len(deadlines._own)
    assert held == deadlines._held < 1100
    assert list(deadlines.due(10)) == [parked]
    assert deadlines.next_at() == math.inf
