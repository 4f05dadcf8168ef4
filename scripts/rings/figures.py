"""Run the rings at their promised sizes, and write what came out into docs/promises.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.benchmarks.machine import describe_machine

from .promises import PARTS, Promise

ROOT = Path(__file__).parent.parent.parent
JSON_PATH = ROOT / "docs" / "promises.json"
DOCUMENT_PATH = ROOT / "docs" / "promises.md"


@dataclass(frozen=True)
class Run:
    """A command that measures figures, and roughly how long it takes on two cores."""

    name: str
    command: tuple[str, ...]
    minutes: float


RUNS = (
    Run("orphans", ("scripts/chaos", "orphans", "--full"), 15),
    Run("healthy", ("scripts/chaos", "healthy", "--full"), 1),
    Run("restarts", ("scripts/chaos", "restarts", "--full"), 4),
    Run("stopping", ("scripts/chaos", "stopping", "interrupts", "--full"), 8),
    Run("children", ("scripts/chaos", "guards", "handovers", "--full"), 1),
    Run("schedules", ("scripts/chaos", "schedules", "--full"), 15),
    Run("cancelling", ("scripts/chaos", "cancelling", "deadlines", "--full"), 2),
    Run("flow", ("scripts/chaos", "producer", "--full"), 3),
    Run("liveness", ("scripts/chaos", "silence", "busy", "crowd", "--full"), 2),
    Run("buffers", ("scripts/chaos", "buffers", "--full"), 4),
    Run("simulation", ("scripts/chaos", "simulation", "--full"), 1),
    Run("soak", ("scripts/soak", "--full"), 8),
    Run("fuzz", ("scripts/fuzz",), 12),
    Run("suite", (sys.executable, "-m", "scripts.rings.suite", "--times", "20"), 35),
)

_HEAD = """\
# Promises

What actorsys promises, and the figure that was measured for each. A promise without a figure is
kept by the tests named beside it, which are part of the default suite. The figures are taken by

```sh
scripts/figures               # all of them, in about two hours on two cores
scripts/figures fuzz soak     # some of them
```

which writes this page and [promises.json](promises.json). Whatever is random starts from the seed
that is shown; each ring takes `--seed`, and a smaller size ({rings}).

Not promised: that a call runs exactly once, durability, surviving the death of the root, protection
from the same user of this machine.
"""


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    lines = [f"  {run.name:<12} {' '.join(run.command)}, {run.minutes:g} min" for run in RUNS]
    parser = argparse.ArgumentParser(
        prog="scripts/figures",
        description=__doc__,
        epilog="\n".join(["runs:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="*", metavar="run", help="which ones (default: all)")
    parser.add_argument(
        "--write-only", action="store_true", help="write the page from the figures there are"
    )
    options = parser.parse_args()
    unknown = set(options.runs) - {run.name for run in RUNS}
    if unknown:
        parser.error(f"there is no run {', '.join(sorted(unknown))}")
    return options


def measure(run: Run) -> tuple[list[dict[str, Any]], int]:
    """Return the figures of *run*, with where they come from, and its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        done = subprocess.run([*run.command, "--json", str(path)], cwd=ROOT, check=False)
        figures = json.loads(path.read_text()) if path.exists() else []
    commit = describe_machine()["commit"]
    return [
        {**figure, "commit": commit, "command": " ".join(run.command)} for figure in figures
    ], done.returncode


def read_figures() -> list[dict[str, Any]]:
    """Return the figures measured so far."""
    return json.loads(JSON_PATH.read_text())["figures"] if JSON_PATH.exists() else []


def merged(old: Iterable[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *old*, with those of the same command replaced by *new*, in order of promises."""
    commands = {figure["command"] for figure in new}
    kept = [figure for figure in old if figure["command"] not in commands]
    return sorted([*kept, *new], key=lambda figure: figure["promise"])


def write(figures: list[dict[str, Any]]) -> None:
    """Write the figures and the page that tells them."""
    content = {"machine": describe_machine(), "figures": figures}
    JSON_PATH.write_text(json.dumps(content, indent=1) + "\n")
    DOCUMENT_PATH.write_text(page_of(figures))


def page_of(figures: list[dict[str, Any]]) -> str:
    """Return the page."""
    rings = "`scripts/chaos --help`, `scripts/soak --help`, `scripts/fuzz --help`"
    lines = [_HEAD.format(rings=rings)]
    for part in PARTS:
        lines.append(f"## {part.title}\n")
        for promise in part.promises:
            own = [figure for figure in figures if figure["promise"] == promise.number]
            lines.append(_section(promise, own))
    return "\n".join(lines)


def _section(promise: Promise, figures: list[dict[str, Any]]) -> str:
    tests = ", ".join(f"`{test}`" for test in promise.tests)
    lines = [f"**{promise.number}. {promise.text}** Tests: {tests}.\n"]
    if figures:
        lines.append("| what | n | seed | worst case | target | met | taken at |")
        lines.append("|---|---|---|---|---|---|---|")
        lines += [_row(figure) for figure in figures]
        lines.append("")
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    cells = (
        figure["what"],
        f"{figure['n']:,}",
        str(figure["seed"]),
        figure["worst"],
        figure["target"],
        "yes" if figure["is_met"] else "**no**",
        figure["commit"],
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Run what was asked for, and return the exit status."""
    options = parse_options()
    figures, status = read_figures(), 0
    if not options.write_only:
        for run in RUNS:
            if not options.runs or run.name in options.runs:
                print(f"--- {run.name}: about {run.minutes:g} min", flush=True)
                measured, code = measure(run)
                status = status or code
                figures = merged(figures, measured)
                write(figures)
    write(figures)
    return status


if __name__ == "__main__":
    sys.exit(main())
