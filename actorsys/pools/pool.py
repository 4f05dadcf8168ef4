"""A pool: like workers, and the calls that are spread over them."""

from __future__ import annotations

import types
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Hashable,
    Iterable,
    Mapping,
)
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import current_actor
from ..actor.runtime import open_services
from ..channel.waiters import Waiters
from ..errors import ContextCancelled
from ..supervise import OneForOne, open_nursery
from .intensity import Intensity
from .job import Job
from .map_results import MapResults
from .map_run import MapOptions, MapRun
from .offer import Callee, Offer
from .placement import MOST_AT_HAND
from .recipe import Recipe, available_cpus, check_count
from .scheduler import Scheduler
from .staff import Staff
from .statistics import WorkerPoolStatistics


class Pool:
    """Workers that all offer the same functions. Open one with `open_pool`.

    A call goes to the worker with the fewest at hand; when all are busy it waits its turn. A worker
    that dies is replaced: those whose calls ran in it are told, the others do not notice.
    """

    def __init__(self, recipe: Recipe, scheduler: Scheduler, staff: Staff) -> None:
        self._recipe = recipe
        self._offer = Offer(recipe.modules)
        self._scheduler = scheduler
        self._staff = staff

    def __repr__(self) -> str:
        state = "closed" if self._scheduler.is_closed else "open"
        waiting = len(self._scheduler.waiting)
        return f"<Pool {self._recipe.name!r}: {state}, {self.size} workers, {waiting} calls wait>"

    @property
    def size(self) -> int:
        """How many workers there are, without those that are leaving."""
        return len(self._scheduler.workers)

    def statistics(self) -> WorkerPoolStatistics:
        """Return what the pool does right now, and has done."""
        scheduler = self._scheduler
        return WorkerPoolStatistics(
            workers=tuple(worker.statistics() for worker in scheduler.everybody),
            queued=len(scheduler.waiting),
            done=scheduler.done,
            failed=scheduler.failed,
            retried=scheduler.retried,
        )

    @enable_ki_protection
    async def run(
        self,
        fn: Callee,
        /,
        *args: Any,
        key: Hashable = None,
        retries: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call *fn* in one of the workers and return its result; wait while all are busy.

        Calls with an equal *key* go to the same worker, and begin in the order in which they were
        made; None is no key. *retries* is how often the call may be made again after its worker has
        died, by default what the pool was opened with. Both names belong to the pool: parameters of
        *fn* that are called so are passed by position.

        If cancelled, the function is cancelled as well, as with `Portal.run`; one that is still
        waiting has not run.

        Raises:
          RemoteActorError: the function raised; also an instance of that class.
          ActorDied, ActorUnavailable: its worker has ended while it ran, and no retries are left.
            A call that had not begun is not told of that: another worker takes it.
          NotExposed: the function may not be called.
          EncodeError, LimitExceeded: an argument, or the result, cannot travel.
          ChannelClosed: the pool is closed.
        """
        changed = Waiters()
        job = Job(
            self._offer.name_of(fn),
            args,
            kwargs,
            lambda _: changed.wake(),
            key=key,
            retries=self._retries(retries),
            deadline=trio.current_effective_deadline(),
        )
        self._scheduler.submit(job)
        try:
            while not job.has_ended:
                await changed.wait()
        except BaseException as reason:
            await self._abandon(job, changed, reason)
            raise
        if job.error is not None:
            raise job.error
        return job.value

    def map(
        self,
        fn: Callee,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        look_ahead: int | None = None,
        key: Callable[[Any], Hashable] | None = None,
        retries: int | None = None,
        return_exceptions: bool = False,
    ) -> MapResults:
        """Call *fn* with each of *items*; return the results as an asynchronous iterator.

        Iterate over it, or open it with ``async with`` to have what is under way stopped, and its
        end waited for, when the block is left. See `MapResults`.

        At most *look_ahead* items are taken before their results are fetched, by default 256 for
        each call that the workers can run at a time. An item is encoded when it is sent, some time
        after it was taken: do not change it. An asynchronous generator is closed at the end of the
        map; whatever else *items* is stays open.

        Results come in the order of the items, unless *ordered* is False: then as they are ready.
        *key* returns the key of an item, as for `run`, or None for none; *retries* are as there.

        The first error ends the map and cancels the rest. With *return_exceptions*, errors of calls
        come as results in place of that.

        Raises:
          NotExposed: the function may not be called.
          ValueError, TypeError: an argument is none of these.
          ChannelClosed: the pool is closed.
          RuntimeError: it is called in a thread.
        """
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "pool.map is for the trio task that reads the results; a thread calls pool.run, "
                "with trio.from_thread.run"
            )
        self._scheduler.check_open()
        if look_ahead is None:
            look_ahead = MOST_AT_HAND * self.size * self._recipe.concurrency
        check_count("look_ahead", look_ahead, 1)
        name = self._offer.name_of(fn)
        again = self._retries(retries)
        options = MapOptions(name, ordered, look_ahead, key, again, return_exceptions)
        return MapResults(MapRun(self._scheduler, items, options))

    async def resize(self, n: int) -> None:
        """Have *n* workers from now on; return when those that are new or too many are so.

        What is under way is not disturbed: a worker that is too many ends what it has begun, and
        takes no more. If cancelled, those that were to be started are not; others still leave.

        Raises:
          ValueError: *n* is below 1, or so large that the names of workers would be too long.
          SpawnError: a worker could not be started; those that could are there.
          ChannelClosed: the pool is closed.
        """
        check_count("n", n, 1)
        self._scheduler.check_open()
        await self._staff.resize(n)

    def _retries(self, retries: int | None) -> int:
        """Return how often a call may be made again that was given *retries*.

        Raises:
          TypeError, ValueError: that is no number of times.
        """
        if retries is None:
            return self._recipe.retries
        check_count("retries", retries, 0)
        return retries

    async def _abandon(self, job: Job, changed: Waiters, reason: BaseException) -> None:
        """Cancel a call and wait, briefly, until it has cleaned up.

        Raises:
          RemoteActorError: the clean-up failed; it takes the place of *reason*.
        """
        self._scheduler.cancel(job)
        channel = job.worker.channel if job.worker is not None else None
        if job.has_ended or channel is None or isinstance(reason, KeyboardInterrupt):
            return
        with channel.being_patient():
            while not job.has_ended:
                await changed.wait()
        if job.error is not None and not isinstance(job.error, ContextCancelled):
            raise job.error


@asynccontextmanager
async def open_pool(
    n: int | None = None,
    *,
    modules: Iterable[str | types.ModuleType] = (),
    types: Iterable[type] = (),
    name: str = "pool",
    concurrency: int = 1,
    retries: int = 0,
    strategy: OneForOne | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Pool]:
    """Open a pool of *n* workers, by default as many as there are CPUs for this process.

    Each worker is an actor that offers the public functions defined in *modules*, and runs
    *concurrency* calls at a time. They start together; in a process with no runtime, that is opened
    as well. *types* and *env* are as for `ActorNursery.start_actor`; *name* is that of the workers,
    with a number.

    A worker that ends is started again. *strategy* says how often: by default each may die three
    times within five seconds, on average over those that there are. After that the pool fails.

    *retries* is how often a call is made again after its worker has died while it ran. It is 0
    unless you say otherwise: whether a call may run twice, only you know.

    Leaving the block stops the workers, whatever they do.

    Raises:
      SpawnError: a worker could not be started; none is left.
      ExceptionGroup: workers died too often; it holds a `RestartIntensityExceeded`.
      ValueError, TypeError: an option makes no sense; nothing was started.
    """
    n = available_cpus() if n is None else n
    check_count("n", n, 1)
    recipe = Recipe(name, modules, types, env, concurrency, retries)
    if strategy is not None and not isinstance(strategy, OneForOne):
        raise TypeError(f"strategy of a pool is OneForOne(...), not {strategy!r}")
    intensity = Intensity(n)
    async with open_nursery(strategy=strategy or intensity) as nursery:
        async with open_services() as services:
            scheduler = Scheduler(recipe.name, current_actor(), services)
            staff = Staff(nursery, services, recipe, scheduler, intensity)
            try:
                await staff.resize(n)
                yield Pool(recipe, scheduler, staff)
            finally:
                scheduler.close()
        await nursery.cancel()
