"""What a failure of a route means: for its message, for the route, and for who looks at them."""

from __future__ import annotations

import logging
import math
from typing import Any

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

from actorsys import (
    ActorDied,
    ActorUnavailable,
    DeadlineExceeded,
    MailboxFull,
    RemoteActorError,
    RoutedMessage,
    RouterDispatcher,
    open_dispatcher,
)


def with_route(dispatcher: RouterDispatcher, receiver: Any, *errors: Exception) -> None:
    """Give actor "one" the route "a", which raises *errors* first."""
    receiver.errors = list(errors)
    dispatcher.add_route("a", receiver)
    dispatcher.assign("one", "a")


# --- a closed route is seen -----------------------------------------------------------------


async def test_a_route_that_an_error_has_closed_is_shown_with_its_error(
    dispatcher: RouterDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    error = trio.BrokenResourceError("the far side is gone")
    with_route(dispatcher, Receiver(), error)
    assert dispatcher.statistics().closed_routes == {}
    await dispatch_all(dispatcher, "one", [1])
    assert dispatcher.statistics().closed_routes == {"a": error}
    assert "closed: 'a'" in repr(dispatcher)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("actorsys.routing", logging.WARNING)
    assert "'a'" in record.getMessage()
    assert "BrokenResourceError('the far side is gone')" in record.getMessage()


async def test_a_route_that_was_added_again_or_removed_is_not_shown_as_closed(
    dispatcher: RouterDispatcher,
) -> None:
    with_route(dispatcher, Receiver(), trio.BrokenResourceError())
    await dispatch_all(dispatcher, "one", [1])
    dispatcher.add_route("a", Receiver())
    assert dispatcher.statistics().closed_routes == {}
    dispatcher.remove_route("a")
    assert dispatcher.statistics().closed_routes == {}
    assert "closed" not in repr(dispatcher)


# --- an actor at the end of a function may come back ----------------------------------------


@pytest.mark.parametrize("kind", [ActorDied, ActorUnavailable])
async def test_a_function_whose_actor_died_keeps_its_route_for_the_next_message(
    dispatcher: RouterDispatcher, kind: type[ActorUnavailable]
) -> None:
    a = Receiver()
    with_route(dispatcher, a, kind("killed while it ran", may_have_run=True))
    await dispatch_all(dispatcher, "one", [1, 2])
    assert a.payloads == [2]
    (letter,) = letters_of(dispatcher)
    assert (letter.reason, letter.may_have_been_delivered) == ("route_closed", True)
    assert dispatcher.statistics().closed_routes == {}


@pytest.mark.parametrize("kind", [ActorDied, ActorUnavailable])
async def test_a_message_that_has_not_reached_its_actor_is_tried_again(
    dispatcher: RouterDispatcher, kind: type[ActorUnavailable]
) -> None:
    a = Receiver()
    with_route(dispatcher, a, kind("not yet there", may_have_run=False))
    await dispatch_all(dispatcher, "one", [1, 2])
    await later(0.1)
    assert a.payloads == [1, 2]


@pytest.mark.parametrize(("may_have_run", "arrived"), [(False, [1, 2]), (True, [2])])
async def test_a_stream_whose_actor_died_is_a_closed_route(
    dispatcher: RouterDispatcher, may_have_run: bool, arrived: list[int]
) -> None:
    again = Channel()
    with_route(dispatcher, Channel(), ActorDied("gone", may_have_run=may_have_run))
    await dispatch_all(dispatcher, "one", [1, 2])
    assert list(dispatcher.statistics().closed_routes) == ["a"]
    dispatcher.add_route("a", again)
    await wait_all_tasks_blocked()
    assert again.payloads == arrived


async def test_an_error_that_a_remote_function_has_raised_is_never_a_reason_to_run_it_again(
    dispatcher: RouterDispatcher,
) -> None:
    class RemoteMailboxFull(RemoteActorError, MailboxFull):
        pass

    a = Receiver()
    with_route(dispatcher, a, RemoteMailboxFull("a mailbox over there"))
    await dispatch_all(dispatcher, "one", [1])
    await later(1)
    assert (len(a.times), reasons_of(dispatcher)) == (1, [(1, "rejected")])


# --- the last error stays with its message --------------------------------------------------


async def test_a_request_that_was_tried_in_vain_has_the_last_error_as_its_cause(
    dispatcher: RouterDispatcher,
) -> None:
    errors = [trio.BusyResourceError(str(n)) for n in range(100)]
    with_route(dispatcher, Receiver(), *errors)
    with pytest.raises(DeadlineExceeded) as info:
        await dispatcher.request(ask("one", deadline=0.5))
    assert info.value.__cause__ is info.value.letter.error is errors[2]
    assert errors[2].__traceback__ is None


async def test_the_letter_of_a_message_whose_route_has_closed_tells_the_error(
    dispatcher: RouterDispatcher,
) -> None:
    error = trio.ClosedResourceError()
    with_route(dispatcher, Receiver(), error)
    await dispatch_all(dispatcher, "one", [1, 2])
    await later(10)
    assert [letter.error for letter in letters_of(dispatcher)] == [error, None]


async def test_a_send_that_is_cancelled_keeps_the_error_of_the_one_before(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    error = trio.BusyResourceError()
    with_route(dispatcher, a, error)
    await dispatch_all(dispatcher, "one", [1])
    a.shut()
    await later(10)
    (letter,) = letters_of(dispatcher)
    assert (letter.error, letter.attempts) == (error, 2)


# --- when to try again ----------------------------------------------------------------------


async def test_failures_are_counted_without_a_delay_and_no_route_spins() -> None:
    asked: list[int] = []

    def no_delay(failures: int) -> float:
        asked.append(failures)
        return 0

    a = Receiver()
    async with open_dispatcher(retry_delay=no_delay) as dispatcher:
        with_route(dispatcher, a, *(trio.BusyResourceError() for _ in range(5)))
        await dispatch_all(dispatcher, "one", [1])
        await later(0.1)
    assert (a.payloads, asked) == ([1], [0, 1, 2, 3, 4])
    assert a.times[-1] - a.times[0] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("delay", "kind"),
    [(math.nan, ValueError), (math.inf, ValueError), (-1, ValueError), (None, TypeError)],
    ids=["nan", "inf", "negative", "none"],
)
async def test_a_delay_that_is_none_is_refused_with_the_name_of_the_route(
    delay: Any, kind: type[Exception]
) -> None:
    with pytest.raises(ExceptionGroup) as info:
        async with open_dispatcher(retry_delay=lambda _: delay) as dispatcher:
            with_route(dispatcher, Receiver(), trio.BusyResourceError())
            await dispatcher.dispatch(ask("one"))
            await trio.sleep_forever()
    (error,) = info.value.exceptions
    assert isinstance(error, kind)
    assert str(error).startswith("what retry_delay returns")
    assert error.__notes__ == ["in the pump of route 'a'"]
    assert is_balanced(dispatcher)


# --- a function that is not async -----------------------------------------------------------


async def test_a_plain_function_may_have_delivered_and_the_letter_says_what_to_do(
    dispatcher: RouterDispatcher,
) -> None:
    seen: list[RoutedMessage] = []
    dispatcher.add_route("a", seen.append)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    (letter,) = letters_of(dispatcher)
    assert (letter.reason, letter.may_have_been_delivered) == ("rejected", True)
    assert "route 'a' has returned None, which cannot be awaited" in str(letter.error)
    assert len(seen) == 1


async def test_a_plain_function_that_returns_a_coroutine_is_a_route(
    dispatcher: RouterDispatcher,
) -> None:
    a = Receiver()
    dispatcher.add_route("a", lambda message: a(message))
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    assert a.payloads == [1]
