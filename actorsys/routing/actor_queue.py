"""What waits for one actor."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .accepted import Accepted
    from .intake import Sender
    from .protocol import ActorId, Protocol, RoutedMessage
    from .route import Route

Lane = OrderedDict["Accepted", None]
"""Messages in order. Any of them can be taken out in a few steps, however long it is."""


class ActorQueue:
    """The messages of one actor in order of acceptance, those of its control lane first.

    Attributes:
      actor_id: the actor; its `RouteTable` has it under this id.
      route_name: the route it is assigned to, which may be missing; None if to none.
      in_flight: the message that a route sends right now; until it is done, no other one leaves.
      ring: the route that has it in its ring, and will take its first message in turn.
      is_held: whether nothing may leave because it is being moved.
      resume_at: when it may be tried again after a failure, None if at once.
      failures: how often in a row its route could not take its message.
      senders: tasks that wait for room, in order.
    """

    __slots__ = (
        "_control",
        "_data",
        "_has_absorbed",
        "_newest",
        "actor_id",
        "failures",
        "in_flight",
        "is_held",
        "resume_at",
        "ring",
        "route_name",
        "senders",
    )

    def __init__(self, actor_id: ActorId) -> None:
        self.actor_id = actor_id
        self.route_name: str | None = None
        self.in_flight: Accepted | None = None
        self.ring: Route | None = None
        self.is_held = False
        self.resume_at: float | None = None
        self.failures = 0
        self.senders: OrderedDict[Sender, None] = OrderedDict()
        self._control: Lane = OrderedDict()
        self._data: Lane = OrderedDict()
        self._newest: dict[Protocol, Accepted] = {}
        self._has_absorbed = False  # then, what is behind may be older

    def __repr__(self) -> str:
        where = "unassigned" if self.route_name is None else f"on {self.route_name!r}"
        return f"<ActorQueue of {self.actor_id!r}: {len(self)} waiting, {where}>"

    def __len__(self) -> int:
        return len(self._control) + len(self._data)

    def __iter__(self) -> Iterator[Accepted]:
        """Yield what waits as `pop` would, and leave it in."""
        yield from self._control
        yield from self._data

    @property
    def can_leave(self) -> bool:
        """Whether its first message may be sent, if there is a route for it."""
        return (
            self.in_flight is None
            and self.ring is None
            and self.resume_at is None
            and not self.is_held
            and (bool(self._data) or bool(self._control))
        )

    @property
    def is_unclaimed(self) -> bool:
        """Whether messages are all there is of the actor: nobody has assigned it."""
        return self.route_name is None and self.in_flight is None and not self.is_held

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost without it."""
        return self.is_unclaimed and not self.senders and not len(self)

    @property
    def oldest_at(self) -> float:
        """When the oldest message that waits was accepted; there is one."""
        if self._has_absorbed:
            return min(item.accepted_at for item in self)
        firsts = [next(iter(lane)) for lane in (self._control, self._data) if lane]
        return min(first.accepted_at for first in firsts)

    def addressed(self, message: RoutedMessage) -> RoutedMessage:
        """Return *message* with the id that the actor has now."""
        if message.actor_id == self.actor_id:
            return message
        return dataclasses.replace(message, actor_id=self.actor_id)

    def push(self, item: Accepted) -> None:
        """Put *item* behind the others of its lane."""
        self._lane(item)[item] = None

    def push_front(self, item: Accepted) -> None:
        """Put *item*, which was taken out, in front of the others of its lane."""
        lane = self._lane(item)
        lane[item] = None
        lane.move_to_end(item, last=False)

    def pop(self) -> Accepted:
        """Take the first one out.

        Raises:
          KeyError: nothing waits.
        """
        return (self._control or self._data).popitem(last=False)[0]

    def discard(self, item: Accepted) -> bool:
        """Take *item* out, if it is in; return whether it was."""
        lane = self._lane(item)
        if item in lane:
            del lane[item]
            return True
        return False

    def oldest_behind(self, is_control: bool) -> Accepted | None:
        """Return the oldest message that a new one, of this lane, does not have to wait for."""
        if self._data:
            return next(iter(self._data))
        return next(iter(self._control)) if is_control and self._control else None

    def newest(self, kind: Protocol) -> Accepted | None:
        """Return what `remember` was given for *kind*, if it still waits."""
        item = self._newest.get(kind)
        return item if item is not None and item in self._lane(item) else None

    def remember(self, item: Accepted) -> None:
        """Keep *item* as the newest of its kind."""
        self._newest[item.message.protocol] = item

    def rename(self, actor_id: ActorId) -> None:
        """Address everything that waits to *actor_id*."""
        self.actor_id = actor_id
        for item in self:
            item.message = self.addressed(item.message)

    def absorb(self, other: ActorQueue) -> None:
        """Put all that waits in *other*, and its senders, behind the own."""
        self._has_absorbed = True
        for item in other:
            item.queue = self
            item.message = self.addressed(item.message)
            self.push(item)
        for sender in other.senders:
            sender.queue = self
        self.senders.update(other.senders)
        other.senders.clear()

    def _lane(self, item: Accepted) -> Lane:
        return self._control if item.is_control else self._data
