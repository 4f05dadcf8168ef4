"""What the tests of pools share."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from actorsys.testing import Simulation


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Have *test* run as the root of the simulated tree that is its first argument."""

    @functools.wraps(test)
    def run(sim: Simulation, **arguments: Any) -> None:
        sim.run(functools.partial(test, sim, **arguments))
        alive = [process for process in sim.processes.values() if process.describe_end() == "alive"]
        assert len(alive) == 1, f"not only the root is alive: {alive}"

    return run
