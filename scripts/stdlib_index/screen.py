"""What the program prints: plain text, with a progress bar and bold headings on a terminal."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from .index import Source

PROGRESS_LINES = 5
REFRESHES_PER_SECOND = 5  # enough to look alive, and too little to slow down the work
BAR_WIDTH = 30

Advance = Callable[[str], None]
"""Takes the path of a file that is done."""


class Screen:
    """Plain text, as for a file or a pipe; progress is a line now and then."""

    def heading(self, text: str) -> None:
        """Print a heading, with a line of space before it."""
        print(f"\n{text}")

    def line(self, text: str) -> None:
        """Print a line that belongs to the last heading."""
        print(f"  {text}")

    def table(self, rows: Iterable[tuple[str, ...]]) -> None:
        """Print rows with their columns aligned: the first to the left, the others to the right."""
        rows = list(rows)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for first, *others in rows:
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            self.line("   ".join([first.ljust(widths[0]), *cells]).rstrip())

    @contextmanager
    def progress(self, sources: list[Source]) -> Iterator[Advance]:
        """Show how much of *sources* is done while the block runs; it is told what is."""
        work = work_of(sources)
        total = sum(work.values())
        begun = time.perf_counter()
        done = files = lines = 0

        def advance(path: str) -> None:
            nonlocal done, files, lines
            done += work[path]
            files += 1
            if done * PROGRESS_LINES >= (lines + 1) * total:
                lines = done * PROGRESS_LINES // total
                seconds = time.perf_counter() - begun
                count = f"{files:,} of {len(sources):,} files"
                self.line(f"{done / total:4.0%}   {count:>21}   {seconds:5.1f} s")

        yield advance


class Terminal(Screen):
    """A terminal: bold headings and a progress bar."""

    def heading(self, text: str) -> None:
        print(f"\n\033[1m{text}\033[0m")

    @contextmanager
    def progress(self, sources: list[Source]) -> Iterator[Advance]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        work = work_of(sources)
        columns = (
            TextColumn(" "),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.percentage:>4.0f}%  {task.fields[files]:>6,}"),
            TextColumn(f"of {len(sources):,} files"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, refresh_per_second=REFRESHES_PER_SECOND) as progress:
            task = progress.add_task("", total=sum(work.values()), files=0)
            files = 0

            def advance(path: str) -> None:
                nonlocal files
                files += 1
                progress.update(task, advance=work[path], files=files)

            yield advance


def counted(number: int, noun: str) -> str:
    """Return *number* with its *noun*, in the plural where there is not just one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def work_of(sources: list[Source]) -> dict[str, int]:
    """Return how much work each path is: its size, and a little for being a file at all."""
    return {source.path: source.size + 1 for source in sources}


def open_screen(plain: bool) -> Screen:
    """Return what to print on: a terminal's extras need rich, and no *plain*."""
    has_extras = sys.stdout.isatty() and importlib.util.find_spec("rich") is not None
    return Terminal() if has_extras and not plain else Screen()
