"""How an instance of a message class is made: once its fields are set, they cannot be changed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

from .schema import schema_of

MAX_PRIORITY = 255

_OPEN = "(open)"
"""In the ``__dict__`` of an instance while its ``__init__`` runs; no field has such a name."""

_set_attribute = object.__setattr__


def sealing_init(made: type[Any]) -> Callable[..., None]:
    """Return the ``__init__`` of *made*, after which the priority is one and no field changes."""
    init = made.__init__

    @functools.wraps(init)
    def opening_init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        self.__dict__[_OPEN] = True
        try:
            init(self, *args, **kwargs)
        finally:
            del self.__dict__[_OPEN]
        _set_attribute(self, "priority", checked_priority(self.priority))

    return _quick_init(made, init, opening_init) if _is_plain(made) else opening_init


def _is_plain(made: type[Any]) -> bool:
    """Tell whether to make an instance is nothing but to set the fields."""
    has_own_code = hasattr(made, "__post_init__") or any(
        inspect.getattr_static(made, name) is not getattr(object, name)
        for name in ("__new__", "__setattr__", "__getattribute__")
    )
    return (
        not has_own_code
        and not any("__slots__" in vars(base) for base in made.__mro__[:-1])
        and all(
            field.init and not _is_descriptor(inspect.getattr_static(made, field.name, None))
            for field in dataclasses.fields(made)
        )
    )


def _is_descriptor(attribute: object) -> bool:
    return hasattr(type(attribute), "__set__")


class _Fields:
    """Stands for an instance while its fields are set; it takes them without a question."""


def _quick_init(
    made: type[Any], init: Callable[..., None], opening_init: Callable[..., None]
) -> Callable[..., None]:
    """Return *init* for instances of *made*, in a quarter less time; *opening_init* for others."""
    set_all = next(vars(base)["__dict__"] for base in made.__mro__ if "__dict__" in vars(base))
    set_all = set_all.__set__

    @functools.wraps(init)
    def quick_init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        if self.__class__ is not made:
            opening_init(self, *args, **kwargs)
            return
        found = _Fields()
        init(found, *args, **kwargs)
        fields = found.__dict__
        priority = fields["priority"]
        if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
            fields["priority"] = checked_priority(priority)
        set_all(self, fields)

    return quick_init


def set_while_open(self: Any, name: str, value: Any) -> None:
    """Be the ``__setattr__`` of a message class."""
    if _OPEN not in self.__dict__ and schema_of(type(self)) is not None:
        raise _unchangeable(self, name)
    _set_attribute(self, name, value)


def delete_while_open(self: Any, name: str) -> None:
    """Be the ``__delattr__`` of a message class."""
    if _OPEN not in self.__dict__ and schema_of(type(self)) is not None:
        raise _unchangeable(self, name)
    object.__delattr__(self, name)


def _unchangeable(self: Any, name: str) -> dataclasses.FrozenInstanceError:
    return dataclasses.FrozenInstanceError(
        f"messages cannot be changed; use message.replace({name}=...) for a changed copy"
    )


def checked_priority(priority: Any) -> int:
    """Return *priority* as a plain number.

    Raises:
      ValueError: it is none from 0 to 255.
    """
    is_number = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_number or not 0 <= priority <= MAX_PRIORITY:
        raise ValueError(f"a priority is a whole number from 0 to {MAX_PRIORITY}, not {priority!r}")
    return int(priority)
