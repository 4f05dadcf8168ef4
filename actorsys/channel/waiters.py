"""Tasks that wait for something to change.

trio's `ParkingLot` with less: every call has one of these, and every message looks at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import outcome
import trio
from trio.lowlevel import enable_ki_protection

if TYPE_CHECKING:
    from .reader import Reader


class Waiters:
    """The tasks that wait at one place, in order.

    If what they wait for comes over a link, its `Reader` may let one of them read it. That one is
    not in the order; ``read_by`` is the reader it does so with, None while there is none.
    """

    __slots__ = ("_tasks", "read_by")

    def __init__(self) -> None:
        self.read_by: Reader | None = None
        self._tasks: list[trio.lowlevel.Task] = []

    def __repr__(self) -> str:
        return f"<Waiters: {len(self._tasks) + (self.read_by is not None)}>"

    def __bool__(self) -> bool:
        return bool(self._tasks) or self.read_by is not None

    @enable_ki_protection
    async def wait(self) -> None:
        """Wait until `wake`; whoever is woken checks for itself what has changed."""
        task = trio.lowlevel.current_task()
        tasks = self._tasks
        tasks.append(task)

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            tasks.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @enable_ki_protection
    async def wait_or_be_cancelled(self) -> bool:
        """Wait as `wait` does; return whether a cancellation has ended the waiting.

        The cancellation is not raised: the next checkpoint does that.
        """
        task = trio.lowlevel.current_task()
        tasks = self._tasks
        tasks.append(task)

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            tasks.remove(task)
            trio.lowlevel.reschedule(task, outcome.Value(True))
            return trio.lowlevel.Abort.FAILED

        return bool(await trio.lowlevel.wait_task_rescheduled(abort))

    @enable_ki_protection
    def wake(self) -> None:
        """Wake every task that waits."""
        tasks = self._tasks
        if tasks:
            for task in tasks:
                trio.lowlevel.reschedule(task)
            tasks.clear()
        if self.read_by is not None:
            self._end_reading()

    @enable_ki_protection
    def wake_one(self) -> None:
        """Wake the task that has waited longest, if any waits."""
        if self._tasks:
            trio.lowlevel.reschedule(self._tasks.pop(0))
        elif self.read_by is not None:
            self._end_reading()

    def _end_reading(self) -> None:
        reader, self.read_by = self.read_by, None
        assert reader is not None
        reader.interrupt()

    def wake_soon(self) -> None:
        """Wake them from between two scheduler passes.

        There, the length of the coming sleep has been decided already; this shortens it.
        """
        if self:
            trio.lowlevel.current_trio_token().run_sync_soon(self.wake)


Wait = Callable[[Waiters], Awaitable[None]]
"""Waits as `Waiters.wait` does, maybe by reading the link that will bring what is waited for."""
