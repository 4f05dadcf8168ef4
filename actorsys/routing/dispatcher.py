"""The dispatcher, as its users see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..channel.pacing import Pacing
from ..errors import ChannelClosed
from ..limits import RoutingLimits
from .accepted import Reply
from .dead_letters import DeadLetters
from .desk import SendingDesk
from .ledger import Ledger
from .migration import migrate
from .protocol import (
    ActorId,
    RoutedMessage,
    checked_actor_id,
    checked_route_name,
    checked_seconds,
)
from .route import Route, sender_of
from .route_table import RouteTable
from .statistics import RoutingStatistics, statistics_of


class RouterDispatcher:
    """Brings messages to actors, each over the route that its actor is assigned to.

    Open one with `open_dispatcher`. The messages of an actor are sent in the order in which they
    were accepted, one at a time, whatever happens to its route meanwhile; an actor without a route
    keeps its messages until it has one. A message comes to exactly one end: it is delivered, once
    its route has returned, or it is a dead letter.
    """

    def __init__(
        self,
        table: RouteTable,
        ledger: Ledger,
        desk: SendingDesk,
        limits: RoutingLimits,
        pumps: trio.Nursery,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._desk = desk
        self._intake = desk.intake
        self._limits = limits
        self._pumps = pumps
        self._pacing = Pacing(limits.sends_per_checkpoint, limits.checkpoint_seconds)

    def __repr__(self) -> str:
        return f"<RouterDispatcher: {self._table!r}, {self._ledger!r}>"

    # --- messages ------------------------------------------------------------------------

    @property
    def dead_letters(self) -> DeadLetters:
        """The messages that were accepted and not delivered, as a stream; see `DeadLetters`."""
        return self._ledger.letters

    async def dispatch(self, message: RoutedMessage) -> None:
        """Accept *message*; it is delivered, or a dead letter, later.

        It waits only if there is no room for it, and the rule of its kind is to wait (`Overflow`).
        If cancelled, it was not accepted.

        Raises:
          MailboxFull: there is no room, and the rule is to refuse.
          ChannelClosed: the dispatcher was closed.
          TypeError, ValueError: this is no message, or its deadline is none.
        """
        await self._put(message, None)

    @enable_ki_protection
    def dispatch_nowait(self, message: RoutedMessage) -> None:
        """Accept *message* as `dispatch` does, if that can be done at once.

        Raises:
          trio.WouldBlock: it would have to wait.
          MailboxFull, ChannelClosed, TypeError, ValueError: as `dispatch`.
        """
        self._intake.check(message)
        queue = self._table.queue_of(message.actor_id)
        try:
            if not self._intake.put(message, queue, None):
                raise trio.WouldBlock
        finally:
            self._table.forget_if_idle(queue)

    async def request(self, message: RoutedMessage) -> Any:
        """Dispatch *message*, wait until it is delivered, and return what its route has returned.

        If cancelled after it was accepted, it is delivered all the same.

        Raises:
          DeadlineExceeded: it was not delivered in time; also a TimeoutError.
          DeadLettered: it was not delivered; ``letter.reason`` says why.
          MailboxFull, ChannelClosed, TypeError, ValueError: as `dispatch`.
        """
        reply = Reply()
        await self._put(message, reply)
        return await reply.wait()

    @enable_ki_protection
    async def _put(self, message: RoutedMessage, reply: Reply | None) -> None:
        await self._pacing.checkpoint()
        self._intake.check(message)
        queue = self._table.queue_of(message.actor_id)
        try:
            if not self._intake.put(message, queue, reply):
                await self._intake.wait(message, queue, reply)
        finally:
            if queue.route_name is None:
                self._table.forget_if_idle(queue)

    # --- routes --------------------------------------------------------------------------

    @enable_ki_protection
    def add_route(self, name: str, send: Any, *, is_cancel_safe: bool | None = None) -> None:
        """Add a route, and wake the actors that are assigned to it.

        *send* is an async function that takes a `RoutedMessage`, or a channel such as a `MsgStream`
        or a memory channel. One task calls it, for one message at a time; the message is delivered
        when it returns. If it raises, the message is dead, is tried again, or the route is closed,
        as `failures.Failure` tells. A route that was closed by an error is logged, is in
        ``statistics().closed_routes``, and can be added again.

        A send that is under way at its message's deadline is cancelled. *is_cancel_safe* says that
        a message has provably not been taken then, as with channels, for which it is the default:
        such a message may be sent over another route.

        Raises:
          ValueError: there is an open route of this name.
          TypeError: *send* cannot be used to send, or *name* is no name.
          ChannelClosed: the dispatcher was closed.
        """
        self._check_open()
        checked_route_name(name)
        function, is_channel = sender_of(send)
        is_safe = is_channel if is_cancel_safe is None else is_cancel_safe
        route = Route(
            name, function, is_channel=is_channel, is_cancel_safe=is_safe, limits=self._limits
        )
        self._table.add(route)
        self._desk.running.add(route)
        self._pumps.start_soon(route.run, self._desk, name=f"pump of route {name!r}")

    @enable_ki_protection
    def remove_route(self, name: str) -> None:
        """Remove a route. Its actors stay assigned to the name, and keep their messages.

        A send that is under way goes on, up to its deadline; if it is cancel-safe, its message is
        taken back instead, at once.

        Raises:
          NotRouted: there is no such route.
        """
        route = self._table.remove(name)
        if route.is_cancel_safe:
            route.call_off(None)

    @property
    def routes(self) -> dict[str, list[ActorId]]:
        """The actors of each route that is there or that somebody is assigned to."""
        routes: dict[str, list[ActorId]] = {name: [] for name in self._table.routes}
        for queue in self._table.queues.values():
            if queue.route_name is not None:
                routes.setdefault(queue.route_name, []).append(queue.actor_id)
        return routes

    # --- actors --------------------------------------------------------------------------

    @enable_ki_protection
    def assign(self, actor_id: ActorId, route: str) -> None:
        """Send the messages of an actor over *route*, those that wait first.

        The route need not be there yet. A message of the actor that is in flight on another route
        arrives there; the next one leaves when it has.

        Raises:
          ChannelClosed: the dispatcher was closed.
          TypeError: this is no actor id, or no name of a route.
        """
        self._check_open()
        checked_route_name(route)
        self._table.assign(self._table.queue_of(actor_id), route)

    @enable_ki_protection
    def unassign(self, actor_id: ActorId) -> None:
        """Let the messages of an actor wait until it is assigned again."""
        queue = self._table.find(actor_id)
        if queue is not None:
            self._table.assign(queue, None)
            self._table.forget_if_idle(queue)

    @enable_ki_protection
    def rename(self, old: ActorId, new: ActorId) -> None:
        """Give an actor another id. Its route and its messages, now addressed to it, go along.

        Messages for *new* that came early, before it was the id of anybody, follow behind.

        Raises:
          NotRouted: there is no actor *old*.
          ValueError: *new* is an actor already.
        """
        early = self._table.rename(old, new)
        queue = self._table.queues[new]
        if early is not None:
            self._intake.merge(queue, early)
        self._table.ready(queue)
        self._intake.make_room(queue)

    @enable_ki_protection
    def remove(self, actor_id: ActorId) -> int:
        """Remove an actor: its messages become dead letters. Return how many those are.

        One in flight is cancelled, and is a dead letter unless it was delivered first.
        """
        queue = self._table.find(actor_id)
        if queue is None:
            return 0
        del self._table.queues[actor_id]
        return self._desk.remove(queue)

    def open_migration(self, targets: Mapping[ActorId, str]) -> AbstractAsyncContextManager[None]:
        """Move actors to other routes, all or none, around a block.

        An async context manager. In the block nothing of these actors is in flight, and nothing
        leaves: what comes meanwhile waits. At the end of the block each of them is assigned to its
        route in *targets*. If the block raises or is cancelled, all keep the route they had.

        Entering waits until what is in flight for them has arrived, or has been taken back from a
        route that is cancel-safe.

        Raises:
          NotRouted: a route of *targets* is missing or closed, before the block or after it.
          trio.BusyResourceError: one of the actors is being moved already.
          TypeError: *targets* is no mapping of actor ids to names.
        """
        return migrate(self._table, self._desk, targets)

    async def move(self, actor_ids: Iterable[ActorId], route: str) -> None:
        """Move actors to *route*, all or none. If cancelled, all keep the route they had.

        Returns when nothing of them is in flight on another route any more.

        Raises:
          NotRouted, trio.BusyResourceError, TypeError: as `open_migration`.
        """
        if isinstance(actor_ids, str):
            raise TypeError(f"move takes several actor ids; to move one, give [{actor_ids!r}]")
        async with self.open_migration(
            dict.fromkeys((checked_actor_id(actor_id) for actor_id in actor_ids), route)
        ):
            pass

    # --- the end -------------------------------------------------------------------------

    def statistics(self) -> RoutingStatistics:
        """Return what has been done so far."""
        return statistics_of(self._table, self._ledger, self._desk)

    async def aclose(self, grace: float | None = None) -> RoutingStatistics:
        """Accept nothing any more, deliver what can be delivered, and bury the rest.

        It waits up to *grace* seconds, 3 by default, for messages that have an open route, and not
        for others; then sends under way are cancelled. The dead letters can be read afterwards. If
        cancelled, the grace is over at once. Returns the final counts.

        Raises:
          TypeError, ValueError: *grace* is no number of seconds; nothing was closed.
        """
        grace = self._limits.close_grace_seconds if grace is None else grace
        checked_seconds("grace", grace)
        self._intake.close(self._table.queues.values())
        try:
            with trio.move_on_after(grace):
                await trio.lowlevel.checkpoint()
                while self._desk.has_work:
                    await self._desk.changed.park()
        finally:
            self._desk.stop()
        with trio.move_on_after(self._limits.call_off_seconds):
            while self._desk.running:
                await self._desk.changed.park()
        self._desk.finish()
        return self.statistics()

    def _check_open(self) -> None:
        if not self._intake.is_open:
            raise ChannelClosed("this dispatcher was closed; open another one")
