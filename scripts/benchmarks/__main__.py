"""The options, and the program from start to end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .machine import describe_machine
from .measure import measure, measure_together, open_sides
from .peers import PEERS, find_missing, peer_rows
from .plot import draw
from .report import describe, print_header, print_row, write_json
from .rows import ROWS, Row
from .trials import TRIALS, Trial


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Compare actorsys with bare trio and msgpack doing the same job.",
    )
    names = [*[row.name for row in ROWS], *[trial.name for trial in TRIALS]]
    parser.add_argument(
        "group",
        nargs="?",
        choices=["calls", "buffers"],
        default="calls",
        help="calls, and all that is like them, or what buffers do (default: %(default)s)",
    )
    parser.add_argument("--only", action="append", choices=names, help="just this row; repeatable")
    parser.add_argument("--rounds", type=int, default=7, help="of each row (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.3, help="a side has in a round")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there as well")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw hand-offs there, as SVG")
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("--peers", action="store_true", help="measure what else is installed, too")
    options = parser.parse_args()
    if options.plot and not _is_chosen(options, "buffers", "hand-off"):
        parser.error("--plot draws the hand-offs, which are not among what is measured")
    return options


def main() -> int:
    """Measure, tell, and return the exit status."""
    options = parse_options()
    machine = describe_machine()
    print_header(machine)
    told = [*_compare_calls(options), *_compare_buffers(options)]
    if options.json:
        write_json(options.json, machine, told)
    if options.plot:
        options.plot.write_text(draw(machine, told))
    missed = [row["name"] for row in told if row["met"] is False]
    return 1 if missed and options.check else 0


def _is_chosen(options: argparse.Namespace, group: str, name: str) -> bool:
    return name in options.only if options.only else group == options.group


def _compare_calls(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    rows = [row for row in ROWS if _is_chosen(options, "calls", row.name)]
    yield from _compare(options, rows)
    if rows and options.peers:
        yield from _compare_peers(options)


def _compare(options: argparse.Namespace, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Measure and print *rows* one after the other; yield each as JSON has it."""
    with open_sides(rows) as sides:
        for row in rows:
            figures = measure(row, sides, options.rounds, options.seconds)
            print_row(row, figures)
            yield describe(row, figures)


def _compare_peers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for peer in PEERS:
        missing = find_missing(peer)
        if missing:
            print(f"{peer}: {missing} is not installed")
        else:
            yield from _compare(options, peer_rows(peer))


def _compare_buffers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure and print trials one after the other; yield each of their rows as JSON has it."""
    for trial in TRIALS:
        if _is_chosen(options, "buffers", trial.name):
            rows = [*trial.rows, *(_installed_peer_rows(trial) if options.peers else ())]
            with open_sides(rows) as sides:
                measured = measure_together(rows, sides, options.rounds, options.seconds)
            for row, figures in [*measured, *trial.conclude(measured)]:
                print_row(row, figures)
                yield describe(row, figures)


def _installed_peer_rows(trial: Trial) -> Iterator[Row]:
    for peer, rows in trial.peer_rows.items():
        missing = find_missing(peer)
        if missing:
            print(f"{peer}: {missing} is not installed")
        else:
            yield from rows


if __name__ == "__main__":
    sys.exit(main())
