"""What a child must know to become an actor. It travels over the inherited pipe only."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgpack

from ..bridges import BridgeOptions
from ..errors import SpawnError, Uid
from ..wire import canonical_module
from ..wire.typetable import tag_of

_LENGTH_BYTES = 4
MAIN = "__main__"


class ActorSpec(NamedTuple):
    """One child to be: who it is, whom it answers to, and what it offers."""

    uid: Uid
    parent_uid: Uid
    address: str
    key: bytes
    modules: tuple[str, ...]
    types: tuple[str, ...]
    limits: dict[str, Any]
    transport: str
    script: tuple[str, str] | None
    """Path and package of the script that is ``__main__`` in the root, if it is needed."""
    sys_path: tuple[str, ...]
    argv: tuple[str, ...]
    root_uid: Uid
    bridge: BridgeOptions = BridgeOptions()
    """The asyncio loop that it is to have."""

    def __repr__(self) -> str:
        return f"<ActorSpec of {self.uid[0]!r}>"

    def pack(self) -> bytes:
        """Return the spec as bytes, its length in front."""
        body: bytes = msgpack.packb(self._asdict(), unicode_errors="surrogateescape")
        return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def read_spec(fd: int) -> ActorSpec | None:
    """Read a spec from a blocking pipe; None if the pipe ends first: the parent is gone."""
    header = _read_exactly(fd, _LENGTH_BYTES)
    body = _read_exactly(fd, int.from_bytes(header, "little")) if header else b""
    if not body:
        return None
    fields: dict[str, Any] = msgpack.unpackb(body, use_list=False, unicode_errors="surrogateescape")
    fields["bridge"] = BridgeOptions(*fields["bridge"])
    return ActorSpec(**fields)


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            return b""
        data += part
    return data


def module_names(modules: Iterable[str | types.ModuleType]) -> tuple[str, ...]:
    """Return the names by which every process knows *modules*.

    Raises:
      TypeError: it is no collection of modules or their names.
    """
    if isinstance(modules, (str, types.ModuleType)):
        raise TypeError(f"modules is a list of modules or their names, not {modules!r}")
    names: list[Any] = [getattr(module, "__name__", module) for module in modules]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a module is named by a string or given as itself, not {name!r}")
    return tuple(dict.fromkeys(map(canonical_module, names)))


def type_names(classes: Iterable[type]) -> tuple[str, ...]:
    """Return the tags by which a child finds *classes*.

    Raises:
      TypeError: a class is defined inside a function, where no other process finds it.
    """
    tags = tuple(tag_of(cls) for cls in classes)
    for tag in tags:
        if "<locals>" in tag:
            raise TypeError(f"{tag} is defined inside a function; move it to a module's top")
    return tags


def script_of_this_process(wanted: Iterable[str]) -> tuple[str, str] | None:
    """Return where the script is that this tree runs as ``__main__``, if *wanted* needs it.

    Raises:
      SpawnError: it is needed and there is none, as in an interactive session.
    """
    if not any(name.partition(":")[0] == MAIN for name in wanted):
        return None
    main = sys.modules[MAIN]
    # Once a script has run to its end, with its threads going on, only its loader tells.
    path = getattr(main, "__file__", None) or getattr(main.__loader__, "path", None)
    if path is None or not os.path.isfile(path):
        raise SpawnError(
            "functions typed into an interactive session, or piped in, cannot be run in another "
            "process; put them into a file"
        )
    return os.path.abspath(path), getattr(main, "__package__", None) or ""
