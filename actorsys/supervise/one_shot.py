"""The result of an actor that was started for one call."""

from __future__ import annotations

from typing import Any

import outcome
import trio


class OneShot:
    """The result of a one-shot. Filled by the nursery; read by whoever holds the portal."""

    def __init__(self) -> None:
        self._outcome: outcome.Outcome[Any] | None = None
        self._waiting = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<OneShot: {self._outcome or 'running'}>"

    def set(self, result: outcome.Outcome[Any]) -> bool:
        """Store the result; return whether somebody was waiting for it."""
        self._outcome = result
        return bool(self._waiting.unpark_all())

    async def wait(self) -> Any:
        """Return the result, or raise what there was instead."""
        while self._outcome is None:
            await self._waiting.park()
        if isinstance(self._outcome, outcome.Error):
            raise self._outcome.error
        assert isinstance(self._outcome, outcome.Value)
        return self._outcome.value
