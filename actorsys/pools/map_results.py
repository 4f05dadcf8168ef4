"""What `Pool.map` returns: an iterator over results, which stops its calls when it is dropped."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

import trio

from .map_run import MapRun
from .progress import Progress
from .statistics import MapStatistics


class MapResults:
    """The results of a map, as an asynchronous iterator.

    Nothing is called before the first one is asked for. When the loop is left early, what is under
    way is cancelled: by the end of an ``async with`` block around it or `aclose`, which wait for
    it, else as soon as Python drops the iterator, which it does at the end of the loop.

    ::

        async for result in pool.map(work, items):
            ...

        async with pool.map(work, items) as results:
            async for result in results:
                ...
    """

    def __init__(self, run: MapRun) -> None:
        self._run = run
        self._token = trio.lowlevel.current_trio_token()

    def __repr__(self) -> str:
        return f"<MapResults: {self._run!r}>"

    def __aiter__(self) -> MapResults:
        return self

    async def __anext__(self) -> Any:
        """Return the next result; wait for it. If cancelled, none is lost.

        Raises:
          Exception: a call, or the iterable of items, has raised it; a note says which item. What
            else was under way is cancelled. With ``return_exceptions`` those of calls are returned.
        """
        return await self._run.next()

    async def __aenter__(self) -> MapResults:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until it has cleaned up; not long.

        What is not done within `Limits.cancel_ack_seconds` ends on its own, and is not waited for.
        """
        await self._run.aclose()

    def statistics(self) -> MapStatistics:
        """Return how far the map has come."""
        return self._run.statistics()

    def progress(self) -> Progress:
        """Return an asynchronous iterator that yields `statistics` now and after each change.

        It ends with the map. Several changes that come while nobody is looking are told as one.
        """
        return Progress(self._run)

    def __del__(self) -> None:
        if not self._run.is_over:
            # In any thread, at any time, perhaps after the end of the loop.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._run.close)
