"""A pool that maps, and the jobs that are about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from actorsys import open_pool

from .floor import MAP_WORKERS, MAPPED_ITEMS
from .timing import measure_rate


def give_back(value: Any) -> Any:
    """Return the argument, from a thread."""
    return value


async def give_back_at_once(value: Any) -> Any:
    """Return the argument."""
    return value


async def map_with(function: Callable[[Any], Any], seconds: float) -> float:
    """Return calls a second of a map, over as many workers as the floor has."""
    async with open_pool(MAP_WORKERS, modules=[__name__]) as pool:

        async def map_items() -> None:
            async for _ in pool.map(function, range(MAPPED_ITEMS)):
                pass

        return await measure_rate(map_items, seconds, weight=MAPPED_ITEMS)


map_plainly = partial(map_with, give_back)
map_tasks = partial(map_with, give_back_at_once)
