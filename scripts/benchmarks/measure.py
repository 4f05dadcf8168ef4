"""Compare: floor and other side in turn, round by round."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from .processes import count_wake_ups, proportional_kib
from .rows import Figures, Row
from .side import Side

SETTLE_SECONDS = 0.5  # a new process is busy for some milliseconds after its first answer
IDLE_SECONDS = 3.0


Sides = Mapping[str, Side]
"""By the names that rows have for them."""


@contextmanager
def open_sides(rows: Sequence[Row]) -> Iterator[Sides]:
    """Start the sides of *rows* for the time of the block."""
    with ExitStack() as stack:
        names = dict.fromkeys(name for row in rows for name in (row.floor_side, row.side))
        yield {name: stack.enter_context(_start(*name.split())) for name in names}


def _start(module: str, *args: str) -> Side:
    return Side(f"{__package__}.{module}", *args)


def measure_together(
    rows: Sequence[Row], sides: Sides, rounds: int, seconds: float
) -> list[tuple[Row, Figures]]:
    """Return *rows* with their figures; in each of *rounds* every job is done once.

    Before, all of them are done once that does not count: sides have started and hold what they
    need.
    """
    jobs = list(dict.fromkeys(job for row in rows for job in _jobs_of(row)))

    def do_all(seconds: float) -> dict[tuple[str, str], Any]:
        return {(side, job): sides[side].do(job, seconds) for side, job in jobs}

    do_all(0.0)
    done = [do_all(seconds) for _ in range(rounds)]
    measured = []
    for row in rows:
        floor, other = _jobs_of(row)
        measured.append((row, Figures([(results[floor], results[other]) for results in done])))
    return measured


def _jobs_of(row: Row) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return which side does which job for the floor, and which for what is compared with it."""
    return (row.floor_side, row.floor_job), (row.side, row.job)


def measure(row: Row, sides: Sides, rounds: int, seconds: float) -> Figures:
    """Return the figures of *row*, whose jobs take *seconds* in each of *rounds*."""
    floor, other = sides[row.floor_side], sides[row.side]
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
