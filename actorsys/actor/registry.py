"""Who is in the tree, by name: what the root keeps, and what could stand in its place."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeVar

import trio

from ..errors import Uid
from ..limits import Limits

Key = TypeVar("Key")

logger = logging.getLogger("actorsys.registry")


class Entry(NamedTuple):
    """One incarnation of an actor.

    ``path`` are the uids from the root's own child down to the actor itself.
    """

    uid: Uid
    pid: int
    path: tuple[Uid, ...]


class Registry(ABC):
    """The actors of a tree. Each incarnation is added once it is ready, and removed at its end.

    `add` and `remove` are called between two reads of a link, and may not wait.
    """

    @abstractmethod
    def add(self, entry: Entry) -> None:
        """Take note of an actor that is ready."""

    @abstractmethod
    def remove(self, path: tuple[Uid, ...]) -> None:
        """Forget the actor at *path*, and whatever is below it."""

    @abstractmethod
    async def get(self, uid: Uid) -> Entry | None:
        """Return the actor with *uid*."""

    @abstractmethod
    async def find(self, name: str) -> Sequence[Entry]:
        """Return the actors called *name*, in the order in which they were added."""

    @abstractmethod
    async def wait_for(self, name: str, ignored: Collection[Uid]) -> Entry:
        """Return the first actor called *name* that is not *ignored*; wait until there is one."""

    @abstractmethod
    async def entries(self) -> Sequence[Entry]:
        """Return all actors, in the order in which they were added."""


class TreeRegistry(Registry):
    """The registry in the memory of the root. Owned by the root's `Directory`.

    What it knows is a tree: whoever is above a known actor is known as well. Nothing it is asked
    or told costs more than the actors that are spoken of.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[Uid, Entry] = {}
        self._namesakes: dict[str, dict[Uid, Entry]] = {}
        self._below: dict[Uid, dict[Uid, Entry]] = {}
        self._arrivals: dict[str, trio.lowlevel.ParkingLot] = {}
        self._has_refused = False

    def __repr__(self) -> str:
        waiting = sum(map(len, self._arrivals.values()))
        return f"<TreeRegistry of {len(self._entries)} actors, {waiting} waiting>"

    def add(self, entry: Entry) -> None:
        """Take note of an actor that is ready; who is known already keeps its place."""
        refusal = self._find_refusal(entry)
        if refusal is None:
            self._index(entry)
            return
        level = logging.DEBUG if self._has_refused else logging.WARNING
        self._has_refused = True  # what an actor can cause at will shall not fill a log
        logger.log(level, "%r, below %r, will not be found: %s", entry.uid, entry.path[0], refusal)

    def _index(self, entry: Entry) -> None:
        name = entry.uid[0]
        self._entries[entry.uid] = entry
        self._namesakes.setdefault(name, {})[entry.uid] = entry
        if len(entry.path) > 1:
            self._below.setdefault(entry.path[-2], {})[entry.uid] = entry
        if name in self._arrivals:
            self._arrivals[name].unpark_all()

    def _find_refusal(self, entry: Entry) -> str | None:
        """Say why *entry* cannot be known, if so."""
        if entry.uid in self._entries:
            return "there is an actor of that uid"
        if len(self._entries) >= self._limits.max_registered_actors:
            return "there are too many actors (limits.max_registered_actors)"
        above = entry.path[:-1]
        if above and not self._has(above):
            return "the actor above it is not known"
        return None

    def _has(self, path: tuple[Uid, ...]) -> bool:
        entry = self._entries.get(path[-1])
        return entry is not None and entry.path == path

    def remove(self, path: tuple[Uid, ...]) -> None:
        """Forget the actor at *path*, and whatever is below it."""
        if not self._has(path):
            return
        if len(path) > 1:
            _drop(self._below, path[-2], path[-1])
        leaving = [path[-1]]
        while leaving:
            uid = leaving.pop()
            del self._entries[uid]
            _drop(self._namesakes, uid[0], uid)
            leaving.extend(self._below.pop(uid, ()))

    async def get(self, uid: Uid) -> Entry | None:
        """Return the actor with *uid*."""
        return self._entries.get(uid)

    async def find(self, name: str) -> Sequence[Entry]:
        """Return the actors called *name*, in the order in which they were added."""
        return list(self._namesakes.get(name, {}).values())

    async def wait_for(self, name: str, ignored: Collection[Uid]) -> Entry:
        """Return the first actor called *name* that is not *ignored*; wait until there is one."""
        ignored = frozenset(ignored)
        while True:
            for entry in self._namesakes.get(name, {}).values():
                if entry.uid not in ignored:
                    return entry
            await self._park(name)

    async def _park(self, name: str) -> None:
        """Wait until an actor called *name* has arrived."""
        lot = self._arrivals.setdefault(name, trio.lowlevel.ParkingLot())
        try:
            await lot.park()
        finally:
            if not lot and self._arrivals.get(name) is lot:
                del self._arrivals[name]

    async def entries(self) -> Sequence[Entry]:
        """Return all actors, in the order in which they were added."""
        return list(self._entries.values())


def _drop(index: dict[Key, dict[Uid, Entry]], key: Key, uid: Uid) -> None:
    del index[key][uid]
    if not index[key]:
        del index[key]
