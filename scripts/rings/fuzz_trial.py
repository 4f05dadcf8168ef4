"""What a ring of hostile bytes does again and again, and what is counted of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from actorsys.limits import MIB

from .fuzz_memory import ResidentMemory
from .fuzz_note import Note

CRASH = "crash"
CHUNKS = "chunk"
MEMORY = "memory"
ACCEPTED = "accepted"
BUFFERED = "buffered"
REFUSED = "refused"
"""Kinds of failures: what does not hold."""

MAX_MEMORY_BYTES = 16 * MIB
_MEMORY_CHECK_EVERY = 256
_MOST_FAILURES_KEPT = 20


class Broken(Exception):
    """A promise about hostile bytes does not hold. *kind* is one of the names above."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Trial(Protocol):
    """A source of hostile bytes, and somebody who looks at what becomes of them."""

    def draw(self) -> bytes:
        """Return the next hostile bytes."""

    def judge(self, data: bytes) -> Iterable[str]:
        """Feed *data*; return what became of it, in single words.

        Raises:
          Broken: a promise was not kept. Any other exception counts as a crash.
        """


@dataclass
class Failure:
    """One promise that was not kept, with the bytes that did it."""

    kind: str
    detail: str
    data: bytes


@dataclass
class Tally:
    """What one share of a ring has done."""

    n: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    memory_bytes: int = 0
    greediest: str = ""

    def to_json(self) -> str:
        """Return it as text, for another process."""
        failures = [(failure.kind, failure.detail, failure.data.hex()) for failure in self.failures]
        return json.dumps({**vars(self), "failures": failures})

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """Return what `to_json` made a text of."""
        fields = json.loads(text)
        failures = [
            Failure(kind, detail, bytes.fromhex(data)) for kind, detail, data in fields["failures"]
        ]
        counters = {name: Counter(fields[name]) for name in ("seen", "counts")}
        return cls(**{**fields, **counters, "failures": failures})

    def add_failure(self, kind: str, detail: str, data: bytes) -> None:
        """Count a failure; keep the first few with their bytes."""
        self.counts[kind] += 1
        if len(self.failures) < _MOST_FAILURES_KEPT:
            self.failures.append(Failure(kind, detail, data))

    def add(self, other: Tally) -> None:
        """Add what another share has done."""
        self.n += other.n
        self.seen += other.seen
        self.counts += other.counts
        self.failures += other.failures
        self.add_memory(other.memory_bytes, other.greediest)

    def add_memory(self, count: int, name: str = "") -> None:
        """Count memory that was taken, by an input that may have a name."""
        if count > self.memory_bytes:
            self.memory_bytes, self.greediest = count, name


def run_share(trial: Trial, count: int, note: Note) -> Tally:
    """Draw and judge *count* times, and watch the memory of this process meanwhile."""
    tally = Tally()
    memory = ResidentMemory()
    batch: list[bytes] = []
    while tally.n < count:
        data = trial.draw()
        note.write(tally.n, data)
        _judge(trial, data, tally)
        tally.n += 1
        batch.append(data)
        if len(batch) == _MEMORY_CHECK_EVERY or tally.n == count:
            _check_memory(trial, tally, memory, batch)
            batch = []
    return tally


def _judge(trial: Trial, data: bytes, tally: Tally) -> None:
    try:
        tally.seen.update(trial.judge(data))
    except Broken as broken:
        tally.add_failure(broken.kind, str(broken), data)
    except Exception as error:
        tally.add_failure(CRASH, f"{type(error).__name__}: {error}", data)


def _check_memory(trial: Trial, tally: Tally, memory: ResidentMemory, batch: list[bytes]) -> None:
    growth = memory.growth()
    tally.add_memory(growth)
    if growth > MAX_MEMORY_BYTES and not tally.counts[MEMORY]:
        greediest, most = _greediest(trial, batch)
        detail = f"{growth:,} bytes more than at the start; this input alone takes {most:,}"
        tally.add_failure(MEMORY, detail, greediest)


def _greediest(trial: Trial, batch: list[bytes]) -> tuple[bytes, int]:
    """Feed each of *batch* once more; return the one that takes most memory, and how much."""
    found, most = b"", -1
    for data in batch:
        memory = ResidentMemory()
        _judge(trial, data, Tally())
        if memory.growth() > most:
            found, most = data, memory.growth()
    return found, most
