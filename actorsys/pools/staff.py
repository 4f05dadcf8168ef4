"""The workers of a pool: they are started together, and leave when they have ended their work."""

from __future__ import annotations

import trio

from ..actor.runtime import check_name
from ..supervise import ActorNursery
from .intensity import Intensity
from .recipe import Recipe
from .scheduler import Scheduler
from .worker import Worker


class Staff:
    """Starts the workers of a pool and sees them off. Owned by the `Pool`."""

    def __init__(
        self,
        nursery: ActorNursery,
        services: trio.Nursery,
        recipe: Recipe,
        scheduler: Scheduler,
        intensity: Intensity,
    ) -> None:
        self._nursery = nursery
        self._services = services
        self._recipe = recipe
        self._scheduler = scheduler
        self._intensity = intensity
        self._turn = trio.Lock()

    def __repr__(self) -> str:
        return f"<Staff of {self._recipe.name!r}: {len(self._scheduler.workers)} workers>"

    async def resize(self, n: int) -> None:
        """Have *n* workers; return when it is so.

        Raises:
          SpawnError: a worker could not be started.
          ValueError: the name of one would be too long, or not printable.
          ChannelClosed: the pool is closed.
        """
        async with self._turn:
            self._scheduler.check_open()
            if n < len(self._scheduler.workers):
                await self._shrink(n)
                self._intensity.follow(n)
            else:
                self._intensity.follow(n)
                await self._grow(n)

    async def _grow(self, n: int) -> None:
        """Start workers at the same time until there are *n*."""
        check_name(self._recipe.name_of(n - 1), self._scheduler.actor.limits)
        errors: list[Exception] = []

        async def start(slot: int) -> None:
            try:
                await self._start(slot)
            except Exception as error:
                errors.append(error)

        async with trio.open_nursery() as starts:
            for slot in range(n):
                if slot not in self._scheduler.workers:
                    starts.start_soon(start, slot)
        if errors:
            raise errors[0]

    async def _start(self, slot: int) -> None:
        portal = await self._recipe.start(self._nursery, slot)
        worker = Worker(self._scheduler, slot, portal, self._recipe.concurrency)
        self._scheduler.workers[slot] = worker
        self._services.start_soon(worker.tend)
        await worker.ready.wait()

    async def _shrink(self, n: int) -> None:
        """Have the workers with the highest slots leave, until there are *n*."""
        leaving = [self._scheduler.workers[slot] for slot in sorted(self._scheduler.workers)[n:]]
        for worker in leaving:
            self._scheduler.retire(worker)
            self._services.start_soon(self._see_off, worker)
        for worker in leaving:
            await worker.gone.wait()

    async def _see_off(self, worker: Worker) -> None:
        """Stop a worker once it has ended what it has at hand."""
        await worker.wait_idle()
        await worker.portal.cancel_actor()
        self._scheduler.forget(worker)
        worker.gone.set()
