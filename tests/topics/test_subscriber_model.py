"""Histories of several subscribers, each against a model that is a few lists."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actorsys import Limits, SubscriberTooSlow
from actorsys.topics.subscriber import WHEN_FULL, Delivery, Subscriber

PARCEL_BYTES = 10
MAX_BYTES = 3 * (128 + PARCEL_BYTES)  # a fourth item does not fit
WHICH = st.integers(0, 2)


def done_at_once(call: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of what does not have to wait."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


class Pair:
    """A subscriber and what it should be."""

    def __init__(self, when_full: Any, capacity: int) -> None:
        limits = Limits(max_subscriber_bytes=MAX_BYTES)
        self.subscriber = Subscriber("a", capacity, when_full, limits, self._on_end)
        self.subscriber.send_with(self._send)
        self.when_full = when_full
        self.capacity = capacity
        self.room = min(capacity, 4)
        self.is_link_free = True
        self.is_sending = False
        self.got: list[Delivery] = []
        self.ends = 0
        self.sent: list[int] = []
        self.waiting: list[int] = []
        self.dropped = 0
        self.unread = 0
        self.has_ended = False

    def _on_end(self, subscriber: Subscriber) -> None:
        assert subscriber is self.subscriber
        self.ends += 1

    def _send(self, delivery: Delivery) -> bool:
        if self.is_link_free:
            self.got.append(delivery)
        return self.is_link_free

    def offer(self, number: int) -> bool:
        """Do in the model what `Subscriber.offer` should do; return what that should return."""
        if self.has_ended:
            return True
        may_send = self.unread < self.capacity and self.is_link_free
        if not self.waiting and not self.is_sending and may_send:
            self.sent.append(number)
            self.unread += 1
            return True
        if len(self.waiting) >= self.room:
            if self.when_full == "block":
                return False
            if self.when_full == "end":
                self.has_ended = True
                return True
            self.dropped += 1
            if self.when_full == "drop_new":
                return True
            self.waiting.pop(0)
        self.waiting.append(number)
        return True


class Histories(RuleBasedStateMachine):
    """Publishes to three subscribers, which send and read as they like."""

    @initialize(
        rules=st.lists(st.sampled_from(WHEN_FULL), min_size=3, max_size=3),
        capacities=st.lists(st.integers(1, 6), min_size=3, max_size=3),
    )
    def open(self, rules: list[str], capacities: list[int]) -> None:
        self.pairs = [Pair(*both) for both in zip(rules, capacities, strict=True)]
        self.published = 0
        self.offered = [0, 0, 0]

    @rule(times=st.integers(1, 5))
    def publish(self, times: int) -> None:
        for _ in range(times):
            parcel = self.published.to_bytes(PARCEL_BYTES, "big")
            for index, pair in enumerate(self.pairs):
                is_taken = pair.offer(self.published)
                assert pair.subscriber.offer("a", parcel) == is_taken
                self.offered[index] += is_taken and not pair.has_ended
            self.published += 1

    @rule(which=WHICH)
    def send_one(self, which: int) -> None:
        pair = self.pairs[which]
        if pair.waiting and pair.unread < pair.capacity:
            pair.got.append(done_at_once(pair.subscriber.take()))
            pair.sent.append(pair.waiting.pop(0))
            pair.unread += 1
            pair.is_sending = True
        elif pair.has_ended and not pair.waiting:
            with pytest.raises(SubscriberTooSlow):
                done_at_once(pair.subscriber.take())

    @rule(which=WHICH)
    def wait_for_more(self, which: int) -> None:
        """Be where `Subscriber.take` is while it waits: the last item has been sent."""
        pair = self.pairs[which]
        if not pair.waiting or pair.unread >= pair.capacity:
            pair.subscriber._is_taken = pair.is_sending = False

    @rule(which=WHICH, count=st.integers(0, 10))
    def read(self, which: int, count: int) -> None:
        pair = self.pairs[which]
        pair.unread = max(0, pair.unread - count)
        pair.subscriber.credit(count)

    @rule(which=WHICH, is_free=st.booleans())
    def crowd_link(self, which: int, is_free: bool) -> None:
        self.pairs[which].is_link_free = is_free

    @invariant()
    def each_is_what_it_should_be(self) -> None:
        for index, pair in enumerate(getattr(self, "pairs", ())):
            subscriber = pair.subscriber
            assert [int.from_bytes(bytes(one.parcel), "big") for one in pair.got] == pair.sent  # type: ignore[arg-type]
            assert subscriber.dropped == pair.dropped
            assert subscriber.has_ended == pair.has_ended == bool(pair.ends)
            assert pair.ends <= 1
            assert len(pair.sent) + len(pair.waiting) + pair.dropped == self.offered[index]
            assert subscriber.is_full == (len(pair.waiting) >= pair.room)
            assert f"{len(pair.waiting)} waiting" in repr(subscriber)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_nothing_overtakes_what_is_being_sent() -> None:
    pair = Pair("block", 5)
    pair.is_link_free = False
    assert pair.subscriber.offer("a", b"first")
    assert done_at_once(pair.subscriber.take()).parcel == b"first"
    pair.is_link_free = True
    assert pair.subscriber.offer("a", b"second")
    assert not pair.got
    assert done_at_once(pair.subscriber.take()).parcel == b"second"
