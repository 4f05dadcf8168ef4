"""One measured figure of one promise, and how it is told."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

SEED_BITS = 32


@dataclass(frozen=True)
class Figure:
    """What a ring has measured for a promise.

    Attributes:
      promise: its number in docs/promises.md.
      what: what was done and counted, in a few words.
      n: how many trials, frames, faults or cycles there were.
      seed: the seed that makes the same choices again.
      worst: the worst case seen, with its unit, in words.
      target: what was promised, in words.
      is_met: whether the worst case is inside the target.
    """

    promise: int
    what: str
    n: int
    seed: int
    worst: str
    target: str
    is_met: bool

    def __str__(self) -> str:
        mark = "ok  " if self.is_met else "FAIL"
        return (
            f"{mark} {self.promise:>2}. {self.what}: {self.worst} "
            f"(target {self.target}; n={self.n:,}, seed {self.seed})"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every ring understands: ``--seed`` and ``--json``."""
    parser.add_argument("--seed", type=int, help="make the choices of an earlier run again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def pick_seed(given: int | None) -> int:
    """Return *given*, or a fresh seed."""
    return random.SystemRandom().getrandbits(SEED_BITS) if given is None else given


def report(figures: Iterable[Figure], path: Path | None) -> int:
    """Print *figures* as they come, write them to *path*, and return the exit status."""
    told = []
    for figure in figures:
        print(figure, flush=True)
        told.append(figure)
    if path is not None:
        path.write_text(json.dumps([asdict(figure) for figure in told], indent=1) + "\n")
    missed = sum(not figure.is_met for figure in told)
    if missed:
        print(f"{missed} of {len(told)} figures missed their target", file=sys.stderr)
    return 1 if missed else 0
