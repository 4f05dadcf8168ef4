"""What an actor knows of its tree: its parent, its children, and at the root the registry.

News of actors goes up, from link to link, and each receiver puts the name that the sender has
proved in front of it: an actor can register what is below itself, and nothing else. Questions go
up the same way, behind the news.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..channel import Channel
from ..channel.exposure import RUNTIME_NS
from ..errors import NoRuntime, RemoteProtocolError, Uid
from ..limits import Limits
from ..wire.messages import parse_uid
from .registry import Entry, Registry

if TYPE_CHECKING:
    from .portal import Portal

REGISTER = "register"
UNREGISTER = "unregister"
LOOK_UP = "look_up"
AWAIT_ACTOR = "await_actor"
LIST_ACTORS = "list_actors"

_PIDS = 2**31  # pid_t is a signed int of 32 bits


class Found(NamedTuple):
    """An actor that the registry knows."""

    uid: Uid
    pid: int

    def pack(self) -> list[Any]:
        """Return it as it travels."""
        return [list(self.uid), self.pid]

    @classmethod
    def unpack(cls, raw: Any) -> Found:
        """Return what `pack` made of it."""
        uid, pid = raw
        return cls(parse_uid(uid), int(pid))


class Kin(NamedTuple):
    """A child of this actor, in its present incarnation."""

    pid: int
    channel: Channel
    portal: Portal


class Directory:
    """The tree as one actor sees it. Owned by its `Actor`.

    ``parent`` is the link to the parent, set by whoever serves it; the root has *registry* instead.
    ``children`` is written by the supervisors of this actor, through `add` and `remove`.
    """

    def __init__(self, uid: Uid, limits: Limits, registry: Registry | None) -> None:
        self.uid = uid
        self.parent: Channel | None = None
        self.registry = registry
        self.children: dict[Uid, Kin] = {}
        self._limits = limits

    def __repr__(self) -> str:
        source = self.parent if self.registry is None else self.registry
        return f"<Directory: {len(self.children)} children, asks {source!r}>"

    # --- news ----------------------------------------------------------------------------

    def add(self, uid: Uid, kin: Kin) -> None:
        """Take note of a child that is ready, and let the tree know."""
        self.children[uid] = kin
        self._register((uid,), kin.pid)

    def remove(self, uid: Uid) -> None:
        """Forget a child that has ended, with all below it, and let the tree know."""
        if self.children.pop(uid, None) is not None:
            self._unregister((uid,))

    def on_register(self, channel: Channel, kwargs: dict[str, Any]) -> None:
        """Take a child's word that there is an actor below it."""
        pid = kwargs.get("pid")
        if type(pid) is not int or not 0 < pid < _PIDS:
            raise RemoteProtocolError("an actor that is no process")
        path = self._path_below(channel, kwargs.get("path"))
        if path is not None:
            self._register(path, pid)

    def on_unregister(self, channel: Channel, kwargs: dict[str, Any]) -> None:
        """Take a child's word that an actor below it has ended."""
        path = self._path_below(channel, kwargs.get("path"))
        if path is not None:
            self._unregister(path)

    def _path_below(self, channel: Channel, raw: Any) -> tuple[Uid, ...] | None:
        """Return the path from here to what *channel*'s peer speaks of, if it may do so."""
        peer = channel.session.peer_uid
        below = read_path(raw, self._limits)
        if not below or self.uid in below:
            raise RemoteProtocolError("an actor that is not below another one")
        is_child = peer in self.children and self.children[peer].channel is channel
        if not is_child or len(below) >= self._limits.max_tree_depth:
            return None
        return (peer, *below)

    def _register(self, path: tuple[Uid, ...], pid: int) -> None:
        if self.registry is not None:
            self.registry.add(Entry(path[-1], pid, path))
        else:
            self._tell_parent(REGISTER, {"path": write_uids(path), "pid": pid})

    def _unregister(self, path: tuple[Uid, ...]) -> None:
        if self.registry is not None:
            self.registry.remove(path)
        else:
            self._tell_parent(UNREGISTER, {"path": write_uids(path)})

    def _tell_parent(self, what: str, kwargs: dict[str, Any]) -> None:
        if self.parent is not None:
            self.parent.send_runtime_call(what, kwargs)

    # --- questions -----------------------------------------------------------------------

    async def look_up(self, name: str) -> Sequence[Found]:
        """Return the actors called *name*, oldest first."""
        if self.registry is None:
            return [Found.unpack(raw) for raw in await self.ask_parent(LOOK_UP, name=name)]
        return [Found(entry.uid, entry.pid) for entry in await self.registry.find(name)]

    async def await_actor(self, name: str, ignored: Collection[Uid]) -> Found:
        """Return the oldest actor called *name* that is not *ignored*; wait until there is one."""
        if self.registry is None:
            raw = await self.ask_parent(AWAIT_ACTOR, name=name, ignored=write_uids(ignored))
            return Found.unpack(raw)
        entry = await self.registry.wait_for(name, ignored)
        return Found(entry.uid, entry.pid)

    async def list_actors(self) -> Sequence[Found]:
        """Return all actors of the tree but its root, oldest first."""
        if self.registry is None:
            return [Found.unpack(raw) for raw in await self.ask_parent(LIST_ACTORS)]
        return [Found(entry.uid, entry.pid) for entry in await self.registry.entries()]

    async def ask_parent(self, what: str, **kwargs: Any) -> Any:
        """Call a function of the parent's runtime and return its answer.

        Raises:
          ActorUnavailable: the link to the parent is lost.
        """
        if self.parent is None:
            raise NoRuntime("this actor is not linked to its parent yet")
        return await ask(self.parent, what, **kwargs)


async def ask(channel: Channel, what: str, **kwargs: Any) -> Any:
    """Call a function of the runtime of *channel*'s peer and return its answer."""
    call = await channel.start_call("asyncfunc", (RUNTIME_NS, what), (), kwargs)
    return await call.result()


def read_uids(raw: Any) -> list[Uid]:
    """Return the uids in *raw*, an array of them.

    Raises:
      RemoteProtocolError: it is something else.
    """
    if not isinstance(raw, list):
        raise RemoteProtocolError("uids come in an array")
    return [parse_uid(uid) for uid in raw]


def read_path(raw: Any, limits: Limits) -> list[Uid]:
    """Return the uids in *raw*, each of which an actor can have.

    Raises:
      RemoteProtocolError: it is something else, or longer than any path in a tree.
    """
    path = read_uids(raw)
    texts = [text for uid in path for text in uid]
    are_sound = all(text.isprintable() and len(text) <= limits.max_name_bytes for text in texts)
    if len(path) > limits.max_tree_depth or not are_sound:
        raise RemoteProtocolError("a path that leads to no actor")
    return path


def write_uids(uids: Iterable[Uid]) -> list[list[str]]:
    """Return *uids* as they travel."""
    return [list(uid) for uid in uids]
