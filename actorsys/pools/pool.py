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
    Sequence,
)
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import current_actor, trace_context
from ..actor.runtime import open_services
from ..channel.waiters import Waiters
from ..errors import ContextCancelled
from ..supervise import ActorNursery, OneForOne, open_nursery
from .job import Job, OnEnd
from .map_results import MapResults
from .map_run import MapOptions, MapRun
from .offer import Callee, Offer
from .placement import MOST_AT_HAND
from .recipe import Recipe, available_cpus, check_count
from .scheduler import Scheduler
from .staff import Staff
from .statistics import WorkerPoolStatistics

DEATHS_A_WORKER = 3
"""So often each worker may die within the window of the strategy, on average: OTP's default for
one child."""


class Pool:
    """Workers that all offer the same functions. Open one with `open_pool`.

    A call goes to the worker with the fewest at hand; when all are busy it waits its turn. A worker
    that dies is replaced: those whose calls ran in it are told, the others do not notice.
    """

    def __init__(self, nursery: ActorNursery, services: trio.Nursery, recipe: Recipe) -> None:
        actor = current_actor()
        self.services = services
        self.limits = actor.limits
        self._recipe = recipe
        self._offer = Offer(recipe.modules)
        self._scheduler = Scheduler(recipe.name, actor, services)
        self._staff = Staff(nursery, services, recipe, self._scheduler)

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
        made. *retries* is how often the call may be made again after its worker has died, by
        default what the pool was opened with. Both names belong to the pool: parameters of *fn*
        that are called so are passed by position.

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
        name = self._offer.name_of(fn)
        job = self.make_job(name, args, kwargs, lambda _: changed.wake(), key=key, retries=retries)
        job.deadline = trio.current_effective_deadline()
        self.submit(job)
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

        At most *look_ahead* items are taken before their results are fetched, 256 for each worker
        by default. Results come in the order of the items, unless *ordered* is False: then as they
        are ready. *key* returns the key of an item, as for `run`; so are *retries*.

        The first error ends the map and cancels the rest. With *return_exceptions*, errors of calls
        come as results in place of that.

        Raises:
          NotExposed: the function may not be called.
          ValueError, TypeError: an argument is none of these.
          ChannelClosed: the pool is closed.
        """
        self._scheduler.check_open()
        if look_ahead is None:
            look_ahead = MOST_AT_HAND * self.size * self._recipe.concurrency
        check_count("look_ahead", look_ahead, 1)
        if retries is not None:
            check_count("retries", retries, 0)
        name = self._offer.name_of(fn)
        options = MapOptions(name, ordered, look_ahead, key, retries, return_exceptions)
        return MapResults(MapRun(self, items, options))

    async def resize(self, n: int) -> None:
        """Have *n* workers from now on; return when those that are new or too many are so.

        What is under way is not disturbed: a worker that is too many ends what it has begun, and
        takes no more. If cancelled, those that were to be started are not; others still leave.

        Raises:
          ValueError: *n* is below 1.
          SpawnError: a worker could not be started; those that could are there.
          ChannelClosed: the pool is closed.
        """
        check_count("n", n, 1)
        self._scheduler.check_open()
        await self._staff.resize(n)

    # --- what maps use as well -----------------------------------------------------------

    def make_job(
        self,
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] = MappingProxyType({}),
        on_end: OnEnd = lambda _: None,
        *,
        key: Hashable = None,
        retries: int | None = None,
        index: int = 0,
    ) -> Job:
        """Return a call as `submit` takes it.

        Raises:
          TypeError, ValueError: *retries* is no number of times.
        """
        if retries is None:
            retries = self._recipe.retries
        else:
            check_count("retries", retries, 0)
        trace = trace_context.get()
        return Job(
            function, args, kwargs, on_end, key=key, retries=retries, trace=trace, index=index
        )

    def submit(self, job: Job) -> None:
        """Take a call; its end is told to it.

        Raises:
          ChannelClosed: the pool is closed.
          TypeError: its key has no hash.
        """
        self._scheduler.submit(job)

    def cancel(self, job: Job) -> None:
        """Cancel a call, wherever it is. Returns at once; the end of one that has begun follows."""
        self._scheduler.cancel(job)

    def close(self) -> None:
        """Take no more calls, and end those that are there; their callers are told."""
        self._scheduler.close()

    async def _abandon(self, job: Job, changed: Waiters, reason: BaseException) -> None:
        """Cancel a call and wait, briefly, until it has cleaned up.

        Raises:
          RemoteActorError: the clean-up failed; it takes the place of *reason*.
        """
        self.cancel(job)
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
    times within five seconds, on average. After that the pool fails.

    *retries* is how often a call is made again after its worker has died while it ran. It is 0
    unless you say otherwise: whether a call may run twice, only you know.

    Leaving the block stops the workers, whatever they do.

    Raises:
      SpawnError: a worker could not be started; none is left.
      ExceptionGroup: workers died too often; it holds a `RestartIntensityExceeded`.
      ValueError: *n* or *concurrency* is below 1, or *retries* below 0.
    """
    n = available_cpus() if n is None else n
    check_count("n", n, 1)
    recipe = Recipe(name, modules, types, env, concurrency, retries)
    if strategy is None:
        strategy = OneForOne(max_restarts=DEATHS_A_WORKER * n)
    if not isinstance(strategy, OneForOne):
        raise TypeError(f"strategy of a pool is OneForOne(...), not {strategy!r}")
    async with open_nursery(strategy=strategy) as nursery:
        async with open_services() as services:
            pool = Pool(nursery, services, recipe)
            try:
                await pool.resize(n)
                yield pool
            finally:
                pool.close()
        await nursery.cancel()
