"""How much memory something takes: what the process occupies, and what Python has allocated.

The first sees everything that is written to, C code included, and costs nothing meanwhile. The
second also sees what is allocated and never touched.
"""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actorsys.limits import KIB

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_HIGH_WATER = "5"


class ResidentMemory:
    """The memory that this process occupies at most, from now on."""

    def __init__(self) -> None:
        _CLEAR.write_text(_RESET_HIGH_WATER)
        self._before = _read_status("VmRSS")

    def growth(self) -> int:
        """Return by how many bytes it has been larger than at the start, at its largest."""
        return max(0, _read_status("VmHWM") - self._before)


def _read_status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise ValueError(f"{_STATUS} has no {name}")


class Allocated:
    """What a block that `traced` wraps has had allocated at most, in bytes."""

    peak_bytes = 0


@contextmanager
def traced() -> Iterator[Allocated]:
    """Measure what Python allocates in the block."""
    found = Allocated()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield found
        found.peak_bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def limit_address_space(more_bytes: int) -> None:
    """Let this process allocate no more than *more_bytes*; beyond, there is a MemoryError."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_read_status("VmSize") + more_bytes, hard))
