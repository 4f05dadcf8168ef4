"""Draw how long a hand-over takes over its size, from the JSON of a run: an SVG.

Both axes are logarithmic. Lines have their names at their ends.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .sizes import name_size

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 100, 50, 60
LABEL_DISTANCE = 15

NAMES = {
    "buffers shared": "actorsys",
    "floor": "msgpack over TCP",
    "copies pickle": "pickle over TCP",
    "copies pipe": "Pipe",
    "copies queue": "Queue",
}
"""Of the lines, in the order of their classes."""

STYLE = """
text { font: 12px sans-serif; fill: #57606a }
text.title { font-size: 15px; font-weight: bold }
path.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
path.grid { fill: none; stroke: #8b949e; stroke-opacity: 0.3 }
.side-0 { stroke: #2f81f7 } .side-1 { stroke: #848d97 } .side-2 { stroke: #bf8700 }
.side-3 { stroke: #2da44e } .side-4 { stroke: #a475f9 }
path.line.side-0 { stroke-width: 3.5 }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } }
"""

Points = Mapping[int, float]
"""Microseconds by size."""


class Axis(NamedTuple):
    """A logarithmic axis: the values at its ends, and where those are in the picture."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where *value* is."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def points_by_side(rows: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """Return what *rows* say of hand-overs; sides that they do not have are left out."""
    found: dict[str, dict[int, float]] = {side: {} for side in NAMES}
    for row in rows:
        if row["unit"] == "us" and row["bytes"]:
            floor_side, side = row["sides"]
            found[side][row["bytes"]] = row["system"]
            if floor_side != side:
                found[floor_side][row["bytes"]] = row["floor"]
    return {side: dict(sorted(points.items())) for side, points in found.items() if points}


def draw(machine: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the picture.

    Raises:
      ValueError: *rows* have no hand-overs.
    """
    lines = points_by_side(rows)
    if not lines:
        raise ValueError("there are no hand-overs to draw")
    sizes = sorted({size for points in lines.values() for size in points})
    times = [time for points in lines.values() for time in points.values()]
    across = Axis(sizes[0], sizes[-1], LEFT, WIDTH - RIGHT)
    decades = range(math.floor(math.log10(min(times))), math.ceil(math.log10(max(times))) + 1)
    up = Axis(10 ** decades[0], 10 ** decades[-1], HEIGHT - BOTTOM, TOP)
    about = f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<style>{STYLE}</style>",
        _text(
            LEFT, 24, "Time until another process has looked at it and answered", "start", "title"
        ),
        *[_size_tick(across, size) for size in sizes],
        *[_time_tick(up, 10**decade) for decade in decades],
        *[_line(across, up, side, points) for side, points in lines.items()],
        *_labels(across, up, lines),
        _text(LEFT, HEIGHT - 12, f"{about}; {machine['commit']}", "start"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _size_tick(across: Axis, size: int) -> str:
    x = across.place(size)
    line = f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
    return line + _text(x, HEIGHT - BOTTOM + 18, name_size(size), "middle")


def _time_tick(up: Axis, microseconds: float) -> str:
    y = up.place(microseconds)
    line = f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
    return line + _text(LEFT - 8, y + 4, name_time(microseconds), "end")


def name_time(microseconds: float) -> str:
    """Return a power of ten of microseconds as people say it."""
    for unit, name in ((1_000_000, "s"), (1_000, "ms")):
        if microseconds >= unit:
            return f"{microseconds / unit:g} {name}"
    return f"{microseconds:g} us"


def _line(across: Axis, up: Axis, side: str, points: Points) -> str:
    places = [f"{across.place(size):.1f} {up.place(time):.1f}" for size, time in points.items()]
    return f'<path class="line side-{_number(side)}" d="M{"L".join(places)}"/>'


def _labels(across: Axis, up: Axis, lines: Mapping[str, Points]) -> list[str]:
    """Return the names of *lines*, each right of its end and none on top of another."""
    ends = {side: max(points.items()) for side, points in lines.items()}
    labels, last = [], -math.inf
    for side, (size, time) in sorted(ends.items(), key=lambda end: -end[1][1]):
        x, y = across.place(size), up.place(time)
        last = max(y + 4, last + LABEL_DISTANCE)
        mark = f'<path class="line side-{_number(side)}" d="M{x + 6:.1f} {last - 4:.1f}h12"/>'
        labels.append(mark + _text(x + 22, last, NAMES[side], "start"))
    return labels


def _number(side: str) -> int:
    return list(NAMES).index(side)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def main() -> None:
    """Draw the JSON file that the command line names first to the SVG named second."""
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(**json.loads(source.read_text())))


if __name__ == "__main__":
    main()
