"""The calls that no worker has yet: who is next, and where those with a key belong."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from .job import Job
from .placement import home_of

W = TypeVar("W", bound=Hashable)


class Home(Generic[W]):
    """Where the calls of one key go as long as there are any: to one worker, in order.

    ``count`` is how many are queued for it or at hand; ``held`` are those that come after it has
    begun to leave, which begin elsewhere once the others have ended.
    """

    __slots__ = ("count", "held", "worker")

    def __init__(self, worker: W) -> None:
        self.worker = worker
        self.count = 0
        self.held: deque[Job] = deque()

    def __repr__(self) -> str:
        return f"<Home at {self.worker!r}: {self.count} calls, {len(self.held)} held>"


class Waiting(Generic[W]):
    """The waiting calls of a pool, in the order in which they were given.

    Calls without a key are for any worker. Those with one are for the worker where it belongs.
    What has ended meanwhile is passed over. *slots* are the workers by slot.
    """

    def __init__(self, slots: dict[int, W]) -> None:
        self._slots = slots
        self._common: deque[Job] = deque()
        self._own: dict[W, deque[Job]] = {}
        self._homes: dict[Hashable, Home[W]] = {}
        self._leaving: set[W] = set()
        self._next_rank = 0

    def __repr__(self) -> str:
        return f"<Waiting: {len(self)} calls>"

    def __len__(self) -> int:
        held = [home.held for home in self._homes.values()]
        queues = [self._common, *self._own.values(), *held]
        return sum(not job.has_ended for queue in queues for job in queue)

    def jobs(self) -> list[Job]:
        """Return all of them."""
        held = [home.held for home in self._homes.values()]
        return [job for queue in (self._common, *self._own.values(), *held) for job in queue]

    @property
    def is_empty(self) -> bool:
        """Whether no worker could take one; some that have ended may be counted still."""
        return not (self._common or any(self._own.values()))

    def add(self, job: Job) -> None:
        """Add a new call, after all others.

        Raises:
          TypeError: its key has no hash.
        """
        if job.key is not None:
            self._add_keyed(job)
        else:
            self._common.append(job)
        job.rank = self._next_rank
        self._next_rank += 1

    def _add_keyed(self, job: Job) -> None:
        try:
            home = self._homes.get(job.key)
        except TypeError:
            text = f"a key has a hash, as a string or a tuple has, and {job.key!r} has none"
            raise TypeError(text) from None
        if home is None:
            home = Home(self._slots[home_of(job.key, self._slots)])
            self._homes[job.key] = home
        if home.worker in self._leaving:
            home.held.append(job)
        else:
            home.count += 1
            self._own.setdefault(home.worker, deque()).append(job)

    def add_again(self, worker: W, jobs: Sequence[Job]) -> None:
        """Add calls that *worker* had at hand, in the places that they had."""
        for job in sorted(jobs, key=lambda job: job.rank, reverse=True):
            if job.key is None:
                _insert(self._common, job)
            elif worker in self._leaving:
                home = self._homes[job.key]
                home.count -= 1
                _insert(home.held, job)
                self._release(job.key, home)
            else:
                _insert(self._own.setdefault(worker, deque()), job)

    def take(self, worker: W) -> Job | None:
        """Return the next call for *worker*, or None."""
        common = self._common
        _drop_ended(common)
        own = self._own.get(worker)
        if own is not None:
            _drop_ended(own)
            if own and not (common and common[0].rank < own[0].rank):
                return own.popleft()
        return common.popleft() if common else None

    def on_end(self, job: Job) -> None:
        """Take note of the end of a call, wherever it was."""
        home = self._homes.get(job.key) if job.key is not None else None
        if home is None:
            return
        if job in home.held:
            home.held.remove(job)
        else:
            home.count -= 1
        self._release(job.key, home)

    def retire(self, worker: W) -> None:
        """Have no more calls go to *worker*, which is not among the slots any more."""
        self._leaving.add(worker)
        for job in self._own.pop(worker, ()):
            if not job.has_ended:
                home = self._homes[job.key]
                home.count -= 1
                home.held.append(job)
        for key, home in list(self._homes.items()):
            if home.worker == worker:
                self._release(key, home)

    def forget(self, worker: W) -> None:
        """Forget a worker that was retired and has nothing at hand any more."""
        self._leaving.discard(worker)

    def _release(self, key: Hashable, home: Home[W]) -> None:
        """Once nothing of *key* is left at its home, let what is held begin elsewhere."""
        if home.count:
            return
        del self._homes[key]
        if not (home.held and self._slots):
            return
        following = self._homes[key] = Home(self._slots[home_of(key, self._slots)])
        following.count = len(home.held)
        own = self._own.setdefault(following.worker, deque())
        for job in reversed(home.held):
            _insert(own, job)


def _insert(queue: deque[Job], job: Job) -> None:
    """Put *job* where its rank belongs, which is near the front."""
    place = next((i for i, other in enumerate(queue) if other.rank > job.rank), len(queue))
    queue.insert(place, job)


def _drop_ended(queue: deque[Job]) -> None:
    while queue and queue[0].has_ended:
        queue.popleft()
