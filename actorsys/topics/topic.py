"""A topic: anybody in the tree can publish to it, and anybody can listen."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from ..actor import current_actor
from ..actor.discovery import portal_to_root
from . import service
from .broker import Broker, check_rule
from .pattern import check_form, check_pattern, check_topic
from .publisher import Publisher, pack_item, publish_in_root, publish_over_link
from .subscriber import WhenFull
from .subscription import TopicSubscription, subscribe_in_root, subscribe_over_link

_CAPACITY = 64


class Topic:
    """A topic by its name, words joined by dots; or with ``*`` and ``**``, all that match.

    There is nothing to open or close: a topic is where its name is. What is published goes to
    those who listen at that moment, and is not kept for others.

    Raises:
      ValueError: *name* is neither a name nor a pattern.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        check_form(name)
        self.name = name

    def __repr__(self) -> str:
        return f"Topic({self.name!r})"

    async def publish(self, value: Any) -> int:
        """Give *value*, as it is now, to all who listen, and return how many these are.

        Waits for those who are full and are not to miss anything. If cancelled, some may have it
        already.

        Raises:
          ValueError: this is a pattern, or too long.
          EncodeError, LimitExceeded: it cannot travel.
          ActorUnavailable: the link to the root is lost.
          NoRuntime: there is no actor runtime here.
        """
        actor = current_actor()
        check_topic(self.name, actor.limits)
        parcel = pack_item(value, actor.limits)
        root = portal_to_root(actor)
        if root is None:
            return await Broker.of(actor).publish(self.name, parcel)
        count: int = await root.run(service.publish, self.name, parcel)
        return count

    async def count_subscribers(self) -> int:
        """Return how many listen to it right now.

        Raises:
          ValueError: this is a pattern, or too long.
          ActorUnavailable: the link to the root is lost.
          NoRuntime: there is no actor runtime here.
        """
        actor = current_actor()
        check_topic(self.name, actor.limits)
        root = portal_to_root(actor)
        if root is None:
            await trio.lowlevel.checkpoint()
            return Broker.of(actor).count(self.name)
        count: int = await root.run(service.count_subscribers, self.name)
        return count

    def open_publisher(self) -> AbstractAsyncContextManager[Publisher]:
        """Open a `Publisher`, for whoever has much to publish: it does not wait for answers.

        Leaving the block waits until all have taken what was sent, or the root keeps it for them.

        Raises:
          ValueError: this is a pattern, or too long.
          ActorUnavailable: on entering, or in the block: the link to the root is lost.
          NoRuntime: there is no actor runtime here.
        """
        actor = current_actor()
        check_topic(self.name, actor.limits)
        root = portal_to_root(actor)
        if root is None:
            return publish_in_root(Broker.of(actor), self.name)
        return publish_over_link(root, actor.limits, self.name)

    def subscribe(
        self, *, capacity: int = _CAPACITY, when_full: WhenFull = "block"
    ) -> AbstractAsyncContextManager[TopicSubscription]:
        """Listen while the block runs: what is published from when it is entered is received.

        *capacity* items may wait at the root, and in another actor as many more may be on the way
        unread. When there is no room, *when_full* decides: ``"block"`` lets publishers wait,
        ``"drop_oldest"`` drops what waits longest, ``"drop_new"`` what has just come, and
        ``"end"`` ends the subscription, with `SubscriberTooSlow` once what had come before was
        read.

        Raises:
          ValueError: *capacity* or *when_full* is none, or the name is too long.
          LimitExceeded: on entering: the tree has too many subscriptions.
          ActorUnavailable: on entering, or in the block: the link to the root is lost.
          NoRuntime: there is no actor runtime here.
        """
        actor = current_actor()
        check_pattern(self.name, actor.limits)
        check_rule(capacity, when_full)
        root = portal_to_root(actor)
        if root is None:
            return subscribe_in_root(Broker.of(actor), self.name, capacity, when_full)
        return subscribe_over_link(root, self.name, capacity, when_full)
