"""The mailbox: what becomes of a message when it is full, and of the senders that wait."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actorsys import BackpressureStrategy, MailboxFull, MailboxOptions
from actorsys.kernels.mailbox import Mailbox

BLOCK, REJECT, DROP_OLDEST, DROP_NEW = BackpressureStrategy


class Box(Mailbox[Any]):
    """A mailbox that notes what it tells: how often it can be taken from, and what it dropped."""

    def __init__(self, capacity: int, strategy: BackpressureStrategy) -> None:
        self.calls = 0
        self.dropped: list[Any] = []
        super().__init__(capacity, strategy, self._count_call, self.dropped.append)

    def _count_call(self) -> None:
        self.calls += 1

    @property
    def items(self) -> list[Any]:
        return list(self.queue)

    def take(self) -> Any:
        """Take the next item, and let those in who wait."""
        item = self.queue.pop()
        self.make_room()
        return item


class Senders:
    """Tasks that put items in: who is done, who was refused, in order."""

    def __init__(self, box: Box, tasks: trio.Nursery) -> None:
        self.done: list[Any] = []
        self.errors: dict[Any, Exception] = {}
        self.scopes: dict[Any, trio.CancelScope] = {}
        self._box = box
        self._tasks = tasks

    async def start(self, item: Any, priority: int) -> None:
        """Start a task that puts *item* in; return when it is in or waits."""
        self._tasks.start_soon(self._put, item, priority)
        await wait_all_tasks_blocked()

    async def cancel(self, item: Any) -> None:
        """Cancel the task that puts *item* in."""
        self.scopes.pop(item).cancel()
        await wait_all_tasks_blocked()

    async def _put(self, item: Any, priority: int) -> None:
        with trio.CancelScope() as self.scopes[item]:
            try:
                await self._box.put(item, priority)
            except MailboxFull as error:
                self.errors[item] = error
            else:
                self.done.append(item)
                self.scopes.pop(item, None)


@asynccontextmanager
async def open_senders(box: Box) -> AsyncIterator[Senders]:
    """Open a nursery of senders; those that still wait in the end are cancelled."""
    async with trio.open_nursery() as tasks:
        yield Senders(box, tasks)
        tasks.cancel_scope.cancel()


# --- against a model -------------------------------------------------------------------------

priorities = st.sampled_from([0, 100, 128, 129, 255])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), priorities),
        st.tuples(st.sampled_from(["take", "hold", "release"]), st.just(0)),
    ),
    max_size=40,
)
"""*hold* takes an item that goes on to take up room, as one on its way to a process does."""


class Model:
    """Rows of (priority, item), best first, and what has become of the others."""

    def __init__(self, capacity: int) -> None:
        self.rows: list[tuple[int, int]] = []
        self.dropped: list[int] = []
        self.refused: list[int] = []
        self.held = 0
        self._capacity = capacity

    @property
    def is_full(self) -> bool:
        return len(self.rows) + self.held >= self._capacity

    def insert(self, item: int, priority: int) -> None:
        self.rows.append((priority, item))
        self.rows.sort(key=lambda row: -row[0])

    def overflow(self, item: int, priority: int, strategy: BackpressureStrategy) -> None:
        if strategy is REJECT:
            self.refused.append(item)
            return
        worst = min((row[0] for row in self.rows), default=256)
        if strategy is DROP_NEW or worst > priority:
            self.dropped.append(item)
            return
        oldest = next(row for row in self.rows if row[0] == worst)
        self.rows.remove(oldest)
        self.dropped.append(oldest[1])
        self.insert(item, priority)

    def take(self) -> int:
        return self.rows.pop(0)[1]


@settings(max_examples=50, deadline=None, print_blob=True)
@given(
    capacity=st.integers(1, 4),
    strategy=st.sampled_from([REJECT, DROP_OLDEST, DROP_NEW]),
    history=steps,
)
async def test_it_does_what_the_plain_model_does(
    capacity: int, strategy: BackpressureStrategy, history: list[tuple[str, int]]
) -> None:
    box, model = Box(capacity, strategy), Model(capacity)
    refused: list[int] = []
    for item, (verb, priority) in enumerate(history):
        calls = box.calls
        if verb == "put":
            was_full = model.is_full
            if was_full:
                model.overflow(item, priority, strategy)
            else:
                model.insert(item, priority)
            try:
                await box.put(item, priority)
            except MailboxFull:
                refused.append(item)
            assert (box.calls > calls) is (item in box.items)
        elif verb == "release":
            if model.held:
                model.held -= 1
                box.held -= 1
                box.make_room()
        elif model.rows:
            assert box.take() == model.take()
            if verb == "hold":
                model.held += 1
                box.held += 1
        assert box.items == [item for _, item in model.rows]
        assert (box.dropped, refused) == (model.dropped, model.refused)
        assert len(box) == len(model.rows) + model.held <= capacity
        assert box.is_full is model.is_full


blocking_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), priorities),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
    ),
    max_size=25,
)


@settings(max_examples=50, deadline=None, print_blob=True)
@given(capacity=st.integers(1, 3), history=blocking_steps)
async def test_senders_that_wait_come_in_by_priority_and_then_by_age(
    capacity: int, history: list[tuple[str, int]]
) -> None:
    box, model = Box(capacity, BLOCK), Model(capacity)
    waiting = Model(1000)
    done: list[int] = []
    async with open_senders(box) as senders:
        for item, (verb, number) in enumerate(history):
            if verb == "put":
                if model.is_full:
                    waiting.insert(item, number)
                else:
                    model.insert(item, number)
                    done.append(item)
                await senders.start(item, number)
            elif verb == "cancel" and waiting.rows:
                row = waiting.rows[number % len(waiting.rows)]
                waiting.rows.remove(row)
                await senders.cancel(row[1])
            elif verb == "take" and model.rows:
                assert box.take() == model.take()
                if waiting.rows:
                    priority, next_item = waiting.rows.pop(0)
                    model.insert(next_item, priority)
                    done.append(next_item)
                await wait_all_tasks_blocked()
            assert box.items == [item for _, item in model.rows]
            assert senders.done == done
            assert set(senders.scopes) == {item for _, item in waiting.rows}
    assert not box.dropped


# --- waiting for room ------------------------------------------------------------------------


async def test_a_sender_waits_until_there_is_room() -> None:
    box = Box(1, BLOCK)
    async with open_senders(box) as senders:
        await senders.start("first", 128)
        await senders.start("second", 255)
        assert (senders.done, box.items) == (["first"], ["first"])
        assert box.take() == "first"
        await wait_all_tasks_blocked()
        assert (senders.done, box.items) == (["first", "second"], ["second"])


async def test_who_waits_with_the_highest_priority_comes_first() -> None:
    box = Box(1, BLOCK)
    async with open_senders(box) as senders:
        await senders.start("first", 255)
        for item, priority in (("low", 1), ("high", 200), ("high too", 200), ("middle", 100)):
            await senders.start(item, priority)
        taken = []
        for _ in range(5):
            taken.append(box.take())
            await wait_all_tasks_blocked()
        assert taken == senders.done == ["first", "high", "high too", "middle", "low"]


async def test_a_sender_whose_time_is_up_has_put_nothing_in(autojump_clock: Any) -> None:
    box = Box(1, BLOCK)
    await box.put("first", 128)
    with trio.move_on_after(3) as patience:
        await box.put("second", 128)
    assert patience.cancelled_caught
    assert trio.current_time() == pytest.approx(3)
    assert box.take() == "first"
    assert not box.items


async def test_a_cancelled_sender_leaves_its_place_to_the_next() -> None:
    box = Box(1, BLOCK)
    async with open_senders(box) as senders:
        await senders.start("first", 128)
        await senders.start("cancelled", 255)
        await senders.start("next", 1)
        await senders.cancel("cancelled")
        box.take()
        await wait_all_tasks_blocked()
        assert senders.done == ["first", "next"]
        assert box.items == ["next"]


async def test_a_sender_that_was_let_in_is_not_cancelled_any_more() -> None:
    box = Box(1, BLOCK)
    async with open_senders(box) as senders:
        await senders.start("first", 128)
        await senders.start("second", 128)
        box.take()
        await senders.cancel("second")
        assert senders.done == ["first", "second"]
        assert box.items == ["second"]


@pytest.mark.parametrize("strategy", BackpressureStrategy)
async def test_a_cancelled_sender_puts_nothing_in(strategy: BackpressureStrategy) -> None:
    box = Box(2, strategy)
    with trio.CancelScope() as scope:
        scope.cancel()
        await box.put("never", 128)
    assert scope.cancelled_caught
    assert not box.items
    assert not box.calls


async def test_senders_that_wait_can_be_refused_all_at_once() -> None:
    box = Box(1, BLOCK)
    async with open_senders(box) as senders:
        for item in ("in", "out", "also out", "cancelled"):
            await senders.start(item, 128)
        await senders.cancel("cancelled")
        box.refuse(lambda: MailboxFull("over"))
        await wait_all_tasks_blocked()
        assert senders.done == ["in"]
        assert set(senders.errors) == {"out", "also out"}
        assert senders.errors["out"] is not senders.errors["also out"]
        box.take()
        assert not box.items


async def test_what_is_held_takes_up_room_until_it_is_let_go() -> None:
    box = Box(1, BLOCK)
    async with open_senders(box) as senders:
        await senders.start("held", 128)
        box.held += 1
        assert box.take() == "held"
        await senders.start("waiting", 128)
        assert senders.done == ["held"]
        assert len(box) == 1
        box.held -= 1
        box.make_room()
        await wait_all_tasks_blocked()
        assert senders.done == ["held", "waiting"]


class Item:
    """Something that can be watched going."""


async def test_a_sender_that_gave_up_leaves_nothing_behind() -> None:
    box = Box(1, BLOCK)
    await box.put(Item(), 128)
    item = Item()
    watched = weakref.ref(item)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(box.put, item, 128)
            await wait_all_tasks_blocked()
            scope.cancel()
    del item
    gc.collect()
    assert watched() is None


# --- the other strategies --------------------------------------------------------------------


async def test_reject_raises_at_once_and_says_how_many_there_are() -> None:
    box = Box(2, REJECT)
    await box.put("one", 128)
    await box.put("two", 128)
    with pytest.raises(MailboxFull, match="2 messages"):
        await box.put("three", 255)
    assert box.items == ["one", "two"]
    assert not box.dropped


async def test_drop_oldest_keeps_the_newest() -> None:
    box = Box(3, DROP_OLDEST)
    for item in range(10):
        await box.put(item, 128)
    assert box.items == [7, 8, 9]
    assert box.dropped == [0, 1, 2, 3, 4, 5, 6]


async def test_drop_oldest_drops_the_oldest_of_the_lowest_priority() -> None:
    box = Box(3, DROP_OLDEST)
    for item, priority in (("urgent", 255), ("low", 3), ("low too", 3), ("normal", 128)):
        await box.put(item, priority)
    assert box.items == ["urgent", "normal", "low too"]
    assert box.dropped == ["low"]


async def test_drop_oldest_never_drops_a_better_one_than_the_newcomer() -> None:
    box = Box(2, DROP_OLDEST)
    await box.put("better", 129)
    await box.put("better too", 130)
    await box.put("newcomer", 128)
    assert box.items == ["better too", "better"]
    assert box.dropped == ["newcomer"]


async def test_drop_new_drops_the_newcomer_however_urgent() -> None:
    box = Box(1, DROP_NEW)
    await box.put("here", 0)
    await box.put("newcomer", 255)
    assert (box.items, box.dropped) == (["here"], ["newcomer"])


# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1, 1.0, True, "9", None])
@pytest.mark.parametrize("name", ["queue_size", "output_queue_size"])
def test_a_size_is_a_number_from_one(name: str, size: Any) -> None:
    with pytest.raises(ValueError, match=name):
        MailboxOptions(**{name: size})


def test_a_strategy_is_none_of_its_names() -> None:
    with pytest.raises(TypeError, match="BackpressureStrategy"):
        MailboxOptions(backpressure="block")  # type: ignore[arg-type]


def test_there_are_four_strategies() -> None:
    assert {one.name for one in BackpressureStrategy} >= {
        "BLOCK",
        "REJECT",
        "DROP_OLDEST",
        "DROP_NEW",
    }
