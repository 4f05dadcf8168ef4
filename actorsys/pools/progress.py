"""How far a map has come, for whoever wants to show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .statistics import MapStatistics

if TYPE_CHECKING:
    from .map_run import MapRun


class Progress:
    """The statistics of a map, after each change; asynchronous, and without polling."""

    def __init__(self, run: MapRun) -> None:
        self._run = run
        self._seen: MapStatistics | None = None

    def __repr__(self) -> str:
        return f"<Progress of {self._run!r}>"

    def __aiter__(self) -> Progress:
        return self

    async def __anext__(self) -> MapStatistics:
        """Return the statistics, as soon as they differ from those returned last."""
        await trio.lowlevel.checkpoint()
        while True:
            now = self._run.statistics()
            if now != self._seen:
                self._seen = now
                return now
            if self._run.is_over:
                raise StopAsyncIteration
            await self._run.progressed.wait()
