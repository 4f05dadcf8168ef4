"""Kill an indexer midway, and show what the program sees of it and that nothing is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import trio

import actorsys

from .actors import FileSummary, Indexer, index_sources, open_indexers
from .index import Source
from .report import print_tree
from .screen import Screen, counted

GONE_WITHIN_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.01  # the end of a process that is not our child has to be polled for


class Killer:
    """Kills the indexer that reports the file with which half of the work is done."""

    def __init__(self, sources: list[Source]) -> None:
        self.files = 0
        self.victim: actorsys.Portal | None = None
        self.killed_at = 0.0
        self._sizes = {source.path: source.size for source in sources}
        self._left = sum(self._sizes.values()) / 2

    def on_file(self, indexer: Indexer, summary: FileSummary) -> None:
        """Take the report of a file."""
        if self.victim is not None:
            return
        self.files += 1
        self._left -= self._sizes[summary.path]
        if self._left <= 0:
            self.victim = indexer.portal
            self.killed_at = time.perf_counter()
            os.kill(self.victim.pid, signal.SIGKILL)


def show_kill(screen: Screen, sources: list[Source], workers: int) -> bool:
    """Kill an indexer midway; return whether its end was told, and all ended with it."""
    killer = Killer(sources)
    pids: list[int] = []
    deaths: list[actorsys.ActorDied] = []
    try:
        trio.run(_index, screen, sources, workers, killer, pids)
    except* actorsys.ActorDied as group:
        deaths += _leaves(group)
    is_told = _print_death(screen, killer, deaths)
    return _print_gone(screen, killer, pids) and is_told


async def _index(
    screen: Screen, sources: list[Source], workers: int, killer: Killer, pids: list[int]
) -> None:
    begun = time.perf_counter()
    async with open_indexers(workers) as indexers:
        pids += [pid for each in indexers for pid in (each.portal.pid, each.tokeniser[1])]
        print_tree(screen, indexers, time.perf_counter() - begun)
        screen.heading(f"Indexing with {counted(workers, 'indexer')}, and killing one midway")
        with screen.progress(sources) as advance:

            def on_file(indexer: Indexer, summary: FileSummary) -> None:
                advance(summary.path)
                killer.on_file(indexer, summary)

            await index_sources(indexers, sources, on_file)


def _print_death(screen: Screen, killer: Killer, deaths: list[actorsys.ActorDied]) -> bool:
    """Print the first error there was; return whether it names the actor that was killed."""
    victim = killer.victim
    if victim is None or not deaths:
        screen.line("no indexer died")
        return False
    death = deaths[0]
    files = counted(killer.files, "file")
    screen.heading(f"Killed {victim.name} (pid {victim.pid}) after {files}")
    screen.line("the error that left the block of its nursery:")
    screen.line(f"  {type(death).__name__}: {death}")
    is_named = all(part in str(death) for part in (repr(victim.name), f"pid {victim.pid}"))
    return is_named and death.signal == signal.SIGKILL


def _print_gone(screen: Screen, killer: Killer, pids: list[int]) -> bool:
    """Wait until all of *pids* are gone, but not for long; print and return whether they are."""
    while left := [pid for pid in pids if _is_running(pid)]:
        if time.perf_counter() - killer.killed_at > GONE_WITHIN_SECONDS:
            screen.line(f"left behind: {', '.join(map(str, left))}")
            return False
        time.sleep(LOOK_AGAIN_SECONDS)
    seconds = time.perf_counter() - killer.killed_at
    screen.line(f"all {len(pids)} processes were gone {seconds:.2f} s after the kill")
    return True


def _is_running(pid: int) -> bool:
    """Tell whether *pid* has not ended; what has and waits to be reaped is only a number."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def _leaves(
    group: BaseExceptionGroup[actorsys.ActorDied],
) -> Iterator[actorsys.ActorDied]:
    """Return the errors in *group*, which may hold further groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
