"""A module that is not exposed, with functions that an exposed one imports."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


async def imported() -> None:
    """Stand for a function that its importer never meant to expose."""


def plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate without a trace of what is decorated."""

    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


def careful(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as one should."""

    @functools.wraps(fn)
    async def wrapper(*args: Any) -> Any:
        return await fn(*args)

    return wrapper
