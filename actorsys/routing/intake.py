"""The way in: room for so many messages, and what becomes of one that finds none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NoReturn

import outcome
import trio
from trio.lowlevel import enable_ki_protection

from ..errors import ChannelClosed, MailboxFull
from .accepted import Accepted, Reply
from .actor_queue import ActorQueue
from .dead_letters import DeadReason
from .ledger import Ledger
from .options import DispatcherOptions
from .overflow import Overflow
from .protocol import Protocol, RoutedMessage, checked_seconds


class Sender:
    """A task that waits until its message is accepted. Owned by the queue it waits for."""

    __slots__ = ("message", "queue", "reply", "task")

    def __init__(self, message: RoutedMessage, queue: ActorQueue, reply: Reply | None) -> None:
        self.message = message
        self.queue = queue
        self.reply = reply
        self.task = trio.lowlevel.current_task()

    def __repr__(self) -> str:
        return f"<Sender of {self.message!r}>"


class Intake:
    """Accepts messages into the queues of their actors, and calls *on_accepted* with each.

    A sender that waits is served by whoever makes room, in order; its message is accepted before
    its task runs again. So one that is cancelled while it waits has not been accepted.
    """

    def __init__(
        self,
        ledger: Ledger,
        options: DispatcherOptions,
        on_accepted: Callable[[Accepted], None],
    ) -> None:
        self.refused = 0
        self.coalesced = 0
        self.is_open = True
        self._ledger = ledger
        self._limits = options.limits
        self._deadlines = options.deadline_of_each()
        self._overflow = options.rule_of_each()
        self._control = frozenset(options.control)
        self._on_accepted = on_accepted
        # Queues with senders that may find room; those that are full themselves come back with
        # `make_room`.
        self._hungry: OrderedDict[ActorQueue, None] = OrderedDict()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<Intake: {state}, {self._ledger!r}, {len(self._hungry)} queues hungry>"

    def check(self, message: RoutedMessage) -> None:
        """Refuse what cannot be accepted.

        Raises:
          ChannelClosed: the dispatcher was closed.
          TypeError, ValueError: this is no message, or its deadline is none.
        """
        if not self.is_open:
            raise ChannelClosed("this dispatcher was closed; it accepts no more messages")
        if not isinstance(message, RoutedMessage) or not isinstance(message.protocol, Protocol):
            raise TypeError(f"a RoutedMessage with a Protocol is dispatched, not {message!r}")
        if message.deadline is not None:
            checked_seconds("the deadline of a message", message.deadline)

    def put(self, message: RoutedMessage, queue: ActorQueue, reply: Reply | None) -> bool:
        """Do what there is to do at once; return whether the message was accepted.

        If not, its sender has to wait.

        Raises:
          MailboxFull: there is no room, and the rule of its kind is REJECT.
        """
        if not self._is_full(queue):
            self._accept(message, queue, reply)
            return True
        rule = self._overflow[message.protocol]
        if rule is Overflow.COALESCE and queue.newest(message.protocol) is not None:
            self._accept(message, queue, reply)
            return True
        if rule is Overflow.BLOCK or rule is Overflow.COALESCE:
            return False
        if rule is Overflow.REJECT:
            self._refuse(message, queue)
        self._drop(rule, message, queue, reply)
        return True

    @enable_ki_protection
    async def wait(self, message: RoutedMessage, queue: ActorQueue, reply: Reply | None) -> None:
        """Wait until the message is accepted; if cancelled, it was not.

        Raises:
          ChannelClosed: the dispatcher was closed meanwhile.
        """
        sender = Sender(message, queue, reply)
        queue.senders[sender] = None
        self._hungry[queue] = None

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            del sender.queue.senders[sender]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def make_room(self, queue: ActorQueue) -> None:
        """Let senders that wait have the room there is, after something has left *queue*.

        Queues that have room of their own, and wait for it in the whole, take turns.
        """
        if queue.senders:
            self._hungry[queue] = None
        while self._hungry and self._ledger.pending < self._limits.max_pending:
            fed, _ = self._hungry.popitem(last=False)
            if fed.senders and len(fed) < self._limits.max_waiting_per_actor:
                self._let_in_next(fed)
                self._hungry[fed] = None

    def let_in_all(self, queue: ActorQueue) -> None:
        """Accept what senders of *queue* wait with, room or not: its actor is to be removed."""
        while queue.senders:
            self._let_in_next(queue)

    def close(self, queues: Iterable[ActorQueue]) -> None:
        """Accept nothing any more, from senders that wait at *queues* either."""
        self.is_open = False
        self._hungry.clear()
        for queue in queues:
            while queue.senders:
                sender, _ = queue.senders.popitem(last=False)
                error = ChannelClosed("this dispatcher was closed; the message was not accepted")
                trio.lowlevel.reschedule(sender.task, outcome.Error(error))

    def take_back(self, item: Accepted) -> bool:
        """Let *item*, which was not sent, be the first in its queue again.

        Return whether it is: where only the newest waits, a newer one may have come.
        """
        newer = item.queue.newest(item.message.protocol)
        item.queue.push_front(item)
        if newer is None:
            self._coalesce(item, None)
        else:
            self._coalesce(newer, item)
        return not item.is_settled

    def merge(self, queue: ActorQueue, early: ActorQueue) -> None:
        """Put what waits in *early* behind that in *queue*, for which it was meant."""
        pairs = [(queue.newest(kind), early.newest(kind)) for kind in Protocol]
        queue.absorb(early)
        for own, other in pairs:
            if other is not None:
                self._coalesce(other, own)

    # --- inside --------------------------------------------------------------------------

    def _coalesce(self, newer: Accepted, older: Accepted | None) -> None:
        """Let only the newer of two that wait stay, if that is the rule of their kind.

        After a rename, the one that was taken for older may prove to be newer.
        """
        if self._overflow[newer.message.protocol] is not Overflow.COALESCE:
            return
        if older is not None:
            if older.accepted_at > newer.accepted_at:
                newer, older = older, newer
            self.coalesced += 1
            self._bury(older)
        newer.queue.remember(newer)

    def _is_full(self, queue: ActorQueue) -> bool:
        return (
            len(queue) >= self._limits.max_waiting_per_actor
            or self._ledger.pending >= self._limits.max_pending
        )

    def _let_in_next(self, queue: ActorQueue) -> None:
        sender, _ = queue.senders.popitem(last=False)
        self._accept(sender.message, queue, sender.reply)
        trio.lowlevel.reschedule(sender.task)

    def _accept(self, message: RoutedMessage, queue: ActorQueue, reply: Reply | None) -> None:
        item = self._book(message, queue, reply)
        queue.push(item)
        self._coalesce(item, queue.newest(message.protocol))
        self._on_accepted(item)

    def _book(self, message: RoutedMessage, queue: ActorQueue, reply: Reply | None) -> Accepted:
        now = trio.current_time()
        own = message.deadline
        expires_at = now + (self._deadlines[message.protocol] if own is None else own)
        is_control = message.protocol in self._control
        self._ledger.enter()
        return Accepted(queue.addressed(message), queue, now, expires_at, is_control, reply)

    def _refuse(self, message: RoutedMessage, queue: ActorQueue) -> NoReturn:
        self.refused += 1
        raise MailboxFull(
            f"there is no room for {message.protocol.name} to actor {message.actor_id!r}: "
            f"{len(queue)} messages wait for it, {self._ledger.pending} are pending in all; send "
            f"more slowly, or open the dispatcher with another overflow= or limits="
        )

    def _drop(
        self, rule: Overflow, message: RoutedMessage, queue: ActorQueue, reply: Reply | None
    ) -> None:
        is_control = message.protocol in self._control
        oldest = queue.oldest_behind(is_control) if rule is Overflow.DROP_OLDEST else None
        if oldest is None:
            self._bury(self._book(message, queue, reply))
        else:
            self._bury(oldest)
            self._accept(message, queue, reply)

    def _bury(self, item: Accepted) -> None:
        item.queue.discard(item)
        self._ledger.bury(item, DeadReason.OVERFLOW, trio.current_time())
