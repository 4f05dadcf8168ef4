"""The classes whose instances may travel, by tag.

A tag is ``module:qualified_name``. A tag from the wire is looked up here and nowhere else:
nothing is imported and no attribute is followed because a peer said so.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Protocol, TypeVar

T = TypeVar("T", bound=type)

CHILD_MAIN_MODULE = "__actorsys_main__"
"""The name under which a child imports the script that its root runs as ``__main__``. It is
another one, so that the script's main guard stays shut."""


MAIN_MODULE = "__main__"


def canonical_module(name: str) -> str:
    """Return the name by which every process of the tree knows the module *name*."""
    return MAIN_MODULE if name == CHILD_MAIN_MODULE else name


def tag_of(cls: type) -> str:
    """Return the tag of *cls*: the same in every process of the tree."""
    return f"{canonical_module(cls.__module__)}:{cls.__qualname__}"


class FieldForm(Protocol):
    """How the fields of a dataclass travel, where that is not simply as they are."""

    def write(self, value: Any) -> dict[str, Any]:
        """Return the fields of *value* as they travel.

        Raises:
          EncodeError: one cannot; it is named.
        """

    def read(self, fields: dict[Any, Any]) -> Any:
        """Return the instance of the fields that have arrived; a ValueError refuses them."""


class TypeTable:
    """Two tables: dataclasses and enums that travel as values, and exceptions as errors."""

    def __init__(self) -> None:
        self.values: dict[str, type] = {}
        self.errors: dict[str, type[BaseException]] = {}
        self.forms: dict[type, FieldForm] = {}
        self._tags: dict[type, str] = {}

    def __repr__(self) -> str:
        return f"<TypeTable: {len(self.values)} values, {len(self.errors)} errors>"

    def add_value(self, cls: type, form: FieldForm | None = None) -> None:
        """Let instances of *cls*, a dataclass or Enum, travel; its fields as *form* says.

        Raises:
          TypeError: it is neither, or another class already has its tag.
        """
        is_enum = isinstance(cls, type) and issubclass(cls, enum.Enum)
        if not (is_enum or (isinstance(cls, type) and dataclasses.is_dataclass(cls))):
            raise TypeError(f"register_type takes a dataclass or an Enum class, not {cls!r}")
        self._claim(cls, self.values)
        self._tags[cls] = tag_of(cls)
        if form is not None:
            self.forms[cls] = form

    def add_error(self, cls: type[BaseException]) -> None:
        """Let a remote *cls* be caught as one.

        Raises:
          TypeError: it is no exception class, or another class already has its tag.
        """
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise TypeError(f"register_error takes an exception class, not {cls!r}")
        self._claim(cls, self.errors)

    def tag_for(self, cls: type) -> str | None:
        """Return the tag of a registered value class, or None."""
        return self._tags.get(cls)

    def _claim(self, cls: type, table: dict[str, type]) -> None:
        tag = tag_of(cls)
        known = table.get(tag)
        if known is not None and known is not cls and not _is_reload(known, cls):
            raise TypeError(f"{tag} is already registered by another class: {known!r}")
        table[tag] = cls


def _is_reload(old: type, new: type) -> bool:
    """Tell whether *new* is *old* after its module was run again.

    That is no conflict: a script imports itself once more, a notebook cell is run twice. The
    newer class wins, as it does for the module's own name.
    """
    return old.__qualname__ == new.__qualname__ and "<locals>" not in old.__qualname__


TYPES = TypeTable()
"""The table of this process. It is filled while modules are imported, before any actor runs."""


def register_type(cls: T) -> T:
    """Let instances of *cls*, a dataclass or Enum, travel. Usable as a class decorator.

    Both ends must register it; ``start_actor(..., types=[cls])`` does so for a child. What
    travels are the fields: ``__init__`` and ``__post_init__`` do not run on arrival.
    """
    TYPES.add_value(cls)
    return cls


def register_error(cls: T) -> T:
    """Let a remote *cls* be caught by ``except cls`` here. Usable as a class decorator.

    Its ``args`` and its encodable attributes travel; its ``__init__`` does not run on arrival.
    """
    TYPES.add_error(cls)
    return cls


def register(cls: type) -> None:
    """Register *cls* as what it is: an exception as an error, anything else as a value."""
    if issubclass(cls, BaseException):
        register_error(cls)
    else:
        register_type(cls)
