"""What follows from the end of a child: the whole table, and a model that forgets nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorsys import Backoff, OneForAll, OneForOne, RestForOne
from actorsys.supervise.policy import Bring, Decision, Forget, GiveUp, RestartPolicy
from actorsys.supervise.strategies import Restart, Restarting

Way = Literal["normal", "error", "killed"]
STRATEGIES: list[type[Restarting]] = [OneForOne, OneForAll, RestForOne]
RESTARTS: list[Restart] = ["permanent", "transient", "temporary"]
GRID_SECONDS = 0.25  # a power of two, so that sums and differences of times are exact


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: nothing here opens anything."""


def policy_of(strategy: Restarting, chance: float = 0.0) -> RestartPolicy[Any]:
    return RestartPolicy(strategy, lambda: chance)


def one_child(max_restarts: int, within: float, **backoff: float) -> Callable[[float], Decision]:
    """Return a function that has one permanent child end at a time, and returns the decision."""
    policy = policy_of(OneForOne(max_restarts, within, Backoff(**backoff)))
    policy.add("it", "permanent")
    return lambda now: policy.on_end("it", is_normal=False, cause=RuntimeError(now), now=now)


# --- the table ----------------------------------------------------------------------------

IS_STARTED_AGAIN: dict[tuple[Restart, Way], bool] = {
    ("permanent", "normal"): True,
    ("permanent", "error"): True,
    ("permanent", "killed"): True,
    ("transient", "normal"): False,
    ("transient", "error"): True,
    ("transient", "killed"): True,
    ("temporary", "normal"): False,
    ("temporary", "error"): False,
    ("temporary", "killed"): False,
}
PLANS: dict[type[Restarting], Bring[str]] = {
    OneForOne: Bring(stop=(), delay=0, start=("it",)),
    OneForAll: Bring(stop=("helper", "after", "before"), delay=0, start=("before", "it", "after")),
    RestForOne: Bring(stop=("helper", "after"), delay=0, start=("it", "after")),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("way", get_args(Way))
def test_what_follows_from_an_end(strategy: type[Restarting], restart: Restart, way: Way) -> None:
    policy = policy_of(strategy())
    policy.add("before", "permanent")
    policy.add("it", restart)
    policy.add("after", "transient")
    policy.add("helper", "temporary")
    decision = policy.on_end("it", is_normal=way == "normal", cause=RuntimeError(way), now=7.0)
    assert decision == (PLANS[strategy] if IS_STARTED_AGAIN[restart, way] else Forget())


def test_a_child_that_was_forgotten_is_not_brought_back_with_the_others() -> None:
    policy = policy_of(OneForAll())
    for name, restart in (("a", "permanent"), ("b", "transient"), ("c", "temporary")):
        policy.add(name, restart)  # type: ignore[arg-type]
    policy.add("d", "permanent")
    policy.discard("d")
    cause = RuntimeError()
    assert policy.on_end("b", is_normal=True, cause=cause, now=0.0) == Forget()
    assert policy.on_end("c", is_normal=False, cause=cause, now=0.0) == Forget()
    plan = policy.on_end("a", is_normal=False, cause=cause, now=0.0)
    assert plan == Bring(stop=(), delay=0.0, start=("a",))


def test_the_start_order_survives_a_restart() -> None:
    policy = policy_of(RestForOne(backoff=Backoff(first=0)))
    for name in "abc":
        policy.add(name, "permanent")
    for _ in range(2):
        plan = policy.on_end("b", is_normal=False, cause=RuntimeError(), now=0.0)
        assert plan == Bring(stop=("c",), delay=0.0, start=("b", "c"))


# --- intensity ----------------------------------------------------------------------------


@pytest.mark.parametrize("max_restarts", [0, 1, 3, 10])
def test_as_many_restarts_as_allowed_are_done_and_one_more_gives_up(max_restarts: int) -> None:
    end_at = one_child(max_restarts, within=5.0)
    for _ in range(max_restarts):
        assert isinstance(end_at(1.0), Bring)
    assert isinstance(end_at(1.0), GiveUp)


def test_a_restart_counts_until_the_edge_of_the_window_and_no_longer() -> None:
    end_at = one_child(1, within=5.0)
    assert isinstance(end_at(10.0), Bring)
    assert isinstance(end_at(15.0), GiveUp)

    end_at = one_child(1, within=5.0)
    assert isinstance(end_at(10.0), Bring)
    assert isinstance(end_at(15.0 + 2**-40), Bring)


def test_the_window_slides() -> None:
    end_at = one_child(2, within=4.0)
    for now in (0.0, 3.0, 4.25, 7.25, 8.5, 11.5):
        assert isinstance(end_at(now), Bring)
    assert isinstance(end_at(12.0), GiveUp)


def test_an_endless_window_forgets_nothing() -> None:
    end_at = one_child(2, within=float("inf"))
    assert isinstance(end_at(0.0), Bring)
    assert isinstance(end_at(1e9), Bring)
    assert isinstance(end_at(1e18), GiveUp)


def test_the_history_holds_the_causes_within_the_window_oldest_first() -> None:
    policy = policy_of(OneForOne(2, 4.0))
    policy.add("it", "permanent")
    causes = [RuntimeError(number) for number in range(4)]
    times = (0.0, 3.0, 5.0, 7.0)
    *_, last = (
        policy.on_end("it", is_normal=False, cause=cause, now=now)
        for cause, now in zip(causes, times, strict=True)
    )
    assert last == GiveUp(tuple(causes[1:]))


def test_ends_that_are_only_forgotten_do_not_count() -> None:
    policy = policy_of(OneForAll(max_restarts=1))
    policy.add("it", "permanent")
    for number in range(10):
        policy.add(number, "temporary")
        decision = policy.on_end(number, is_normal=False, cause=RuntimeError(), now=0.0)
        assert decision == Forget()
    assert isinstance(policy.on_end("it", is_normal=False, cause=RuntimeError(), now=0.0), Bring)


def test_the_ends_of_all_children_count_together() -> None:
    policy = policy_of(OneForOne(max_restarts=2))
    for name in "abc":
        policy.add(name, "permanent")
    kinds = [
        type(policy.on_end(name, is_normal=False, cause=RuntimeError(), now=0.0)) for name in "abc"
    ]
    assert kinds == [Bring, Bring, GiveUp]


# --- back-off -----------------------------------------------------------------------------


def delays(end_at: Callable[[float], Decision], *times: float) -> Iterator[float]:
    for now in times:
        decision = end_at(now)
        assert isinstance(decision, Bring)
        yield decision.delay


def test_the_first_restart_is_immediate_and_each_further_one_waits_longer() -> None:
    end_at = one_child(10, within=100.0, first=0.5, factor=4.0, most=10.0, jitter=0.0)
    assert list(delays(end_at, *range(6))) == [0, 0.5, 2, 8, 10, 10]


def test_the_backoff_begins_anew_when_the_window_has_passed() -> None:
    end_at = one_child(10, within=5.0, first=0.5, factor=4.0, most=10.0, jitter=0.0)
    assert list(delays(end_at, 0.0, 1.0, 6.0, 20.0)) == [0, 0.5, 0.5, 0]


def test_a_backoff_of_nothing_never_waits() -> None:
    end_at = one_child(10, within=5.0, first=0.0)
    assert list(delays(end_at, *([1.0] * 10))) == [0.0] * 10


def test_the_jitter_leaves_a_share_out() -> None:
    backoff = Backoff(first=8.0, factor=1.0, most=8.0, jitter=0.5)
    assert [backoff.delay(2, chance) for chance in (0.0, 0.5, 0.75)] == [8.0, 6.0, 5.0]
    assert Backoff(first=8.0, jitter=0.0).delay(2, 0.75) == 8.0


@given(
    nth=st.integers(1, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
    first=st.floats(0, 1e6),
    factor=st.floats(1) | st.integers(1),
    more=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_a_delay_is_never_negative_nor_above_the_most(
    nth: int, chance: float, first: float, factor: float, more: float, jitter: float
) -> None:
    backoff = Backoff(first=first, factor=factor, most=first + more, jitter=jitter)
    assert 0 <= backoff.delay(nth, chance) <= backoff.most


@pytest.mark.parametrize("factor", [1e200, 10**10])
def test_a_steep_backoff_comes_to_the_most(factor: float) -> None:
    backoff = Backoff(factor=factor, most=60.0, jitter=0.0)
    assert [backoff.delay(nth, 0.0) for nth in (3, 4, 40, 1000)] == [60.0] * 4


# --- against a model ----------------------------------------------------------------------


class Start(NamedTuple):
    child: int
    restart: Restart


class EndForGood(NamedTuple):
    """Somebody has asked for the end of the child."""

    child: int


class End(NamedTuple):
    child: int
    is_normal: bool
    now: float
    cause: Exception


class Model:
    """The rules as they are read aloud. It keeps every end, and counts anew each time."""

    def __init__(self, strategy: Restarting, chance: float) -> None:
        self.strategy = strategy
        self.chance = chance
        self.children: list[Start] = []
        self.answered: list[End] = []
        self.edges = 0

    def restart_of(self, number: int) -> Restart:
        for child in self.children:
            if child.child == number:
                return child.restart
        raise LookupError(number)

    def remove(self, number: int) -> None:
        self.children = [child for child in self.children if child.child != number]

    def on_end(self, end: End) -> Decision[int]:
        restart = self.restart_of(end.child)
        if restart == "temporary":
            self.remove(end.child)
            return Forget()
        if restart == "transient" and end.is_normal:
            self.remove(end.child)
            return Forget()
        self.answered.append(end)
        recent = []
        for one in self.answered:
            if end.now - one.now <= self.strategy.within:
                recent.append(one)
        self.edges += any(end.now - one.now == self.strategy.within for one in recent)
        if len(recent) > self.strategy.max_restarts:
            return GiveUp(tuple(one.cause for one in recent))
        return self.bring_back(end.child, len(recent))

    def bring_back(self, number: int, nth: int) -> Bring[int]:
        affected: list[Start] = []
        for child in self.children:
            is_itself = child.child == number
            if isinstance(self.strategy, OneForOne) and not is_itself:
                continue
            if isinstance(self.strategy, RestForOne) and not (affected or is_itself):
                continue
            affected.append(child)
        stop = [child.child for child in affected if child.child != number]
        stop.reverse()
        start = [child.child for child in affected if child.restart != "temporary"]
        for child in affected:
            if child.restart == "temporary":
                self.remove(child.child)
        return Bring(tuple(stop), self.delay(nth), tuple(start))

    def delay(self, nth: int) -> float:
        backoff = self.strategy.backoff
        if nth == 1:
            return 0.0
        delay = backoff.first
        for _ in range(nth - 2):
            delay *= backoff.factor
        if delay > backoff.most:
            delay = backoff.most
        return delay - delay * backoff.jitter * self.chance


Choose = Callable[[int], int]
"""Chooses a number from 0 up to a bound that it stays below."""


class History:
    """What happens to the children of one nursery, chosen as it goes."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        backoff = Backoff(first=0.25, factor=2.0, most=1.0, jitter=0.5)
        within = (1 + choose(6)) * GRID_SECONDS
        strategy = STRATEGIES[choose(3)](choose(6), within, backoff)
        chance = choose(4) / 4
        self.model = Model(strategy, chance)
        self.policy: RestartPolicy[int] = policy_of(strategy, chance)
        self.told: list[object] = [strategy]
        self.decisions: list[Decision[int]] = []
        self._numbers = itertools.count()
        self._now = 1000.0

    def play(self) -> None:
        """Let things happen until a restart is refused, and compare each decision."""
        for _ in range(1 + self.choose(30)):
            event = self.next_event()
            self.told.append(event)
            if isinstance(event, Start):
                self.model.children.append(event)
                self.policy.add(*event)
            elif isinstance(event, EndForGood):
                self.model.remove(event.child)
                self.policy.discard(event.child)
            elif self.is_over(event):
                return

    def next_event(self) -> Start | EndForGood | End:
        self._now += self.choose(4) * GRID_SECONDS
        kind = self.choose(10)
        children = self.model.children
        if not children or (kind < 3 and len(children) < 5):
            return Start(next(self._numbers), RESTARTS[self.choose(3)])
        child = children[self.choose(len(children))].child
        if kind == 9:
            return EndForGood(child)
        return End(child, self.choose(3) == 0, self._now, RuntimeError(len(self.told)))

    def is_over(self, end: End) -> bool:
        expected = self.model.on_end(end)
        decision = self.policy.on_end(
            end.child, is_normal=end.is_normal, cause=end.cause, now=end.now
        )
        self.decisions.append(decision)
        assert decision == expected, "\n".join(map(str, self.told))
        return isinstance(decision, GiveUp)


def test_ten_thousand_histories_go_as_in_the_model() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    kinds: dict[type, int] = dict.fromkeys((Forget, Bring, GiveUp), 0)
    edges = 0
    for _ in range(10_000):
        history = History(lambda bound: int(chance.random() * bound))
        history.play()
        edges += history.model.edges
        for decision in history.decisions:
            kinds[type(decision)] += 1
    assert min(kinds.values()) > 1000, f"hardly tested: {kinds}"
    assert edges > 1000, f"hardly ever at the edge of the window: {edges}"


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_history_goes_as_in_the_model(data: st.DataObject) -> None:
    """Find the same as the test above, with a history that is as short as it can be."""
    History(lambda bound: data.draw(st.integers(0, bound - 1))).play()
