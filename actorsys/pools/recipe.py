"""How the workers of a pool are made, and what they do by default."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Mapping

from ..actor import Portal
from ..spawn import module_names
from ..supervise import ActorNursery

BENCH_MODULE = "actorsys.pools.bench"


class Recipe:
    """How the workers of a pool are made, and what they do by default."""

    def __init__(
        self,
        name: str,
        modules: Iterable[str | types.ModuleType],
        classes: Iterable[type],
        env: Mapping[str, str] | None,
        concurrency: int,
        retries: int,
    ) -> None:
        check_count("concurrency", concurrency, 1)
        check_count("retries", retries, 0)
        self.name = name
        self.modules = module_names(modules)
        self.concurrency = concurrency
        self.retries = retries
        self._classes = tuple(classes)
        self._env = env

    def __repr__(self) -> str:
        return f"<Recipe for {self.name!r}: {', '.join(self.modules)}>"

    async def start(self, nursery: ActorNursery, slot: int) -> Portal:
        """Start a worker."""
        return await nursery.start_actor(
            f"{self.name}-{slot}",
            modules=[*self.modules, BENCH_MODULE],
            types=self._classes,
            restart="permanent",
            env=self._env,
        )


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_count(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number from *least* on.

    Raises:
      TypeError, ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, it is {value}")
