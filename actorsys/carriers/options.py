"""What may be asked of a run, checked before anything starts."""

from __future__ import annotations

import math
import types as python_types
from collections.abc import Iterable
from typing import Any, Literal, get_args

from ..channel import qualify
from ..spawn import find_class

Delivery = Literal["concurrent", "sequenced"]


def check_delivery(delivery: object) -> None:
    """Raise ValueError unless *delivery* is a way to deliver."""
    if delivery not in get_args(Delivery):
        raise ValueError(f"delivery is one of {get_args(Delivery)}, not {delivery!r}")


def check_max_messages(count: object) -> None:
    """Raise TypeError or ValueError unless *count* is a number of messages, or None."""
    if count is None:
        return
    if type(count) is not int:
        raise TypeError(f"max_messages is a whole number, or None for no limit, not {count!r}")
    if count < 0:
        raise ValueError(f"max_messages is 0 or more, or None for no limit, not {count}")


def check_max_seconds(seconds: object) -> None:
    """Raise TypeError or ValueError unless *seconds* is a time, or None."""
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"max_seconds is a number, or None for no limit, not {seconds!r}")
    if math.isnan(seconds) or seconds <= 0:
        raise ValueError(f"max_seconds is more than 0, or None for no limit, not {seconds}")


def find_types(types: Iterable[str | type]) -> list[type]:
    """Return the classes that *types* are, or name.

    Raises:
      TypeError: it is no list of them.
      ValueError: a name is not ``"package.module:Class"``.
    """
    return [_find_type(each) for each in _as_list("types", types)]


def _find_type(given: object) -> type:
    if isinstance(given, type):
        return given
    if not isinstance(given, str):
        raise TypeError(f"types has classes, or their names 'package.module:Class', not {given!r}")
    module, _, name = given.partition(":")
    if not (module and name):
        raise ValueError(f"name a class as 'package.module:Class', not {given!r}")
    return find_class(given)


def list_modules(modules: Iterable[str | python_types.ModuleType]) -> list[Any]:
    """Return *modules* as a list; raise TypeError if that is not what they are."""
    listed = _as_list("modules", modules)
    for module in listed:
        if not isinstance(module, (str, python_types.ModuleType)):
            raise TypeError(f"modules has modules, or their names, not {module!r}")
    return listed


def check_factory(factory: Any) -> None:
    """Raise unless *factory* is a function or class that can be named, or a name.

    Raises:
      ValueError: the name is not ``"module:name"``.
      LocalProtocolError: it is no function, or has no such name.
    """
    module, name = qualify(factory)
    if not (module and name):
        raise ValueError(f"name a factory as 'module:name', not {factory!r}")


def check_args(args: object, kwargs: object) -> None:
    """Raise TypeError unless a factory can be called with ``*args, **kwargs``."""
    if isinstance(args, (str, bytes)) or not isinstance(args, Iterable):
        raise TypeError(f"args is a tuple of arguments, such as ({args!r},), not {args!r}")
    if not (isinstance(kwargs, dict) and all(isinstance(key, str) for key in kwargs)):
        raise TypeError(f"kwargs is a dict with names as keys, not {kwargs!r}")


def _as_list(name: str, given: object) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{name} is a list, not {given!r}")
    return [*given]
