"""The queue of priorities against a sorted list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorsys.kernels.at_hand import AtHand
from actorsys.kernels.priority_queue import LEVELS, PriorityQueue

# Few priorities make many equals; the ends and neighbours of bands are where one is off by one.
priorities = st.one_of(
    st.sampled_from([0, 1, 63, 64, 127, 128, 129, 191, 192, 224, 254, 255]), st.integers(0, 255)
)
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["push", "push_front"]), priorities),
        st.tuples(st.sampled_from(["pop", "pop_least", "clear"]), st.just(0)),
    ),
    max_size=60,
)


class SortedList:
    """The plain model: a list of (priority, item), best first, sorted anew after each change."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []

    def push(self, item: int, priority: int) -> None:
        self.rows.append((priority, item))
        self.rows.sort(key=lambda row: -row[0])

    def push_front(self, item: int, priority: int) -> None:
        self.rows.insert(0, (priority, item))
        self.rows.sort(key=lambda row: -row[0])

    def pop(self) -> int:
        return self.rows.pop(0)[1]

    def pop_least(self) -> int:
        least = min(priority for priority, _ in self.rows)
        place = next(n for n, (priority, _) in enumerate(self.rows) if priority == least)
        return self.rows.pop(place)[1]

    def clear(self) -> list[int]:
        items = [item for _, item in self.rows]
        self.rows.clear()
        return items


@settings(max_examples=50, deadline=None, print_blob=True)
@given(operations)
def test_it_does_what_a_sorted_list_does(steps: list[tuple[str, int]]) -> None:
    queue: PriorityQueue[int] = PriorityQueue()
    model = SortedList()
    for item, (verb, priority) in enumerate(steps):
        if verb.startswith("push"):
            getattr(queue, verb)(item, priority)
            getattr(model, verb)(item, priority)
        elif verb == "clear" or model.rows:
            assert getattr(queue, verb)() == getattr(model, verb)()
        else:
            with pytest.raises(IndexError):
                getattr(queue, verb)()
        assert list(queue) == [one for _, one in model.rows]
        assert len(queue) == len(model.rows)
        assert bool(queue) is bool(model.rows)
        assert queue.best == max((p for p, _ in model.rows), default=-1)
        assert queue.least == min((p for p, _ in model.rows), default=-1)


def test_every_value_is_a_priority_of_its_own() -> None:
    queue: PriorityQueue[int] = PriorityQueue()
    for priority in range(LEVELS):
        queue.push(priority, priority)
    assert [queue.pop() for _ in range(LEVELS)] == list(range(255, -1, -1))


def test_equals_leave_in_the_order_in_which_they_came() -> None:
    queue: PriorityQueue[str] = PriorityQueue()
    for item in "abc":
        queue.push(item, 128)
    queue.push("urgent", 129)
    queue.push_front("first of the equals", 128)
    assert [queue.pop() for _ in range(5)] == ["urgent", "first of the equals", "a", "b", "c"]


@pytest.mark.parametrize("priority", [-1, -256, 256, 1000])
def test_what_is_no_priority_is_refused_and_changes_nothing(priority: int) -> None:
    queue: PriorityQueue[str] = PriorityQueue()
    queue.push("here", 255)
    with pytest.raises((IndexError, ValueError)):
        queue.push("strange", priority)
    assert list(queue) == ["here"]
    assert (len(queue), queue.best, queue.least) == (1, 255, 255)
    assert queue.pop() == "here"
    assert not queue


def test_a_look_at_the_items_leaves_them_in() -> None:
    queue: PriorityQueue[str] = PriorityQueue()
    queue.push("low", 3)
    queue.push("high", 200)
    assert list(queue) == list(queue) == ["high", "low"]
    assert "2 items" in repr(queue)


# --- what a process has at hand --------------------------------------------------------------


@settings(max_examples=50, deadline=None, print_blob=True)
@given(st.lists(st.one_of(priorities, st.just("remove"), st.just("clear")), max_size=60), st.data())
def test_what_is_at_hand_is_known_by_number_and_by_whether_something_is_worse(
    steps: list[int | str], data: st.DataObject
) -> None:
    at_hand: AtHand[str] = AtHand()
    model: dict[int, tuple[str, int]] = {}
    for step in steps:
        if isinstance(step, int):
            item = f"item {len(model)}"
            number = at_hand.add(item, step)
            assert number not in model
            model[number] = item, step
        elif step == "clear":
            assert at_hand.clear() == [item for item, _ in model.values()]
            model.clear()
        elif model:
            number = data.draw(st.sampled_from(sorted(model)))
            assert at_hand.find(number) == model.pop(number)[0]
            at_hand.remove(number)
            with pytest.raises(KeyError):
                at_hand.find(number)
            with pytest.raises(KeyError):
                at_hand.remove(number)
        assert len(at_hand) == len(model)
        least = min((priority for _, priority in model.values()), default=LEVELS)
        for priority in {0, 255, data.draw(priorities)}:
            assert at_hand.has_any_below(priority) is (least < priority)


def test_a_number_is_never_used_twice() -> None:
    at_hand: AtHand[str] = AtHand()
    first = at_hand.add("one", 1)
    at_hand.clear()
    assert at_hand.add("two", 1) != first
