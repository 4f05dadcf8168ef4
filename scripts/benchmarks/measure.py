"""Compare: floor and other side in turn, round by round."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .processes import count_wake_ups, proportional_kib
from .rows import Figures, Row
from .side import Side

SETTLE_SECONDS = 0.5  # a new process is busy for some milliseconds after its first answer
IDLE_SECONDS = 3.0


def measure(row: Row, floor: Side, other: Side, rounds: int, seconds: float) -> Figures:
    """Return the figures of *row*, whose jobs take *seconds* in each of *rounds*."""
    if row.unit == "wake-ups":
        return _measure_wake_ups(row, floor, other)
    if row.unit == "KiB":
        return _measure_memory(row, floor, other)
    return Figures(
        [(floor.do(row.floor_job, seconds), other.do(row.job, seconds)) for _ in range(rounds)]
    )


def _measure_wake_ups(row: Row, floor: Side, other: Side) -> Figures:
    """Count how often idle processes wake up within `IDLE_SECONDS`."""
    with _hold(floor, row.floor_job) as bare, _hold(other, row.job) as tree:
        before = count_wake_ups(bare), count_wake_ups(tree)
        time.sleep(IDLE_SECONDS)
        return Figures([(count_wake_ups(bare) - before[0], count_wake_ups(tree) - before[1])])


def _measure_memory(row: Row, floor: Side, other: Side) -> Figures:
    """Take the memory of idle processes; all are alive at once, so all share the same pages."""
    with _hold(floor, row.floor_job) as bare, _hold(other, row.job) as actors:
        pairs = zip(bare, actors, strict=True)
        return Figures([(proportional_kib(one), proportional_kib(two)) for one, two in pairs])


@contextmanager
def _hold(side: Side, job: str) -> Iterator[list[int]]:
    """Have *side* hold idle processes for the time of the block; yield their pids."""
    pids = side.do(job)
    time.sleep(SETTLE_SECONDS)
    yield pids
    side.do(job.replace("hold", "release"))
