"""When a task that never has to wait should let others run."""

from __future__ import annotations

import trio

from ..limits import RoutingLimits


class Pace:
    """Counts the steps of a task; a pause is due after many of them, or after a while."""

    __slots__ = ("_limits", "_since", "_steps")

    def __init__(self, limits: RoutingLimits) -> None:
        self._limits = limits
        self.begin()

    def __repr__(self) -> str:
        return f"<Pace: {self._steps} steps since {self._since}>"

    def begin(self) -> None:
        """Start to count: other tasks have just had their turn."""
        self._steps = 0
        self._since = trio.current_time()

    def is_pause_due(self) -> bool:
        """Count a step; tell whether it is time for a pause."""
        self._steps += 1
        if self._steps < self._limits.sends_per_checkpoint:
            return trio.current_time() - self._since > self._limits.checkpoint_seconds
        return True

    async def pause(self) -> None:
        """Let other tasks run."""
        await trio.lowlevel.checkpoint()
        self.begin()
