"""The hub as a state: it counts, routes and orders; no loop, no process."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actorsys import Limits
from actorsys.carriers import BudgetExceeded
from actorsys.carriers.frames import ToHub, ToParticipant
from actorsys.carriers.hub import Hub
from actorsys.errors import RemoteProtocolError


class Wires:
    """A hub and what it has delivered to each participant."""

    def __init__(self, count: int = 3, delivery: Any = "concurrent", **options: Any) -> None:
        self.out: dict[int, list[list[Any]]] = {address: [] for address in range(1, count + 1)}
        self.idle = 0
        limits = options.pop("limits", Limits())
        self.hub = Hub(limits, delivery, self._deliver, self._on_idle, **options)
        for address in self.out:
            self.hub.add(address)
        self._number = 0

    def _deliver(self, receiver: int, item: list[Any]) -> None:
        self.out[receiver].append(item)

    def _on_idle(self) -> None:
        self.idle += 1

    def send(self, sender: int, receiver: int, packed: bytes = b"x", request: Any = None) -> int:
        self._number += 1
        item = [ToHub.MESSAGE, self._number, receiver, request, packed]
        self.hub.on_item(sender, item)
        return self._number

    def reply(self, sender: int, requester: int, request: int) -> None:
        self._number += 1
        item = [ToHub.REPLY, self._number, requester, request, False, b"r"]
        self.hub.on_item(sender, item)

    def handled(self, receiver: int, delivery: int, held: int = 0) -> None:
        self.hub.on_item(receiver, [ToHub.HANDLED, held, delivery, False])

    def given(self, address: int, kind: int = ToParticipant.MESSAGE) -> list[list[Any]]:
        return [item for item in self.out[address] if item[0] == kind]


def test_a_message_is_under_way_until_it_is_handled() -> None:
    wires = Wires()
    wires.send(1, 2)
    assert (wires.hub.in_flight, wires.idle) == (1, 0)
    wires.handled(2, wires.given(2)[0][1])
    assert (wires.hub.in_flight, wires.idle) == (0, 1)


def test_a_sender_is_told_that_its_message_is_accepted() -> None:
    wires = Wires()
    number = wires.send(1, 2)
    assert wires.out[1] == [[ToParticipant.ACCEPTED, number]]


def test_what_a_handler_has_sent_keeps_the_run_from_being_idle() -> None:
    wires = Wires()
    wires.send(1, 2)
    wires.send(2, 3)
    wires.handled(2, wires.given(2)[0][1])
    assert (wires.hub.in_flight, wires.idle) == (1, 0)


def test_what_is_announced_is_under_way_before_it_has_arrived() -> None:
    wires = Wires()
    wires.send(1, 2)
    wires.handled(2, wires.given(2)[0][1], held=2)
    assert (wires.hub.in_flight, wires.idle) == (2, 0)
    wires.send(2, 3)
    wires.send(2, 3)
    assert wires.hub.in_flight == 2
    for item in wires.given(3):
        wires.handled(3, item[1])
    assert (wires.hub.in_flight, wires.idle) == (0, 1)


def test_a_hold_counts_as_something_under_way() -> None:
    wires = Wires()
    wires.hub.on_item(1, [ToHub.HOLD, 0, 1])
    assert wires.hub.in_flight == 1
    wires.hub.on_item(1, [ToHub.HOLD, 0, -1])
    assert (wires.hub.in_flight, wires.idle) == (0, 1)


def test_a_reply_goes_past_the_messages_that_wait() -> None:
    wires = Wires(limits=Limits(carrier_credit_frames=1))
    wires.send(1, 2, request=7)
    for _ in range(3):
        wires.send(3, 1)
    assert len(wires.given(1)) == 1
    wires.reply(2, 1, 7)
    assert wires.given(1, ToParticipant.REPLY)[0][2] == 7


def test_a_second_reply_is_dropped_and_counted() -> None:
    wires = Wires()
    wires.send(1, 2, request=7)
    wires.reply(2, 1, 7)
    wires.reply(2, 1, 7)
    wires.reply(3, 1, 9)
    assert len(wires.given(1, ToParticipant.REPLY)) == 1
    assert wires.hub.statistics()[:4] == (1, 1, 1, 2)


def test_a_reply_to_a_request_that_was_given_up_is_dropped() -> None:
    wires = Wires()
    wires.send(1, 2, request=7)
    wires.hub.on_item(1, [ToHub.GIVEN_UP, 0, 7])
    wires.reply(2, 1, 7)
    assert wires.given(1, ToParticipant.REPLY) == []
    assert wires.hub.statistics().dropped_replies == 1


def test_no_more_is_given_than_a_receiver_can_have_in_its_hands() -> None:
    wires = Wires(limits=Limits(carrier_credit_frames=4))
    numbers = [wires.send(1, 2) for _ in range(20)]
    assert len(wires.given(2)) == 4
    accepted = [item[1] for item in wires.given(1, ToParticipant.ACCEPTED)]
    assert accepted == numbers[:8]  # as many again wait in the hub
    wires.handled(2, wires.given(2)[0][1])
    assert len(wires.given(2)) == 5
    assert len(wires.given(1, ToParticipant.ACCEPTED)) == 9


def test_a_message_larger_than_the_room_goes_through_alone() -> None:
    wires = Wires(limits=Limits(carrier_credit_bytes=10))
    wires.send(1, 2, b"x" * 100)
    wires.send(1, 2, b"y")
    assert [len(item[4]) for item in wires.given(2)] == [100]


def test_one_slow_receiver_does_not_hold_up_another() -> None:
    wires = Wires(limits=Limits(carrier_credit_frames=1))
    for _ in range(10):
        wires.send(1, 2)
    wires.send(1, 3)
    assert len(wires.given(3)) == 1


def test_sequenced_gives_one_message_at_a_time_in_the_order_of_sending() -> None:
    wires = Wires(delivery="sequenced")
    wires.send(1, 2, b"a")
    wires.send(3, 2, b"b")
    wires.send(1, 3, b"c")
    seen = []
    for receiver in (2, 2, 3):
        assert wires.hub.in_flight == 3 - len(seen)
        item = wires.given(receiver)[-1]
        seen.append(item[4])
        wires.handled(receiver, item[1])
    assert seen == [b"a", b"b", b"c"]


def test_sequenced_goes_on_while_a_handler_waits_for_a_reply() -> None:
    wires = Wires(delivery="sequenced")
    wires.send(1, 2, b"first")
    wires.send(1, 3, b"second")
    wires.send(2, 3, b"nested", request=5)
    assert [item[4] for item in wires.given(3)] == [b"second"]
    wires.handled(3, wires.given(3)[0][1])
    assert [item[4] for item in wires.given(3)] == [b"second", b"nested"]


def test_sequenced_waits_again_once_the_reply_has_come() -> None:
    wires = Wires(delivery="sequenced")
    wires.send(1, 2)
    wires.send(2, 3, request=5)
    wires.reply(3, 2, 5)
    wires.handled(3, wires.given(3)[0][1])
    wires.send(1, 3, b"later")
    assert len(wires.given(3)) == 1
    wires.handled(2, wires.given(2)[0][1])
    assert wires.given(3)[-1][4] == b"later"


def test_a_run_ends_with_its_budget_of_messages() -> None:
    wires = Wires(max_messages=2)
    wires.send(1, 2)
    wires.send(1, 2)
    with pytest.raises(BudgetExceeded, match="2 messages"):
        wires.send(1, 2)


NONSENSE: dict[str, list[Any]] = {
    "a kind": [99],
    "a receiver": [ToHub.MESSAGE, 0, 17, None, b""],
    "a delivery": [ToHub.HANDLED, 0, 5, False],
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_makes_no_sense_is_refused(what: str) -> None:
    wires = Wires()
    with pytest.raises(RemoteProtocolError):
        wires.hub.on_item(1, NONSENSE[what])
    assert wires.hub.in_flight == 0


def test_what_another_one_was_given_cannot_be_handled() -> None:
    wires = Wires()
    wires.send(1, 2)
    with pytest.raises(RemoteProtocolError):
        wires.handled(3, wires.given(2)[0][1])


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("delivery", ["concurrent", "sequenced"])
def test_idle_comes_once_and_after_the_last_handler(delivery: str, seed: int) -> None:
    """Handlers send on at random; some of what they send is announced and arrives later."""
    chance = random.Random(seed)
    wires = Wires(5, delivery, limits=Limits(carrier_credit_frames=2))
    wires.send(1, 2, b"\x05")
    left, late, done = 1, [], 0
    while left or late:
        assert wires.idle == 0, f"seed {seed}"
        if late and chance.random() < 0.5:
            wires.send(*late.pop(0))
            continue
        ready = [(a, item) for a in wires.out for item in wires.given(a)]
        if not ready:
            wires.send(*late.pop(0))
            continue
        address, item = chance.choice(ready)
        wires.out[address].remove(item)
        depth = item[4][0]
        children = chance.randrange(1, 4) if depth else 0
        for _ in range(children):
            late.append((address, chance.randrange(1, 6), bytes([depth - 1])))
        # Its own frames go in order: all that are held by this sender are announced.
        wires.handled(address, item[1], held=sum(frame[0] == address for frame in late))
        left += children - 1
        done += 1
    assert (wires.hub.in_flight, wires.idle) == (0, 1), f"seed {seed}"
    assert wires.hub.statistics().messages == done
