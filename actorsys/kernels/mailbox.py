"""A bounded queue of messages with strict priority, a rule for when it is full, and a gate."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import MailboxFull
from .priority_queue import PriorityQueue

T = TypeVar("T")


class BackpressureStrategy(enum.Enum):
    """What becomes of a message for a mailbox that is full."""

    BLOCK = "block"
    """Its sender waits until there is room. Who waits with the highest priority comes first."""

    REJECT = "reject"
    """Its sender gets `MailboxFull` at once."""

    DROP_OLDEST = "drop_oldest"
    """The oldest message of the lowest priority makes room; never a better one than itself."""

    DROP_NEW = "drop_new"
    """It is dropped."""


class _Waiting(Generic[T]):
    """A sender that waits for room."""

    __slots__ = ("item", "priority", "task")

    def __init__(self, item: T, priority: int, task: trio.lowlevel.Task) -> None:
        self.item = item
        self.priority = priority
        self.task: trio.lowlevel.Task | None = task


class Mailbox(Generic[T]):
    """A queue of at most *capacity* items.

    *on_put* is called when something is there to be taken, and *on_drop* with each item that is
    dropped because the mailbox was full. ``held`` counts items that were taken and still take up
    room, until whoever took them lowers it and calls `make_room`.
    """

    def __init__(
        self,
        capacity: int,
        strategy: BackpressureStrategy,
        on_put: Callable[[], None],
        on_drop: Callable[[T], None],
    ) -> None:
        self.queue: PriorityQueue[T] = PriorityQueue()
        self.capacity = capacity
        self.strategy = strategy
        self.held = 0
        self._on_put = on_put
        self._on_drop = on_drop
        self._waiting: PriorityQueue[_Waiting[T]] = PriorityQueue()

    def __repr__(self) -> str:
        return f"<Mailbox: {len(self)} of {self.capacity}, {self.strategy.value}>"

    def __len__(self) -> int:
        return len(self.queue) + self.held

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self.queue) + self.held >= self.capacity

    @enable_ki_protection
    async def put(self, item: T, priority: int) -> None:
        """Put *item* in, or do what the strategy says. If cancelled, it is not in.

        Raises:
          MailboxFull: there is no room, and the strategy is REJECT.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.is_full:
            self.queue.push(item, priority)
            self._on_put()
        elif self.strategy is BackpressureStrategy.BLOCK:
            await self._wait_room(item, priority)
        else:
            self._overflow(item, priority)

    def everything(self) -> Iterator[T]:
        """Yield what is in, and then what senders wait to put in."""
        yield from self.queue
        for waiting in self._waiting:
            yield waiting.item

    def make_room(self) -> None:
        """Let senders that wait put their items into the room there is now."""
        while self._waiting and not self.is_full:
            waiting = self._waiting.pop()
            if waiting.task is not None:
                self.queue.push(waiting.item, waiting.priority)
                trio.lowlevel.reschedule(waiting.task)
                waiting.task = None
        if self.queue:
            self._on_put()

    def refuse(self, make_error: Callable[[], Exception]) -> None:
        """Raise an error at every sender that waits."""
        import outcome

        for waiting in self._waiting.clear():
            if waiting.task is not None:
                trio.lowlevel.reschedule(waiting.task, outcome.Error(make_error()))
                waiting.task = None

    async def _wait_room(self, item: T, priority: int) -> None:
        waiting = _Waiting(item, priority, trio.lowlevel.current_task())
        self._waiting.push(waiting, priority)

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            waiting.task = None
            self._waiting.discard(waiting, priority)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _overflow(self, item: T, priority: int) -> None:
        if self.strategy is BackpressureStrategy.REJECT:
            raise MailboxFull(
                f"the mailbox is full: it holds {self.capacity} messages (queue_size); send more "
                f"slowly, or launch with BackpressureStrategy.BLOCK"
            )
        is_replaceable = self.queue and self.queue.least <= priority
        if self.strategy is BackpressureStrategy.DROP_OLDEST and is_replaceable:
            self._on_drop(self.queue.pop_least())
            self.queue.push(item, priority)
            self._on_put()
        else:
            self._on_drop(item)
