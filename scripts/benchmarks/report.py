"""Tell the figures: a table for people, JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .rows import Figures, Row

HEADER = f"{'':<20}{'floor':>11}{'system':>11}  {'unit':<9}{'ratio':>7}  {'min-max':<13}"


def print_header(machine: dict[str, str | int]) -> None:
    """Print the machine and the head of the table."""
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value))
    print(f"{HEADER}{'target':<9}met", flush=True)


def print_row(row: Row, figures: Figures) -> None:
    """Print a line of the table."""
    told = describe(row, figures)
    has_ratio = told["ratio"] is not None
    ratio = _ratio(told["ratio"]) if has_ratio else "-"
    spread = f"{_ratio(told['ratio_min'])}-{_ratio(told['ratio_max'])}" if has_ratio else "-"
    met = {None: "", True: "yes", False: "no"}[told["met"]]
    print(
        f"{row.name:<20}{_number(figures.floor):>11}{_number(figures.system):>11}  {row.unit:<9}"
        f"{ratio:>7}  {spread:<13}{told['target'] or '-':<9}{met}",
        flush=True,
    )


def describe(row: Row, figures: Figures) -> dict[str, Any]:
    """Return a row as it stands in the JSON file."""
    return {
        "name": row.name,
        "unit": row.unit,
        "sides": [row.floor_side, row.side],
        "bytes": row.nbytes,
        "floor": figures.floor,
        "system": figures.system,
        "ratio": figures.ratio,
        "ratio_min": min(figures.ratios, default=None),
        "ratio_max": max(figures.ratios, default=None),
        "rounds": figures.rounds,
        "target": row.target.text if row.target else None,
        "met": row.target.is_met(figures) if row.target else None,
    }


def write_json(path: Path, machine: dict[str, str | int], rows: list[dict[str, Any]]) -> None:
    """Write everything that was measured."""
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def _ratio(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.05 else f"{value:.1g}"


def _number(value: float) -> str:
    return f"{value:,.3f}" if 0 < value < 100 else f"{value:,.0f}"
