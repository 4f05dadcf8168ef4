"""When a task that never has to wait should let others run."""

from __future__ import annotations

import trio


class Pacing:
    """Counts the steps of a task; a pause is due after *steps* of them, or after *seconds*."""

    __slots__ = ("_now", "_seconds", "_since", "_steps", "_taken")

    def __init__(self, steps: int, seconds: float) -> None:
        self._steps = steps
        self._seconds = seconds
        self._now = trio.lowlevel.current_clock().current_time  # in fewer steps than trio's own
        self.begin()

    def __repr__(self) -> str:
        return f"<Pacing: {self._taken} of {self._steps} steps since {self._since:.3f}>"

    def begin(self) -> None:
        """Start to count: other tasks have just had their turn."""
        self._taken = 0
        self._since = self._now()

    def is_pause_due(self) -> bool:
        """Count a step; tell whether it is time for a pause."""
        self._taken += 1
        return self._taken >= self._steps or self._now() - self._since > self._seconds

    async def pause(self) -> None:
        """Let other tasks run."""
        await trio.lowlevel.checkpoint()
        self.begin()

    async def checkpoint(self) -> None:
        """Take a step that is a checkpoint; let other tasks run if that is due."""
        if self.is_pause_due():
            await self.pause()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
