"""Promise 17: a producer that is not kept up with costs little memory, and no other call waits.

Each scenario runs in a program of its own (`programs/flood.py`), with small items, which are
packed, and with large ones, which travel as segments.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from .figure import Figure
from .latencies import in_ms
from .programs.flood import SCENARIOS
from .programs.streams import SLOW_BYTES_PER_SECOND
from .trees import open_program

MIB = 1024 * 1024
ITEM_BYTES = [16 * 1024, MIB]
MOST_GROWTH_BYTES = 16 * MIB
MOST_RATIO = 2.0
STUCK_SECONDS = 0.5
STUCK_SECONDS_PER_GIB = 5.0
STARTS_WITHIN_SECONDS = 60.0
WITHOUT_CALLS = "frozen here"
"""In this scenario it is the caller that is frozen."""


class Flooded(NamedTuple):
    """What a scenario has cost: the growth of a process, the p99 of calls with it and without."""

    label: str
    growth_bytes: int
    with_seconds: float
    without_seconds: float

    @property
    def ratio(self) -> float:
        """How much longer calls took with the flood."""
        return self.with_seconds / self.without_seconds


def flood(mib: int, seed: int) -> Iterator[Figure]:
    """Let producers of *mib* MiB run against consumers that are slow, frozen or never read."""
    outcomes = [_run(name, size, mib * MIB) for size in ITEM_BYTES for name in SCENARIOS]
    planned = len(ITEM_BYTES) * len(SCENARIOS)
    largest = max(outcomes, key=lambda outcome: outcome.growth_bytes)
    yield Figure(
        promise=17,
        what=f"memory of producers of {mib:,} MiB and of consumers that do not keep up",
        n=len(outcomes),
        seed=seed,
        worst=f"+{largest.growth_bytes / MIB:.1f} MiB ({largest.label})",
        target=f"+{MOST_GROWTH_BYTES // MIB} MiB",
        is_met=largest.growth_bytes <= MOST_GROWTH_BYTES and len(outcomes) == planned,
    )
    compared = [outcome for outcome in outcomes if not outcome.label.startswith(WITHOUT_CALLS)]
    slowest = max(compared, key=lambda outcome: outcome.ratio)
    yield Figure(
        promise=17,
        what="p99 of calls beside such a stream, to that of a tree without at the same time",
        n=len(compared),
        seed=seed,
        worst=f"{slowest.ratio:.2f}x, {in_ms(slowest.with_seconds)} to "
        f"{in_ms(slowest.without_seconds)} ({slowest.label})",
        target=f"{MOST_RATIO:.0f}x",
        is_met=slowest.ratio <= MOST_RATIO,
    )


def _run(scenario: str, item_bytes: int, total_bytes: int) -> Flooded:
    """Run one scenario; raise if it takes much longer than it should."""
    stuck_seconds = STUCK_SECONDS + STUCK_SECONDS_PER_GIB * total_bytes / (1024 * MIB)
    arguments = [scenario, str(item_bytes), str(total_bytes), str(stuck_seconds)]
    seconds = 2 * total_bytes / SLOW_BYTES_PER_SECOND + STARTS_WITHIN_SECONDS
    with open_program("flood", *arguments, stderr=subprocess.PIPE) as program:
        stdout, stderr = program.communicate(timeout=seconds)
    if program.returncode:
        raise RuntimeError(f"{scenario}: {stderr.decode()}")
    told = json.loads(stdout)
    label = f"{scenario}, items of {item_bytes // 1024:,} KiB"
    return Flooded(label, max(told["growth"]), told["with"], told["without"])
