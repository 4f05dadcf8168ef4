"""Calls meet workers: who gets which call, and what becomes of it."""

from __future__ import annotations

from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor
from ..errors import ActorUnavailable, ChannelClosed, ContextCancelled
from .job import Job
from .placement import RECALL_SECONDS, least_loaded
from .waiting import Waiting
from .worker import Worker


class Scheduler:
    """The calls of a pool and its workers. Owned by the `Pool`; workers report to it.

    ``workers`` are those that take calls, by slot; ``leaving`` those that only end what they have.
    """

    def __init__(self, name: str, actor: Actor, services: trio.Nursery) -> None:
        self.name = name
        self.workers: dict[int, Worker] = {}
        self.leaving: set[Worker] = set()
        self.waiting: Waiting[Worker] = Waiting(self.workers)
        self.done = 0
        self.failed = 0
        self.retried = 0
        self.is_closed = False
        self.actor = actor
        self.services = services
        self._is_balancing = False

    def __repr__(self) -> str:
        return f"<Scheduler of {self.name!r}: {len(self.workers)} workers, {self.waiting!r}>"

    @property
    def everybody(self) -> list[Worker]:
        """All workers, those that are leaving included."""
        return sorted([*self.workers.values(), *self.leaving], key=lambda worker: worker.slot)

    def check_open(self) -> None:
        """Refuse what comes too late.

        Raises:
          ChannelClosed: the pool is closed.
        """
        if self.is_closed:
            raise ChannelClosed(
                f"pool {self.name!r} is closed; use it inside its `async with open_pool()` block"
            )

    def close(self) -> None:
        """Take no more calls, and end those that are there; their callers are told."""
        self.is_closed = True
        at_hand = [job for worker in self.everybody for job in worker.at_hand.values()]
        for may_have_run, jobs in ((True, at_hand), (False, self.waiting.jobs())):
            for job in jobs:
                text = f"pool {self.name!r} was closed meanwhile"
                self.end(job, None, ActorUnavailable(text, may_have_run=may_have_run))

    # --- what users ask ------------------------------------------------------------------

    @enable_ki_protection
    def submit(self, job: Job) -> None:
        """Take a call; its end is told to it.

        Raises:
          ChannelClosed: the pool is closed.
          TypeError: its key has no hash.
        """
        self.check_open()
        self.waiting.add(job)
        self.dispatch()

    def cancel(self, job: Job) -> None:
        """Cancel a call, wherever it is. Returns at once; the end of one that has begun follows."""
        if job.has_ended:
            return
        job.is_cancelled = True
        if job.worker is None:
            self._end_cancelled(job)
        else:
            job.worker.cancel(job)

    # --- what workers tell ---------------------------------------------------------------

    @enable_ki_protection
    def dispatch(self) -> None:
        """Send waiting calls to workers that have room, to the least loaded one first."""
        workers = list(self.workers.values())
        while not self.waiting.is_empty:
            worker = least_loaded(workers)
            if worker is None:
                return
            job = self.waiting.take(worker)
            if job is None:
                workers.remove(worker)
            else:
                worker.send(job)

    def on_room(self, worker: Worker) -> None:
        """Give *worker*, which may have room, its next calls."""
        while len(worker.at_hand) < worker.room:
            job = self.waiting.take(worker)
            if job is None:
                if not worker.at_hand:
                    self._balance_soon()
                return
            worker.send(job)

    def on_lost(self, worker: Worker, job: Job, error: ActorUnavailable) -> None:
        """Decide about a call that has begun in a worker which has ended then, for *error*."""
        if job.has_ended:
            return
        if job.retries_left and not (job.is_cancelled or self.is_closed):
            job.retries_left -= 1
            self.retried += 1
            self.waiting.add_again(worker, [job])
        else:
            self.end(job, None, error)

    def take_back(self, worker: Worker, jobs: list[Job]) -> None:
        """Take calls that *worker* has not begun; another one gets them."""
        for job in jobs:
            if job.is_cancelled:
                self._end_cancelled(job)
            else:
                job.tries -= 1
        self.waiting.add_again(worker, [job for job in jobs if not job.has_ended])
        self.dispatch()

    def end(self, job: Job, value: Any, error: BaseException | None) -> None:
        """End a call."""
        if job.has_ended:
            return
        if error is None:
            self.done += 1
        else:
            self.failed += 1
        job.end(value, error)
        self.waiting.on_end(job)

    def _end_cancelled(self, job: Job) -> None:
        error = ContextCancelled("it was cancelled before it began", canceller=self.actor.uid)
        self.end(job, None, error)

    # --- workers that leave --------------------------------------------------------------

    def retire(self, worker: Worker) -> None:
        """Give *worker* no more calls; those that it has not begun go to others."""
        del self.workers[worker.slot]
        self.leaving.add(worker)
        worker.is_leaving = True
        self.waiting.retire(worker)
        worker.recall()
        self.dispatch()

    def forget(self, worker: Worker) -> None:
        """Forget a worker that has left."""
        self.leaving.discard(worker)
        self.waiting.forget(worker)

    # --- balance -------------------------------------------------------------------------

    def _balance_soon(self) -> None:
        """A worker is idle: see to it that it is not so for long while another one is stuck."""
        if not self._is_balancing and any(worker.at_hand for worker in self.workers.values()):
            self._is_balancing = True
            self.services.start_soon(self._balance)

    async def _balance(self) -> None:
        """Recall what silent workers have not begun, as long as others are idle."""
        try:
            while True:
                workers = self.workers.values()
                has_idle = any(worker.is_ready and not worker.at_hand for worker in workers)
                ahead = [worker for worker in workers if worker.has_movable]
                if not (has_idle and ahead):
                    return
                for worker in ahead:
                    if worker.pace.is_silent(trio.current_time(), RECALL_SECONDS):
                        worker.recall()
                await trio.sleep(RECALL_SECONDS)
        finally:
            self._is_balancing = False
