"""What pools and maps count."""

from __future__ import annotations

from typing import NamedTuple


class WorkerStatistics(NamedTuple):
    """What one worker does right now, and has done in all its lives.

    ``in_flight`` counts calls that it has been sent, those included that it has not begun.
    """

    name: str
    pid: int | None
    in_flight: int
    done: int
    deaths: int


class WorkerPoolStatistics(NamedTuple):
    """What a pool does right now, and has done since it was opened.

    ``done`` counts calls that have returned, ``failed`` those that raised, were cancelled or died
    with their worker, ``retried`` how often one was run again.
    """

    workers: tuple[WorkerStatistics, ...]
    queued: int
    done: int
    failed: int
    retried: int

    @property
    def in_flight(self) -> int:
        """How many calls the workers have been sent."""
        return sum(worker.in_flight for worker in self.workers)


class MapStatistics(NamedTuple):
    """How far a map has come.

    ``total`` is None where the number of items is not known. ``done`` counts items that have a
    result, whether it was fetched or not, ``failed`` those that have raised.
    """

    total: int | None
    in_flight: int
    done: int
    failed: int
