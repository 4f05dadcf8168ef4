"""What waits until the work that is queued on a device is done: to give its memory back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from ..channel.waiters import Waiters
from ..cuda import Gpu
from ..errors import BufferFault

_TIDY_SECONDS = 0.5
"""How often is looked for what rests. A slab that nobody uses is unmapped after one to two times
as long; a stream of buffers with shorter gaps maps it once."""

RunBlocking = Callable[[Callable[[], None], trio.CapacityLimiter], Awaitable[None]]
"""Runs a function where it does not hold up the loop, as a `Host` does; abandons it if cancelled.
"""

_logger = logging.getLogger("actorsys.buffers")


class _Batch:
    """What is done together, when the device has come so far."""

    def __init__(self, tasks: list[Callable[[], None]]) -> None:
        self.is_done = False
        self._tasks = tasks

    def finish(self) -> bool:
        """Do it, and return true, if the device has come so far."""
        if self.is_done:
            for task in self._tasks:
                task()
        return self.is_done


def _wake() -> None:
    """Do nothing: that it is called is enough."""


class Settling:
    """Does things once a device has done all that this process had queued. Owned by a store.

    There is one thread at most that waits, whatever has to wait for it.
    """

    def __init__(
        self, gpu: Gpu, services: trio.Nursery, run_blocking: RunBlocking, grace_seconds: float
    ) -> None:
        self._gpu = gpu
        self._run_blocking = run_blocking
        self._services = services
        self._grace_seconds = grace_seconds
        self._threads = trio.CapacityLimiter(1)
        self._left: list[Callable[[], None]] = []
        self._asked = 0  # how many tasks there were so far, and how many of them are over
        self._over = 0
        self._is_settling = False
        self._waiting = trio.CancelScope(shield=True)
        self._is_tidying = False
        self._is_closed = False
        self._settled = Waiters()

    def __repr__(self) -> str:
        return f"<Settling of {self._gpu.name}: {len(self._left)} left>"

    def do_when_done(self, task: Callable[[], None]) -> None:
        """Call *task* in the thread of the loop when what is queued by now is done.

        After `close` it is waited for at once.
        """
        if self._is_closed:
            self._synchronize()
            task()
            self._tidy_now()
            return
        self._left.append(task)
        self._asked += 1
        if not self._is_settling:
            self._is_settling = True
            self._start(self._settle)

    def _start(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task from between two scheduler passes: that alone does not shorten the sleep."""
        self._services.start_soon(task)
        trio.lowlevel.current_trio_token().run_sync_soon(_wake, idempotent=True)

    async def wait_settled(self) -> None:
        """Wait until nothing is left of what there is by now; more may come all the time."""
        asked = self._asked
        while self._over < asked and self._is_settling:
            await self._settled.wait()

    async def _settle(self) -> None:
        try:
            while self._left:
                tasks, self._left = self._left, []
                await self._settle_batch(_Batch(tasks))
                self._over += len(tasks)
                self._settled.wake()
        finally:
            self._is_settling = False
            self._settled.wake()
        if self._is_closed:
            self._tidy_now(is_last=True)
        self.tidy_from_now_on()

    async def _settle_batch(self, batch: _Batch) -> None:
        self._waiting = trio.CancelScope(shield=True, deadline=self._waiting.deadline)
        with self._waiting:
            await self._wait_done(batch)
        if self._waiting.cancelled_caught:
            _logger.warning("%s is busy; memory on it is given back later", self._gpu.name)
        self._gpu.do_when_possible(batch.finish)

    async def _wait_done(self, batch: _Batch) -> None:
        def wait() -> None:
            self._synchronize()
            batch.is_done = True

        await self._run_blocking(wait, self._threads)

    def _synchronize(self) -> None:
        try:
            self._gpu.synchronize()
        except BufferFault as error:
            # CUDA does nothing more in this process: so nothing of ours is under way.
            _logger.warning("%s has failed: %s", self._gpu.name, error)

    # --- what rests ----------------------------------------------------------------------

    def tidy_from_now_on(self) -> None:
        """Look for what rests again and again, until nothing does."""
        if not self._is_tidying and not self._is_closed and not self._gpu.is_tidy:
            self._is_tidying = True
            self._start(self._tidy)

    async def _tidy(self) -> None:
        try:
            while not self._gpu.is_tidy:
                await trio.sleep(_TIDY_SECONDS)
                self._tidy_now()
        finally:
            self._is_tidying = False

    def _tidy_now(self, *, is_last: bool = False) -> None:
        try:
            self._gpu.tidy(is_last=is_last)
        except BufferFault as error:
            _logger.warning("%s has failed: %s", self._gpu.name, error)

    def close(self) -> None:
        """Give back what is not used; what is being waited for has some time for it."""
        self._is_closed = True
        if self._is_settling:
            self._waiting.deadline = trio.current_time() + self._grace_seconds
        self._tidy_now(is_last=True)
