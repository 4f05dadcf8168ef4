"""The hub between the participants of a run: it routes, it orders, and it knows when all is done.

It is a state and nothing else: items come in, items go out. It has no loop, no clock and no
process, and it never looks into a content.

*Under way* is what was sent and is not handled, the commands that run, and what participants hold
open. A frame counts from its arrival here until its receiver says that it is handled. What a
handler has sent arrives before that, on the same link, or is announced with it: so the count cannot
be zero while there is something to come.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ..actor.parcels import Parcel, size_of
from ..errors import BudgetExceeded, RemoteProtocolError
from ..limits import Limits
from .frames import Item, ToHub, ToParticipant
from .lane import Address, ConcurrentLane, Frame, Lane, SequencedLane
from .options import Delivery

_Asker = tuple[Address, int | None]
"""A participant, and the delivery whose handler has made a request, if that is known."""


class RunStatistics(NamedTuple):
    """What has passed through a hub so far, and what is under way."""

    messages: int
    """Messages of all kinds, requests among them."""
    requests: int
    replies: int
    dropped_replies: int
    """Replies that came too late, or a second time."""
    waiting: int
    """Frames that are in the hub right now."""
    in_flight: int


class Hub:
    """Routes the items of one run. Owned by the run; not for use from two threads.

    *deliver* takes an item for a participant and never waits. *on_idle* is called when nothing is
    under way any more.
    """

    def __init__(
        self,
        limits: Limits,
        delivery: Delivery,
        deliver: Callable[[Address, Item], None],
        on_idle: Callable[[], None],
        max_messages: int | None = None,
    ) -> None:
        self.in_flight = 0
        self._limits = limits
        self._deliver = deliver
        self._on_idle = on_idle
        self._max_messages = max_messages
        self._messages = self._requests = self._replies = self._dropped = 0
        self._deliveries = itertools.count()
        self._given: dict[int, tuple[Lane, Frame]] = {}
        self._announced: dict[Address, int] = {}
        self._open_requests: dict[tuple[Address, int], _Asker] = {}
        self._unanswered: Counter[_Asker] = Counter()
        self._replies_to: dict[Address, Lane] = {}
        self._messages_to: dict[Address, Lane] = {}
        self._sequence = (
            SequencedLane(limits, self._accept, self._give, self._is_waiting)
            if delivery == "sequenced"
            else None
        )
        self._steps: dict[int, Callable[..., None]] = {
            ToHub.HANDLED: self._on_handled,
            ToHub.HOLD: self._on_hold,
            ToHub.GIVEN_UP: self._on_given_up,
        }

    def __repr__(self) -> str:
        return f"<Hub: {len(self._messages_to)} participants, {self.in_flight} under way>"

    def add(self, address: Address) -> None:
        """Take in a participant."""
        self._announced[address] = 0
        self._replies_to[address] = ConcurrentLane(self._limits, self._accept, self._give)
        if self._sequence is not None:
            self._messages_to[address] = self._sequence
        else:
            self._messages_to[address] = ConcurrentLane(self._limits, self._accept, self._give)

    def hold(self) -> None:
        """Count something as under way until `release`."""
        self.in_flight += 1

    def release(self) -> None:
        """Count it no more."""
        self.in_flight -= 1
        if not self.in_flight:
            self._on_idle()

    def statistics(self) -> RunStatistics:
        """Return what has passed so far, and what is under way."""
        lanes = {*self._messages_to.values(), *self._replies_to.values()}
        return RunStatistics(
            self._messages,
            self._requests,
            self._replies,
            self._dropped,
            sum(lane.count for lane in lanes),
            self.in_flight,
        )

    # --- what participants send ----------------------------------------------------------

    def on_item(self, sender: Address, item: Item) -> None:
        """Take an item of the participant *sender*; any but `ToHub.DONE`.

        Raises:
          BudgetExceeded: it is one message too many.
          RemoteProtocolError: it makes no sense.
        """
        kind, *rest = item
        if kind == ToHub.MESSAGE:
            self._on_message(sender, *rest)
        elif kind == ToHub.REPLY:
            self._on_reply(sender, *rest)
        elif kind in self._steps:
            self.announce(sender, rest[0])
            self._steps[kind](sender, *rest[1:])
        else:
            raise RemoteProtocolError(f"participant {sender} sent an item of kind {kind!r}")

    def announce(self, sender: Address, held: int) -> None:
        """Count *held* frames of *sender* that are still to arrive as under way."""
        self.in_flight += held - self._announced[sender]
        self._announced[sender] = held

    def _count_arrival(self, sender: Address) -> None:
        if self._announced[sender]:
            self._announced[sender] -= 1
        else:
            self.in_flight += 1

    def _on_message(
        self,
        sender: Address,
        number: int,
        receiver: Address,
        request: int | None,
        packed: Parcel,
        delivery: int | None = None,
    ) -> None:
        lane = self._messages_to.get(receiver)
        if lane is None:
            raise RemoteProtocolError(f"participant {sender} sent to {receiver!r}, which is nobody")
        if self._messages == self._max_messages:
            raise BudgetExceeded(
                f"the run has sent {self._messages:,} messages, its budget (max_messages)"
            )
        self._count_arrival(sender)
        self._messages += 1
        if request is not None:
            self._requests += 1
            asker = self._open_requests[sender, request] = sender, delivery
            self._unanswered[asker] += 1
        lane.push(Frame(sender, number, receiver, request, None, packed, size_of(packed)))

    def _on_reply(
        self,
        sender: Address,
        number: int,
        requester: Address,
        request: int,
        is_error: bool,
        packed: Parcel,
    ) -> None:
        frame = Frame(sender, number, requester, request, is_error, packed, size_of(packed))
        self._count_arrival(sender)
        if not self._close_request(requester, request):
            self._dropped += 1
            self._accept(frame)
            self.release()
            return
        self._replies += 1
        self._replies_to[requester].push(frame)

    def _close_request(self, requester: Address, request: int) -> bool:
        """Forget a request; return whether it was open."""
        asker = self._open_requests.pop((requester, request), None)
        if asker is None:
            return False
        self._unanswered[asker] -= 1
        if not self._unanswered[asker]:
            del self._unanswered[asker]
        return True

    def _is_waiting(self, receiver: Address, delivery: int) -> bool:
        """Tell whether the handler of a delivery may be waiting for a reply.

        A request that does not say which handler it belongs to may be one of each: so it counts.
        """
        return (receiver, delivery) in self._unanswered or (receiver, None) in self._unanswered

    def _on_handled(self, receiver: Address, delivery: int, was_dropped: bool) -> None:
        lane, frame = self._given.pop(delivery, (None, None))
        if lane is None or frame is None or frame.receiver != receiver:
            raise RemoteProtocolError(f"participant {receiver} handled what it was not given")
        self._dropped += was_dropped
        lane.on_handled(delivery, frame)
        lane.advance()
        self.release()

    def _on_hold(self, sender: Address, change: int) -> None:
        if change > 0:
            self.hold()
        else:
            self.release()

    def _on_given_up(self, requester: Address, request: int) -> None:
        self._close_request(requester, request)

    # --- what they are given -------------------------------------------------------------

    def _accept(self, frame: Frame) -> None:
        self._deliver(frame.sender, [ToParticipant.ACCEPTED, frame.number])

    def _give(self, lane: Lane, frame: Frame) -> int:
        delivery = next(self._deliveries)
        self._given[delivery] = lane, frame._replace(packed=b"")
        if frame.is_error is None:
            item = [ToParticipant.MESSAGE, delivery, frame.sender, frame.request, frame.packed]
        else:
            item = [ToParticipant.REPLY, delivery, frame.request, frame.is_error, frame.packed]
        self._deliver(frame.receiver, item)
        return delivery
