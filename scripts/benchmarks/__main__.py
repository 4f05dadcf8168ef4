"""The options, and the program from start to end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .machine import describe_machine
from .measure import measure
from .peers import PEERS, find_missing, peer_rows
from .report import describe, print_header, print_row, write_json
from .rows import ROWS, Row
from .side import Side

PACKAGE = __spec__.parent


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Compare actorsys with bare trio and msgpack doing the same job.",
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--only", action="append", choices=names, help="just this row; repeatable")
    parser.add_argument("--rounds", type=int, default=7, help="of each row (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.3, help="a side has in a round")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there as well")
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--peers", action="store_true", help="measure what else is installed, too")
    return parser.parse_args()


def main() -> int:
    """Measure, tell, and return the exit status."""
    options = parse_options()
    machine = describe_machine()
    print_header(machine)
    told = [
        *_compare(options, "system", _chosen(options)),
        *(_compare_peers(options) if options.peers else ()),
    ]
    if options.json:
        write_json(options.json, machine, told)
    missed = [row["name"] for row in told if row["met"] is False]
    return 1 if missed and options.check else 0


def _chosen(options: argparse.Namespace) -> list[Row]:
    return [row for row in ROWS if not options.only or row.name in options.only]


def _compare(
    options: argparse.Namespace, side: str, rows: list[Row], *args: str
) -> Iterator[dict[str, Any]]:
    """Measure and print *rows* of the floor and another side; yield each as JSON has it."""
    with ExitStack() as stack:
        floor = stack.enter_context(Side(f"{PACKAGE}.floor"))
        other = stack.enter_context(Side(f"{PACKAGE}.{side}", *args))
        for row in rows:
            figures = measure(row, floor, other, options.rounds, options.seconds)
            print_row(row, figures)
            yield describe(row, figures)


def _compare_peers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for peer in PEERS:
        missing = find_missing(peer)
        if missing:
            print(f"{peer}: {missing} is not installed")
        else:
            yield from _compare(options, "peers", peer_rows(peer), peer)


if __name__ == "__main__":
    sys.exit(main())
