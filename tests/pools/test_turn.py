"""The turn of a thread: what it hands over, and what it leaves to whoever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from actorsys.actor import trace_context
from actorsys.channel import Target
from actorsys.limits import DEFAULT_LIMITS
from actorsys.pools.journal import Journal
from actorsys.pools.order import Order
from actorsys.pools.turn import Turn


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.created() as made:
        assert made is not None
        yield made


def order_of(number: int, fn: Callable[[], Any]) -> Order:
    order = Order({"job": number, "call": "m:f", "args": []}, None, DEFAULT_LIMITS)
    order.target = Target(fn, "asyncfunc", False)
    return order


async def test_it_goes_on_while_results_are_safe(journal: Journal) -> None:
    told: list[tuple[Order, Any]] = []
    orders = [order_of(number, lambda number=number: number) for number in (1, 2, 3)]
    following = iter(orders[1:])
    turn = Turn(orders[0], journal, lambda: next(following, None), told.extend)
    assert await trio.to_thread.run_sync(turn._work) is None
    await turn.wait_ended()
    assert told == [(order, order.number) for order in orders]


async def test_what_is_not_safe_is_left_to_whoever_waits(journal: Journal) -> None:
    for fn, kept in ((lambda: [1], journal), (lambda: 1, None)):
        order = order_of(1, fn)
        turn = Turn(order, kept, pytest.fail, pytest.fail)
        finished = await trio.to_thread.run_sync(turn._work)
        assert finished is not None
        assert (finished.order, finished.value, finished.error) == (order, fn(), None)
        assert turn.leave_behind(order)


async def test_a_call_does_not_see_the_trace_of_the_one_before(journal: Journal) -> None:
    seen: list[str | None] = []

    def note() -> None:
        seen.append(trace_context.get())

    first, second = order_of(1, note), order_of(2, note)
    first.trace = "00-first"
    following = iter([second])
    turn = Turn(first, journal, lambda: next(following, None), lambda _: None)
    token = trace_context.set("00-of the runner")
    await trio.to_thread.run_sync(turn._work)
    trace_context.reset(token)
    assert seen == ["00-first", None]


async def test_an_error_ends_it(journal: Journal) -> None:
    order = order_of(1, lambda: 1 / 0)
    turn = Turn(order, journal, pytest.fail, pytest.fail)
    finished = await trio.to_thread.run_sync(turn._work)
    assert finished is not None
    assert isinstance(finished.error, ZeroDivisionError)


async def test_a_call_that_was_handed_over_cannot_be_cancelled_any_more(journal: Journal) -> None:
    order = order_of(1, lambda: 1)
    turn = Turn(order, journal, lambda: None, lambda _: None)
    assert await trio.to_thread.run_sync(turn._work) is None
    assert turn.current is None
    assert not turn.leave_behind(order)


async def test_a_thread_that_is_left_behind_begins_nothing_more(journal: Journal) -> None:
    release = threading.Event()
    order = order_of(1, lambda: release.wait(10))
    turn = Turn(order, journal, pytest.fail, pytest.fail)
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wait() -> bool:
        token.run_sync_soon(begun.set)
        return release.wait(10)

    order.target = Target(wait, "asyncfunc", False)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(trio.to_thread.run_sync, turn._work)
        await begun.wait()
        assert not turn.leave_behind(order_of(2, wait))
        assert turn.leave_behind(order)
        assert turn.abandon()
        release.set()
        await turn.wait_ended()
    assert not turn.abandon()


async def test_one_that_was_abandoned_before_it_began_runs_nothing(journal: Journal) -> None:
    order = order_of(1, pytest.fail)
    turn = Turn(order, journal, pytest.fail, pytest.fail)
    assert not turn.abandon()
    assert await trio.to_thread.run_sync(turn._work) is None
