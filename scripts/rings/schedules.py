"""Promises 13 and 16: under cuts, kills, delays and cancellations each call ends exactly once, and
its caller is told the truth.

A schedule is a link over memory with a slow wire, calls both ways, and a fault at some moment. The
clock is simulated, and trio's order of tasks is chosen by the seed, so a seed stands for one run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .figure import Figure
from .schedule import CALLS, Schedule

ENDS = ("result", "error", "cancelled", "unavailable")
UNTRUE = ("untrue", "run twice", "disorder")
"""Kinds of problems that are about promise 16; the others are about promise 13."""

LEAST_SHARE = 0.01
"""Each of `ENDS` has at least so large a share, and as many calls are hit by a fault: otherwise
the schedules have not tested what they are meant to test."""


def run_schedules(trials: int, seed: int) -> Iterator[Figure]:
    """Run *trials* schedules, the first with *seed*, each with the number after the last one's."""
    with _quiet():
        yield from _run_all(trials, seed)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the screen that errors came too late for their callers: here that is meant to be."""
    logger = logging.getLogger("actorsys.channel")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run_all(trials: int, seed: int) -> Iterator[Figure]:
    ends: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    examples: dict[str, str] = {}
    hit = 0
    for number in range(seed, seed + trials):
        schedule = Schedule(number).run()
        ends.update(told.how for told in schedule.told.values())
        hit += schedule.hit
        for kind, found in schedule.problems.items():
            problems[kind] += len(found)
            if found:
                examples.setdefault(kind, f"{found[0]}, with seed {number}")
    least = LEAST_SHARE * trials * CALLS
    is_thorough = hit >= least and all(ends[how] >= least for how in ENDS)
    for promise, what, kinds in (
        (13, "ended exactly once", sorted(set(problems) - set(UNTRUE))),
        (16, "ran at most once, in order, as their callers were told", UNTRUE),
    ):
        wrong = {kind: problems[kind] for kind in kinds if problems[kind]}
        told = "; ".join(f"{n} {kind} ({examples[kind]})" for kind, n in wrong.items())
        yield Figure(
            promise=promise,
            what=f"calls that {what} in {trials:,} schedules ({_shares(ends, hit)})",
            n=sum(ends.values()),
            seed=seed,
            worst=told or "all",
            target="all",
            is_met=not wrong and is_thorough,
        )


def _shares(ends: Counter[str], hit: int) -> str:
    counts = ", ".join(f"{ends[how]:,} {how}" for how in ENDS)
    return f"{counts}; {hit:,} under way when the fault came"
