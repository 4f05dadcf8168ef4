"""Factories and other functions by name, in the modules that a process offers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..channel import Exposure
from ..errors import NotExposed
from ..wire import canonical_module


def find_offered(exposure: Exposure, name: str) -> Callable[..., Any]:
    """Return the function or class *name*, ``"module:name"``, of a module that is offered here.

    Nothing is imported for it, and nothing is found that its module has only imported.

    Raises:
      NotExposed: there is none; says why.
    """
    module_name, _, qualname = name.rpartition(":")
    if module_name not in exposure.modules:
        raise NotExposed(
            f"{name} is in a module that this participant does not offer; name the module with "
            f"open_participants(..., modules=[{module_name!r}])"
        )
    if not qualname.startswith("_"):
        found = vars(sys.modules[module_name]).get(qualname)
        if isinstance(found, type) and canonical_module(found.__module__) == module_name:
            return found
    return exposure.resolve(module_name, qualname).fn
