"""A map while it runs: items in, results out, and no more under way than was asked for."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterable, Callable, Hashable, Iterable, Iterator, Sized
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..channel.pacing import Pacing
from ..channel.waiters import Waiters
from ..errors import RemoteActorError
from .feeder import Feeder
from .job import Job
from .scheduler import Scheduler
from .statistics import MapStatistics

logger = logging.getLogger("actorsys.pools")


class MapOptions(NamedTuple):
    """What a map is asked for; see `Pool.map`."""

    function: str
    ordered: bool
    look_ahead: int
    key: Callable[[Any], Hashable] | None
    retries: int
    return_exceptions: bool


class MapRun:
    """The state of one map. Owned by its `MapResults`; the pool tells it of each end.

    Items are taken when a result is asked for, in the task that asks; an asynchronous iterable has
    a task of its own. ``is_over`` is set when nothing will be taken and returned any more.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        items: Iterable[Any] | AsyncIterable[Any],
        options: MapOptions,
    ) -> None:
        self._scheduler = scheduler
        self._limits = scheduler.actor.limits
        self._options = options
        self._total = _count_of(items)
        self._feeder: Feeder | None = None
        self._items: Iterator[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._feeder = Feeder(
                aiter(items), self._has_room, self._take, self._on_exhausted, self._on_items_error
            )
        else:
            self._items = iter(items)
        self._jobs: dict[int, Job] = {}
        self._ready: deque[Job] = deque()
        self._taken = 0
        self._given = 0
        self._ended = 0
        self._done = 0
        self._failed = 0
        self._is_exhausted = False
        self._failure: BaseException | None = None
        self._changed = Waiters()
        self._pacing = Pacing(self._limits.items_per_checkpoint, self._limits.checkpoint_seconds)
        self.progressed = Waiters()
        self.is_over = False

    def __repr__(self) -> str:
        state = "over" if self.is_over else "running"
        return f"<MapRun of {self._options.function}: {state}, {self.statistics()!r}>"

    def statistics(self) -> MapStatistics:
        """Return how far it has come."""
        in_flight = self._taken - self._ended
        return MapStatistics(self._total, in_flight, self._done, self._failed)

    # --- results -------------------------------------------------------------------------

    @enable_ki_protection
    async def next(self) -> Any:
        """Return the next result; wait for it.

        Raises:
          StopAsyncIteration: there is none, or the map was closed.
          Exception: what has ended the map.
        """
        await self._pacing.checkpoint()
        while not self.is_over:
            self._fill()
            job = self._pop()
            if job is not None:
                self._given += 1
                if self._feeder is not None:
                    self._feeder.wake()
                return job.value if job.error is None else job.error
            if self._failure is not None:
                failure = self._failure
                await self.aclose()
                raise failure
            if self._is_exhausted and not self._jobs:
                self.close()
                break
            await self._changed.wait()
        raise StopAsyncIteration

    def _pop(self) -> Job | None:
        """Take the next result out, if it is there."""
        if self._options.ordered:
            job = self._jobs.get(self._given)
            if job is None or not job.has_ended or self._is_failure(job):
                return None
            del self._jobs[self._given]
            return job
        if not self._ready:
            return None
        job = self._ready.popleft()
        del self._jobs[job.index]
        return job

    # --- items ---------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return self._taken - self._given < self._options.look_ahead

    def _fill(self) -> None:
        """Take as many items as there is room for."""
        if self._feeder is not None:
            self._feeder.begin(self._scheduler.services)
            return
        assert self._items is not None
        while self._has_room() and not self._is_exhausted and self._failure is None:
            try:
                item = next(self._items)
            except StopIteration:
                self._on_exhausted()
            except BaseException as error:
                self._fail(error)
            else:
                self._take(item)

    def _take(self, item: Any) -> None:
        """Have the function called with *item*."""
        options = self._options
        index = self._taken
        self._taken += 1
        try:
            key = options.key(item) if options.key is not None else None
            job = Job(
                options.function,
                (item,),
                {},
                self._on_end,
                key=key,
                retries=options.retries,
                index=index,
            )
            self._jobs[index] = job
            self._scheduler.submit(job)
        except Exception as error:
            self._jobs.pop(index, None)
            self._taken -= 1
            self._fail(error)
        self.progressed.wake()

    def _on_exhausted(self) -> None:
        self._is_exhausted = True
        self._total = self._taken
        self._tell()

    # --- ends ----------------------------------------------------------------------------

    def _is_failure(self, job: Job) -> bool:
        return job.error is not None and not self._options.return_exceptions

    def _on_end(self, job: Job) -> None:
        self._ended += 1
        if self.is_over or self._failure is not None:
            self._note_late(job)
        elif job.error is None:
            self._done += 1
        else:
            self._failed += 1
            job.error.add_note(f"item {job.index} of a map of {job.function}")
            if self._is_failure(job):
                self._fail(job.error)
        if not self._options.ordered and self._failure is None:
            self._ready.append(job)
        self._tell()

    def _note_late(self, job: Job) -> None:
        if isinstance(job.error, RemoteActorError):
            self._log_late(job.error)

    def _log_late(self, error: BaseException) -> None:
        """Let the error of a clean-up not vanish without a word."""
        logger.warning("an error came after the end of its map: %r", error)

    def _on_items_error(self, error: BaseException) -> None:
        """Take what asynchronous items have raised, or their clean-up."""
        if self.is_over or self._failure is not None:
            self._log_late(error)
        else:
            self._fail(error)

    def _tell(self) -> None:
        self._changed.wake()
        self.progressed.wake()

    def _fail(self, error: BaseException) -> None:
        """End the map because of *error*; results that are there are given first."""
        if self._failure is None and not self.is_over:
            self._failure = _as_error(error)
            self._stop()
            self._tell()

    def _stop(self) -> None:
        """Cancel everything that has not ended."""
        if self._feeder is not None:
            self._feeder.stop()
        for job in list(self._jobs.values()):
            self._scheduler.cancel(job)

    @enable_ki_protection
    def close(self) -> None:
        """Cancel what is under way. Returns at once."""
        if not self.is_over:
            self.is_over = True
            self._ready.clear()
            self._stop()
            self._tell()

    @enable_ki_protection
    async def aclose(self) -> None:
        """Cancel what is under way, and wait until it has ended; not long."""
        self.close()
        await trio.lowlevel.checkpoint_if_cancelled()
        seconds = self._limits.cancel_ack_seconds
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            if self._feeder is not None:
                await self._feeder.wait_ended()
            while not all(job.has_ended for job in self._jobs.values()):
                await self._changed.wait()
        self._jobs.clear()


def _count_of(items: object) -> int | None:
    """Return how many *items* there are, or None where nobody can tell."""
    try:
        return len(items) if isinstance(items, Sized) else None
    except OverflowError:  # more than memory could hold, such as range(2**70)
        return None


def _as_error(error: BaseException) -> BaseException:
    """Return *error*; if it would end the loop over the results quietly, one that does not."""
    if not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    text = f"the items of a map, or its key=, have raised {type(error).__name__}"
    following = RuntimeError(text)
    following.__cause__ = error
    return following
