"""The rings of chaos: faults are injected on purpose, and what was promised is measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from . import (
    buffers,
    cancelling,
    crowd,
    cycles,
    handovers,
    healthy,
    liveness,
    orphans,
    producer,
    restarts,
    schedules,
    simulated,
    stopping,
)
from .figure import Figure, add_arguments, pick_seed, report


class Ring(NamedTuple):
    """A ring: what measures it, how large it is by default and in full, and what is counted.

    ``measure`` takes the size and a seed.
    """

    measure: Callable[[int, int], Iterable[Figure]]
    light: int
    full: int
    unit: str


RINGS: dict[str, Ring] = {
    "orphans": Ring(orphans.kill_parents, 2, 200, "trees of which one actor is killed (1)"),
    "healthy": Ring(healthy.idle, 2, 35, "seconds in which nobody may die (2)"),
    "restarts": Ring(restarts.strike_at_random, 40, 1000, "actors struck at random (3)"),
    "stopping": Ring(stopping.stop_actors, 6, 240, "actors stopped (4)"),
    "cycles": Ring(cycles.come_and_go, 10, 1000, "cycles, and failed starts (5)"),
    "guards": Ring(handovers.run_unguarded, 5, 50, "programs without a main guard (6)"),
    "handovers": Ring(handovers.inspect_children, 6, 60, "actors inspected (7)"),
    "interrupts": Ring(stopping.interrupt_trees, 4, 80, "trees interrupted (8)"),
    "schedules": Ring(schedules.run_schedules, 200, 100_000, "simulated schedules (13, 16)"),
    "cancelling": Ring(cancelling.cancel_calls, 100, 2000, "calls cancelled, each way (15)"),
    "deadlines": Ring(cancelling.miss_deadlines, 5, 200, "deadlines missed, each way (15)"),
    "producer": Ring(producer.flood, 1, 1024, "MiB that each producer has (17)"),
    "silence": Ring(liveness.notice_silence, 2, 20, "peers frozen (18)"),
    "busy": Ring(liveness.keep_the_busy, 2, 16, "children that are busy (18)"),
    "crowd": Ring(crowd.knock, 2, 40, "programs at whose door strangers knock (19)"),
    "buffers": Ring(buffers.kill_users, 6, 200, "users of buffers killed (25)"),
    "simulation": Ring(simulated.run_again, 5, 100, "simulations (27)"),
}


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    sizes = "\n".join(
        f"  {name:<12}{ring.light:>6}{ring.full:>9,}   {ring.unit}" for name, ring in RINGS.items()
    )
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Inject faults, and measure what was promised in spite of them.",
        epilog=f"rings       light     full   what is counted (number of the promise)\n{sizes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rings", nargs="*", metavar="ring", help="just these; default: all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--trials", type=int, metavar="N", help="the size of each ring that runs")
    size.add_argument("--full", action="store_true", help="take the promised sizes")
    add_arguments(parser)
    options = parser.parse_args()
    unknown = set(options.rings) - RINGS.keys()
    if unknown:
        parser.error(f"no such ring: {', '.join(sorted(unknown))}")
    return options


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Run the rings that were asked for, one after the other."""
    seed = pick_seed(options.seed)
    for name in options.rings or RINGS:
        ring = RINGS[name]
        yield from ring.measure(options.trials or (ring.full if options.full else ring.light), seed)


def main() -> int:
    """Run the rings, and return the exit status."""
    options = parse_options()
    return report(measure(options), options.json)


if __name__ == "__main__":
    sys.exit(main())
