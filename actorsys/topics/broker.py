"""Who listens to what. There is one broker in a tree, kept with the actor at its root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor
from ..actor.parcels import Parcel
from ..errors import LimitExceeded
from .pattern import check_pattern, check_topic, is_pattern, matches
from .subscriber import WHEN_FULL, Subscriber, WhenFull


class Broker:
    """The subscribers of a tree. Who waits in ``changed`` is woken when there are more or fewer."""

    def __init__(self, actor: Actor) -> None:
        self._limits = actor.limits
        self._by_name: dict[str, list[Subscriber]] = {}
        self._by_pattern: list[Subscriber] = []
        self._found: dict[str, tuple[Subscriber, ...]] = {}
        self._unpaused = 0
        self.changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Broker of {self._count} subscribers>"

    @classmethod
    def of(cls, actor: Actor) -> Broker:
        """Return the broker that is kept with *actor*, the root."""
        broker = actor.attachments.get(cls)
        if broker is None:
            broker = actor.attachments[cls] = cls(actor)
        assert isinstance(broker, cls)
        return broker

    @property
    def _count(self) -> int:
        return len(self._by_pattern) + sum(map(len, self._by_name.values()))

    # --- who listens ---------------------------------------------------------------------

    @contextmanager
    def subscribing(self, pattern: str, capacity: int, when_full: WhenFull) -> Iterator[Subscriber]:
        """Have a subscriber while the block runs.

        Raises:
          ValueError: *pattern*, *capacity* or *when_full* is none.
          LimitExceeded: there are too many.
        """
        check_pattern(pattern, self._limits)
        check_rule(capacity, when_full)
        if self._count >= self._limits.max_subscribers:
            raise LimitExceeded(f"{self._count} subscribers (limits.max_subscribers)")
        subscriber = Subscriber(pattern, capacity, when_full, self._limits)
        group = self._group_of(pattern)
        group.append(subscriber)
        self._on_change()
        try:
            yield subscriber
        finally:
            group.remove(subscriber)
            if not group and not is_pattern(pattern):
                del self._by_name[pattern]
            subscriber.end()
            self._on_change()

    def find(self, topic: str) -> tuple[Subscriber, ...]:
        """Return who listens to *topic*."""
        found = self._found.get(topic)
        if found is None:
            by_pattern = [one for one in self._by_pattern if matches(one.pattern, topic)]
            found = (*self._by_name.get(topic, ()), *by_pattern)
            if len(self._found) < self._limits.max_subscribers:
                self._found[topic] = found
        return found

    def count(self, topic: str) -> int:
        """Return how many listen to *topic*."""
        return len(self.find(topic))

    def _group_of(self, pattern: str) -> list[Subscriber]:
        return self._by_pattern if is_pattern(pattern) else self._by_name.setdefault(pattern, [])

    def _on_change(self) -> None:
        self._found.clear()
        self.changed.unpark_all()

    # --- publishing ----------------------------------------------------------------------

    @enable_ki_protection
    async def publish(self, topic: str, parcel: Parcel) -> int:
        """Give an item to all who listen; return how many there were.

        Waits for those who are full and are not to miss anything. If cancelled meanwhile, others
        have it already.
        """
        await self._pause()
        subscribers = self.find(topic)
        waiting = [one for one in subscribers if not one.offer(topic, parcel)]
        for subscriber in waiting:
            await subscriber.put(topic, parcel)
        return len(subscribers)

    async def _pause(self) -> None:
        """Be a checkpoint; let others run now and then where nobody has to wait."""
        self._unpaused += 1
        if self._unpaused >= self._limits.items_per_checkpoint:
            self._unpaused = 0
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def check_topic(self, topic: str) -> str:
        """Return *topic* if it can be published to; else as `pattern.check_topic`."""
        return check_topic(topic, self._limits)


def check_rule(capacity: int, when_full: str) -> None:
    """Refuse nonsense.

    Raises:
      ValueError: it is.
    """
    if type(capacity) is not int or capacity < 1:
        raise ValueError(f"capacity is a number of items from 1, not {capacity!r}")
    if when_full not in WHEN_FULL:
        raise ValueError(
            f"when_full is one of {', '.join(map(repr, WHEN_FULL))}, not {when_full!r}"
        )
