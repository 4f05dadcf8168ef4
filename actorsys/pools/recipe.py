"""How the workers of a pool are made, and what they do by default."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Mapping

from ..actor import Portal
from ..spawn import module_names, type_names
from ..supervise import ActorNursery
from ..wire import register

BENCH_MODULE = "actorsys.pools.bench"


class Recipe:
    """How the workers of a pool are made, and what they do by default.

    Raises:
      TypeError, ValueError: an option makes no sense; before anything is started.
    """

    def __init__(
        self,
        name: str,
        modules: Iterable[str | types.ModuleType],
        classes: Iterable[type],
        env: Mapping[str, str] | None,
        concurrency: int,
        retries: int,
    ) -> None:
        _check_name(name)
        _check_env(env)
        check_count("concurrency", concurrency, 1)
        check_count("retries", retries, 0)
        self.name = name
        self.modules = module_names(modules)
        self.concurrency = concurrency
        self.retries = retries
        self._classes = _registered(classes)
        self._env = env

    def __repr__(self) -> str:
        return f"<Recipe for {self.name!r}: {', '.join(self.modules)}>"

    def name_of(self, slot: int) -> str:
        """Return the name of the worker in *slot*."""
        return f"{self.name}-{slot}"

    async def start(self, nursery: ActorNursery, slot: int) -> Portal:
        """Start a worker."""
        return await nursery.start_actor(
            self.name_of(slot),
            modules=[*self.modules, BENCH_MODULE],
            types=self._classes,
            restart="permanent",
            env=self._env,
        )


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name is the text that the names of the workers begin with, not {name!r}")
    if not name:
        raise ValueError("name is empty; the names of the workers begin with it")


def _check_env(env: object) -> None:
    if env is None:
        return
    if not isinstance(env, Mapping):
        raise TypeError(f"env is a mapping of variables to their values, not {env!r}")
    for text in (*env.keys(), *env.values()):
        if not isinstance(text, str):
            raise TypeError(f"env holds strings, as os.environ does, and not {text!r}")


def _registered(classes: Iterable[type]) -> tuple[type, ...]:
    """Register *classes* in this process; return them."""
    known = tuple(classes)
    for cls in known:
        if not isinstance(cls, type):
            raise TypeError(f"types holds classes, and not {cls!r}")
    type_names(known)
    for cls in known:
        register(cls)
    return known


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
