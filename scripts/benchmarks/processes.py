"""What the kernel says of processes: the memory that is theirs, and how often they woke up."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def proportional_kib(pid: int) -> int:
    """Return the memory of a process in KiB; what n processes share counts 1/n for each."""
    return int(_field(PROC / str(pid) / "smaps_rollup", "Pss:"))


def count_wake_ups(pids: Iterable[int]) -> int:
    """Return how often the threads of all *pids* have waited for something so far."""
    return sum(
        int(_field(task / "status", "voluntary_ctxt_switches:"))
        for pid in pids
        for task in (PROC / str(pid) / "task").iterdir()
    )


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return line.split()[1]
    raise LookupError(f"{path} has no {name}")
