"""Who listens to what. There is one broker in a tree, kept with the actor at its root."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor
from ..actor.parcels import Parcel, size_of
from ..channel.pacing import Pacing
from ..errors import LimitExceeded
from ..limits import Limits
from .pattern import check_pattern, is_pattern, matches
from .subscriber import WHEN_FULL, Subscriber, WhenFull

_MAX_REMEMBERED = 16_384  # answers of `find`, and all those in them: a few megabytes
_ENVELOPE_BYTES = 512  # of a message, for the topic and what else stands around a parcel


class Broker:
    """The subscribers of a tree. Who waits in ``changed`` is woken when there are more or fewer."""

    def __init__(self, actor: Actor) -> None:
        self.limits = actor.limits
        self.changed = trio.lowlevel.ParkingLot()
        self._count = 0
        self._by_name: dict[str, dict[Subscriber, None]] = {}
        self._by_pattern: dict[str, dict[Subscriber, None]] = {}
        self._found: dict[str, tuple[Subscriber, ...]] = {}
        self._remembered = 0
        self._pacing = Pacing(self.limits.items_per_checkpoint, self.limits.checkpoint_seconds)

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

    # --- who listens ---------------------------------------------------------------------

    @contextmanager
    def subscribing(self, pattern: str, capacity: int, when_full: WhenFull) -> Iterator[Subscriber]:
        """Have a subscriber while the block runs.

        Raises:
          ValueError: *pattern*, *capacity* or *when_full* is none.
          LimitExceeded: there are too many.
        """
        check_pattern(pattern, self.limits)
        check_rule(capacity, when_full)
        if self._count >= self.limits.max_subscribers:
            raise LimitExceeded(
                f"there are {self._count} subscriptions in this tree (limits.max_subscribers)"
            )
        subscriber = Subscriber(pattern, capacity, when_full, self.limits, self._discard)
        self._groups_of(pattern).setdefault(pattern, {})[subscriber] = None
        self._count += 1
        self._on_change()
        try:
            yield subscriber
        finally:
            subscriber.close()

    def find(self, topic: str) -> tuple[Subscriber, ...]:
        """Return who listens to *topic*."""
        found = self._found.get(topic)
        if found is None:
            groups = [self._by_name.get(topic, {})]
            groups += [group for one, group in self._by_pattern.items() if matches(one, topic)]
            found = tuple(subscriber for group in groups for subscriber in group)
            self._remember(topic, found)
        return found

    def count(self, topic: str) -> int:
        """Return how many listen to *topic*."""
        return len(self.find(topic))

    def _remember(self, topic: str, found: tuple[Subscriber, ...]) -> None:
        self._remembered += 1 + len(found)
        if self._remembered > _MAX_REMEMBERED:
            self._forget()
        self._found[topic] = found

    def _forget(self) -> None:
        self._found.clear()
        self._remembered = 0

    def _discard(self, subscriber: Subscriber) -> None:
        groups = self._groups_of(subscriber.pattern)
        group = groups[subscriber.pattern]
        del group[subscriber]
        if not group:
            del groups[subscriber.pattern]
        self._count -= 1
        self._on_change()

    def _groups_of(self, pattern: str) -> dict[str, dict[Subscriber, None]]:
        return self._by_pattern if is_pattern(pattern) else self._by_name

    def _on_change(self) -> None:
        self._forget()
        self.changed.unpark_all()

    # --- publishing ----------------------------------------------------------------------

    @enable_ki_protection
    async def publish(self, topic: str, parcel: Parcel) -> int:
        """Give an item to all who listen; return how many there were.

        Waits for those who are full and are not to miss anything. If cancelled meanwhile, others
        have it already.
        """
        await self.pause()
        subscribers = self.find(topic)
        waiting = [one for one in subscribers if not one.offer(topic, parcel)]
        for subscriber in waiting:
            await subscriber.put(topic, parcel)
        return len(subscribers)

    async def pause(self) -> None:
        """Be a checkpoint; let others run now and then where nobody has to wait."""
        await self._pacing.checkpoint()


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


def check_fits(parcel: Parcel, limits: Limits) -> Parcel:
    """Return *parcel* if it fits into a message to those who listen.

    Raises:
      LimitExceeded: it does not.
    """
    most = limits.max_message_bytes - _ENVELOPE_BYTES
    if size_of(parcel) > most:
        raise LimitExceeded(
            f"the value has {size_of(parcel):,} bytes, and may have {most:,} "
            f"(limits.max_message_bytes); publish large data as a buffer"
        )
    return parcel
