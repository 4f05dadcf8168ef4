"""Findings, as the program prints them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .actors import Indexer
from .index import Answer, Totals, largest
from .screen import Screen, counted

TOP_IDENTIFIERS = 10
BAR_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Findings:
    """What one pass over the library found, how long it took, and how long it took to start."""

    totals: Totals
    answers: dict[str, Answer]
    seconds: float
    start_seconds: float = 0.0


def print_tree(screen: Screen, indexers: list[Indexer], start_seconds: float) -> None:
    """Print the actors; the kernel says who is whose child."""
    screen.heading(f"Actors, started in {start_seconds:.2f} s")
    rows = [("root", os.getpid())]
    for number, indexer in enumerate(indexers, 1):
        is_last = number == len(indexers)
        rows.append((f"{'└' if is_last else '├'}─ {indexer.portal.name}", indexer.portal.pid))
        name, pid = indexer.tokeniser
        rows.append((f"{' ' if is_last else '│'}  └─ {name}", pid))
    screen.table([(name, f"pid {pid}", f"child of {parent_of(pid)}") for name, pid in rows])


def parent_of(pid: int) -> int:
    """Return the pid of the parent of the process *pid*."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nPPid:")[2].split()[0])


def print_top_identifiers(screen: Screen, totals: Totals) -> None:
    """Print the identifiers that occur most."""
    screen.heading(f"Top {TOP_IDENTIFIERS} of {len(totals.identifiers):,} identifiers")
    top = largest(totals.identifiers.items(), TOP_IDENTIFIERS)
    width = max((len(name) for name, _ in top), default=0)
    for name, count in top:
        bar = "█" * max(1, round(BAR_WIDTH * count / top[0][1]))
        screen.line(f"{name:{width}}  {count:>9,}  {bar}")


def print_answers(screen: Screen, answers: dict[str, Answer]) -> None:
    """Print each question with its answer."""
    for identifier, answer in answers.items():
        screen.heading(f"Where does {identifier!r} occur most?")
        if not answer.files:
            screen.line("nowhere")
            continue
        times, files = counted(answer.occurrences, "time"), counted(answer.files, "file")
        screen.line(f"{times} in {files}, most in")
        screen.table([(f"  {path}", f"{count:,}") for path, count in answer.most])


def print_speed(screen: Screen, tree: Findings, alone: Findings, workers: int) -> None:
    """Print the time that both passes took, and the speed-up."""
    screen.heading("Speed")
    rows = [("", "seconds", "files/s", "tokens/s")]
    for name, found in ((counted(workers, "indexer"), tree), ("one process", alone)):
        files, tokens = found.totals.files / found.seconds, found.totals.tokens / found.seconds
        rows.append((name, f"{found.seconds:.2f}", f"{files:,.0f}", f"{tokens:,.0f}"))
    screen.table(rows)
    with_start = alone.seconds / (tree.seconds + tree.start_seconds)
    screen.line(
        f"speed-up {alone.seconds / tree.seconds:.2f}"
        f" ({with_start:.2f} with the {tree.start_seconds:.2f} s in which the actors started)"
    )


def print_check(screen: Screen, tree: Findings, alone: Findings) -> bool:
    """Print whether both passes found the same; return it."""
    screen.heading("Check against one process")
    checks = {
        field.name: (getattr(tree.totals, field.name), getattr(alone.totals, field.name))
        for field in fields(Totals)
    }
    checks["answers"] = (tree.answers, alone.answers)
    rows = [
        (name, _size(found), _size(expected), "same" if found == expected else "DIFFERENT")
        for name, (found, expected) in checks.items()
    ]
    screen.table(rows)
    return all(found == expected for found, expected in checks.values())


def _size(value: int | dict[str, Any]) -> str:
    return f"{value if isinstance(value, int) else len(value):,}"
