"""Promise 28: the default suite again and again, without a flake and without a warning."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .figure import Figure, add_arguments, pick_seed, report

ROOT = Path(__file__).parent.parent.parent
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def run_suite(times: int, seed: int) -> Iterator[Figure]:
    """Run the suite *times* times; warnings are errors in it. What a failed run said is printed."""
    failed: Counter[str] = Counter()
    clean = 0
    for _ in range(times):
        done = subprocess.run(
            ["scripts/test", "-q", "-p", "no:cacheprovider"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        clean += done.returncode == 0
        failed.update(_FAILED.findall(done.stdout))
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr, flush=True)
    names = "; ".join(f"{name} ({count}x)" for name, count in failed.most_common(5))
    yield Figure(
        promise=28,
        what="runs of the whole suite in a row",
        n=times,
        seed=seed,
        worst=f"{clean} clean" + (f", failed: {names}" if names else ""),
        target=f"{times} clean",
        is_met=clean == times,
    )


def main() -> int:
    """Run the suite as often as the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts.rings.suite", description=__doc__)
    parser.add_argument("--times", type=int, default=1, metavar="N")
    add_arguments(parser)
    options = parser.parse_args()
    return report(run_suite(options.times, pick_seed(options.seed)), options.json)


if __name__ == "__main__":
    sys.exit(main())
