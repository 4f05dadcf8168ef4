"""The soak run: actors come and go for long, and what is held afterwards is counted."""

from __future__ import annotations

import argparse
import sys

from .cycles import come_and_go
from .figure import add_arguments, pick_seed, report

LIGHT_CYCLES = 20
FULL_CYCLES = 1000


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Let actors come and go, and fail to start, and count what is left of them: "
        "descriptors, sockets, threads, children, shared memory (promise 5).",
    )
    parser.add_argument(
        "--cycles",
        type=int,
        default=LIGHT_CYCLES,
        metavar="N",
        help=f"of each kind (default: {LIGHT_CYCLES}, promised: {FULL_CYCLES})",
    )
    parser.add_argument("--full", action="store_true", help="take the promised number of cycles")
    parser.add_argument(
        "--seconds", type=float, default=0.0, metavar="S", help="go on for so long at least"
    )
    add_arguments(parser)
    return parser.parse_args()


def main() -> int:
    """Run the cycles, and return the exit status."""
    options = parse_options()
    cycles = FULL_CYCLES if options.full else options.cycles
    figures = come_and_go(cycles, pick_seed(options.seed), options.seconds)
    return report(figures, options.json)


if __name__ == "__main__":
    sys.exit(main())
