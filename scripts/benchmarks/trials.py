"""What is measured of buffers: rows whose jobs are all done in turn, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .rows import Figures, Row, Target, at_least, at_most, no_less
from .sizes import ECHOED_SIZES, GIB, MIB, SENT_SIZES, SHARED_SIZE, SIZES, name_size

SHARED = "buffers shared"
COPIED = "buffers copied"
COPIES = {"pickle": "copies pickle", "pipe": "copies pipe", "queue": "copies queue"}

HAND_OFFS_A_SECOND = 3_000
ZERO_COPY_SLOPE = 0.01
"""Of the floor's, which copies: what a larger buffer may take longer, byte by byte."""

Measured = Sequence[tuple[Row, Figures]]


@dataclass(frozen=True, slots=True)
class Trial:
    """Rows that are measured together, so that any of their figures can be compared.

    *conclude* returns further rows, which follow from these. *peer_rows* are measured with them
    where what they are named by is installed.
    """

    name: str
    rows: Sequence[Row]
    conclude: Callable[[Measured], Measured] = lambda measured: []
    peer_rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)


# --- how long a hand-over takes ----------------------------------------------------------


def hand_off_rows() -> list[Row]:
    """Return what compares buffers of all sizes with the smallest, and with sending the bytes."""
    rows = [_size_row(size, at_most(1.5) if size == GIB else None) for size in SIZES]
    for size in SENT_SIZES:
        job = f"touch {size}"
        rows += [
            Row(f"send {label} {name_size(size)}", "us", job, job, side=side, nbytes=size)
            for label, side in {"buffer": SHARED, **COPIES}.items()
        ]
    return rows


def _size_row(size: int, target: Target | None) -> Row:
    jobs = f"touch {SIZES[0]}", f"touch {size}"
    name = f"hand-off {name_size(size)}"
    return Row(name, "us", *jobs, target, side=SHARED, floor_side=SHARED, nbytes=size)


def fit_rows(measured: Measured) -> Measured:
    """Return what a hand-over takes of any size, and how much more with each GiB.

    The floor is what sends the bytes. Both are the best straight line of each round.
    """
    ours = [(row.nbytes, figures) for row, figures in measured if row.floor_side == SHARED]
    floor = [(row.nbytes, figures) for row, figures in measured if row.floor_side == "floor"]
    floor_lines = fit_lines({size: [floor for floor, _ in f.rounds] for size, f in floor if size})
    lines = fit_lines({size: [system for _, system in f.rounds] for size, f in ours if size})
    pairs = list(zip(floor_lines, lines, strict=True))
    fixed = Row("hand-off, any size", "us", "fit", "fit", side=SHARED)
    slope = Row("hand-off, a GiB more", "us", "fit", "fit", at_most(ZERO_COPY_SLOPE), side=SHARED)
    return [
        (fixed, Figures([(one[0], other[0]) for one, other in pairs])),
        (slope, Figures([(one[1], other[1]) for one, other in pairs])),
    ]


def fit_lines(rounds: Mapping[int, Sequence[float]]) -> list[tuple[float, float]]:
    """Return, for each round, what it takes of no size at all and what each GiB adds.

    *rounds* has durations by size. An error counts as the part that it is of its duration, so that
    large sizes do not drown small ones.
    """
    from numpy import divide, polyfit

    sizes = [size / GIB for size in rounds]
    lines = []
    for durations in zip(*rounds.values(), strict=True):
        slope, fixed = polyfit(sizes, durations, 1, w=divide(1, durations))
        lines.append((float(fixed), float(slope)))
    return lines


# --- the others --------------------------------------------------------------------------


def rate_row() -> Row:
    """Return what compares many callers that hand over with one that sends the bytes."""
    job = f"touches {SHARED_SIZE}"
    target = no_less(HAND_OFFS_A_SECOND)
    return Row("hand-offs, joint", "1/s", job, job, target, side=SHARED, nbytes=SHARED_SIZE)


def echo_rows(size: int) -> list[Row]:
    """Return what compares all ways to have an array echoed with the floor."""
    sides = {"shared": SHARED, "copied": COPIED, **COPIES}
    return [_echo_row(label, size, "floor", side) for label, side in sides.items()]


def ray_rows(size: int) -> list[Row]:
    """Return what compares Ray with the floor, and shared memory with Ray."""
    return [
        _echo_row("ray", size, "floor", "copies ray"),
        _echo_row("shared/ray", size, "copies ray", SHARED, at_least(3)),
    ]


def _echo_row(
    label: str, size: int, floor_side: str, side: str, target: Target | None = None
) -> Row:
    job = f"echo {size}"
    name = f"{label} {name_size(size)}"
    return Row(name, "MiB/s", job, job, target, side=side, floor_side=floor_side, nbytes=size)


TRIALS = [
    Trial("hand-off", hand_off_rows(), fit_rows),
    Trial("hand-off-rate", [rate_row()]),
    *[Trial(f"echo-{size // MIB}M", echo_rows(size)) for size in ECHOED_SIZES[:-1]],
    Trial(
        f"echo-{ECHOED_SIZES[-1] // MIB}M",
        echo_rows(ECHOED_SIZES[-1]),
        peer_rows={"ray": ray_rows(ECHOED_SIZES[-1])},
    ),
]
"""``hand-off`` is a call with a buffer: the callee maps it, looks at the first byte,
releases it and answers. ``hand-off-rate`` is that of many callers, each with a buffer of its own.
In ``echo`` an array goes there and back.
"""
