"""Index the source of the Python standard library with a tree of actors.

The program starts one indexer for each core, and each indexer a tokeniser of its own. They index
the library together and answer questions about it; then one process does the same work alone.
What both found is compared: the exit status is 0 if it is the same, 1 if not, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time

import trio

from .actors import ask, index_sources, open_indexers, read_totals
from .index import LIBRARY, Index, Source, find_sources, merge_totals, tokenise_file
from .kill import show_kill
from .report import (
    Findings,
    print_answers,
    print_check,
    print_speed,
    print_top_identifiers,
    print_tree,
)
from .screen import Screen, counted, open_screen

QUESTIONS = ("Decimal", "deepcopy", "monotonic")
INTERRUPTED = 128 + signal.SIGINT  # what a shell reports of a program that a signal has ended


def main() -> int:
    """Run the program; return its exit status."""
    options = parse_arguments()
    # Whoever reads from a pipe shall see the lines as they come.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    status = 1
    try:
        status = 0 if run(options) else 1
    except* KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    except* BrokenPipeError:
        # Nobody reads any more, as after `| head`; what is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    first, _, description = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=f"{first}\n\n{description}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--workers",
        type=positive,
        default=cores,
        metavar="N",
        help=f"how many indexers to start (one for each core: {cores})",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="index only the first N files, by name"
    )
    parser.add_argument(
        "--query",
        action="append",
        default=[],
        metavar="NAME",
        help="also ask where the identifier NAME occurs most; may be given several times",
    )
    parser.add_argument(
        "--kill",
        action="store_true",
        help="kill an indexer midway instead; show the error, and that no process is left",
    )
    parser.add_argument("--plain", action="store_true", help="plain text, also on a terminal")
    return parser.parse_args()


def positive(text: str) -> int:
    """Return the number in *text*, which must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def run(options: argparse.Namespace) -> bool:
    """Do what the *options* say; return whether everything was as it should be."""
    screen = open_screen(options.plain)
    sources = find_sources(options.limit)
    size = sum(source.size for source in sources)
    screen.heading(f"actorsys indexes the standard library of Python {platform.python_version()}")
    screen.line(f"{counted(len(sources), 'file')} with {size / 1e6:.1f} MB in {LIBRARY}")
    if options.kill:
        return show_kill(screen, sources, options.workers)
    questions = list(dict.fromkeys([*QUESTIONS, *options.query]))
    tree = trio.run(index_with_actors, screen, sources, questions, options.workers)
    print_top_identifiers(screen, tree.totals)
    print_answers(screen, tree.answers)
    alone = index_alone(screen, sources, questions)
    print_speed(screen, tree, alone, options.workers)
    return print_check(screen, tree, alone)


async def index_with_actors(
    screen: Screen, sources: list[Source], questions: list[str], workers: int
) -> Findings:
    """Index *sources* and answer *questions* with a tree of actors."""
    begun = time.perf_counter()
    async with open_indexers(workers) as indexers:
        start_seconds = time.perf_counter() - begun
        print_tree(screen, indexers, start_seconds)
        screen.heading(f"Indexing with {counted(workers, 'indexer')}")
        with screen.progress(sources) as advance:
            begun = time.perf_counter()
            await index_sources(indexers, sources, lambda _, summary: advance(summary.path))
            seconds = time.perf_counter() - begun
        totals = merge_totals([await each.portal.run(read_totals) for each in indexers])
        answers = {question: await ask(indexers, question) for question in questions}
    return Findings(totals, answers, seconds, start_seconds)


def index_alone(screen: Screen, sources: list[Source], questions: list[str]) -> Findings:
    """Index *sources* and answer *questions* in this process."""
    screen.heading("Indexing with one process, to compare")
    index = Index()
    with screen.progress(sources) as advance:
        begun = time.perf_counter()
        for source in sources:
            index.add(tokenise_file(source.path))
            advance(source.path)
        seconds = time.perf_counter() - begun
    answers = {question: index.find(question) for question in questions}
    return Findings(index.totals(), answers, seconds)


if __name__ == "__main__":
    sys.exit(main())
