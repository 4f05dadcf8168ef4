"""The sending side of a participant: order, credit, and what goes past what waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actorsys import Limits
from actorsys.carriers import CarrierOverflow, RunEnded
from actorsys.carriers.frames import ToHub
from actorsys.carriers.outgoing import Outgoing
from actorsys.errors import BridgeClosed


class Wire:
    """An `Outgoing` whose posts wait until `flush`."""

    def __init__(self, **limits: int) -> None:
        self.sent: list[list[Any]] = []
        self.posts: list[Callable[[], None]] = []
        self.outgoing = Outgoing(Limits(**limits), self.posts.append, self.sent.append)

    def send(self, name: str, kind: int = ToHub.MESSAGE, size: int = 1) -> None:
        self.outgoing.send(kind, (name,), size, f"waiter of {name}")

    def flush(self) -> list[Any]:
        while self.posts:
            self.posts.pop(0)()
        return [item[2] if item[0] in (ToHub.MESSAGE, ToHub.REPLY) else item for item in self.sent]


def test_items_leave_in_order_with_one_post_for_many() -> None:
    wire = Wire()
    for name in "abc":
        wire.send(name)
    assert len(wire.posts) == 1
    assert wire.flush() == ["a", "b", "c"]


def test_without_credit_messages_are_held_until_others_are_accepted() -> None:
    wire = Wire(carrier_credit_frames=2)
    for name in "abcd":
        wire.send(name)
    assert wire.flush() == ["a", "b"]
    assert wire.outgoing.accepted(0) == "waiter of a"
    assert wire.flush() == ["a", "b", "c"]


def test_credit_counts_bytes_as_well() -> None:
    wire = Wire(carrier_credit_bytes=10)
    for name in "abc":
        wire.send(name, size=8)
    assert wire.flush() == ["a", "b"]


def test_a_notice_goes_past_what_is_held_and_says_how_much_that_is() -> None:
    wire = Wire(carrier_credit_frames=1)
    for name in "abc":
        wire.send(name)
    wire.outgoing.tell(ToHub.HANDLED, 17, False)
    assert wire.flush() == ["a", [ToHub.HANDLED, 2, 17, False]]


def test_replies_do_not_wait_for_messages() -> None:
    wire = Wire(carrier_credit_frames=1)
    wire.send("a")
    wire.send("b")
    wire.send("reply", ToHub.REPLY)
    assert wire.flush() == ["a", "reply"]


def test_what_is_held_is_capped() -> None:
    wire = Wire(carrier_credit_frames=1, carrier_queue_frames=2)
    for name in "abc":
        wire.send(name)
    with pytest.raises(CarrierOverflow, match="2 messages"):
        wire.send("d")
    wire.outgoing.accepted(0)
    wire.send("d")
    assert wire.flush() == ["a", "b"]


def test_once_closed_nothing_leaves_and_the_waiters_come_back() -> None:
    wire = Wire(carrier_credit_frames=1)
    for name in "ab":
        wire.send(name)
    assert wire.outgoing.close() == ["waiter of a", "waiter of b"]
    assert wire.flush() == []
    with pytest.raises(RunEnded):
        wire.send("c")
    wire.outgoing.tell(ToHub.HOLD, -1)
    assert wire.flush() == []


def test_a_closed_bridge_is_the_end_of_the_run() -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise BridgeClosed("closed")

    outgoing = Outgoing(Limits(), refuse, lambda item: None)
    with pytest.raises(RunEnded):
        outgoing.send(ToHub.MESSAGE, (), 1, None)
    outgoing.tell(ToHub.HOLD, -1)
