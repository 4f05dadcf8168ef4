"""How an instance of a message class is made: once its fields are set, they cannot be changed."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from .schema import schema_of

MAX_PRIORITY = 255

_OPEN = "(open)"
"""In the ``__dict__`` of an instance while its ``__init__`` runs; no field has such a name."""

_MADE_BY_DATACLASS = "<string>"

_set_attribute = object.__setattr__


def is_own(cls: type[Any], name: str) -> bool:
    """Tell whether *cls* itself defines the method *name*, and not `dataclass` for it."""
    method = vars(cls).get(name)
    code = getattr(inspect.unwrap(method), "__code__", None) if callable(method) else None
    return code is not None and code.co_filename != _MADE_BY_DATACLASS


def sealing_init(made: type[Any]) -> Callable[..., None]:
    """Return the ``__init__`` of *made*, after which the priority is one and no field changes."""
    init = made.__init__

    @functools.wraps(init)
    def opening_init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        state = self.__dict__
        if _OPEN in state:  # a derived class is being made
            init(self, *args, **kwargs)
        else:
            state[_OPEN] = True
            try:
                init(self, *args, **kwargs)
            finally:
                del self.__dict__[_OPEN]
        priority = self.priority
        if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
            _set_attribute(self, "priority", checked_priority(priority))

    return _quick_init(made, init, opening_init) if _is_plain(made) else opening_init


def _is_plain(made: type[Any]) -> bool:
    """Tell whether to make an instance is nothing but to set the fields."""
    fields = dataclasses.fields(made)
    own = [name for name in _MAKERS if _static(made, name) is not vars(object)[name]]
    has_own_code = own or is_own(made, "__init__") or hasattr(made, "__post_init__")
    return (
        not has_own_code
        and type(made).__call__ is type.__call__
        and type(_static(made, "__dict__")) is types.GetSetDescriptorType
        and not any("__slots__" in vars(base) for base in made.__mro__[:-1])
        and all(field.init and not _takes_values(_static(made, field.name)) for field in fields)
    )


_MAKERS = ("__new__", "__setattr__", "__getattribute__")


def _static(cls: type[Any], name: str) -> Any:
    """Return the attribute *name* of instances, as the class of them or one of its bases has it."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _takes_values(attribute: object) -> bool:
    return hasattr(type(attribute), "__set__")


def _quick_init(
    made: type[Any], init: Callable[..., None], opening_init: Callable[..., None]
) -> Callable[..., None]:
    """Return *init* for instances of *made*, in a quarter less time; *opening_init* for others.

    A stand-in takes the values of the fields without a question, and the instance has them from it.
    """
    new_stand_in = type("_StandIn", (), {})  # one for each class: their dicts share the keys
    set_fields = _static(made, "__dict__").__set__

    @functools.wraps(init)
    def quick_init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        if self.__class__ is not made:
            opening_init(self, *args, **kwargs)
            return
        stand_in = new_stand_in()
        init(stand_in, *args, **kwargs)
        fields = stand_in.__dict__
        priority = fields["priority"]
        if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
            fields["priority"] = checked_priority(priority)
        set_fields(self, fields)

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
