"""What is compared with what, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out: for each round, what the floor did and what the other side did."""

    rounds: Sequence[tuple[float, float]]

    @property
    def floor(self) -> float:
        """The floor's median."""
        return statistics.median(floor for floor, _ in self.rounds)

    @property
    def system(self) -> float:
        """The other side's median."""
        return statistics.median(system for _, system in self.rounds)

    @property
    def ratios(self) -> list[float]:
        """Other side to floor in each round; none where the floor is 0."""
        return [system / floor for floor, system in self.rounds if floor]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios, which is what counts."""
        return statistics.median(self.ratios) if self.ratios else None


@dataclass(frozen=True, slots=True)
class Target:
    """What the figures should be."""

    text: str
    is_met: Callable[[Figures], bool]


def at_least(bound: float) -> Target:
    """Return a target for the ratio of what should be high."""
    return Target(f">= {bound}", lambda figures: (figures.ratio or 0) >= bound)


def at_most(bound: float) -> Target:
    """Return a target for the ratio of what should be low."""
    return Target(f"<= {bound}", lambda figures: (figures.ratio or 0) <= bound)


def under(bound: float) -> Target:
    """Return a target for the figure itself, whatever the floor does."""
    return Target(f"< {bound}", lambda figures: figures.system < bound)


def no_less(bound: float) -> Target:
    """Return a target for the figure itself where it should be high."""
    return Target(f">= {bound:,}", lambda figures: figures.system >= bound)


NONE_AT_ALL = Target("none", lambda figures: figures.system == 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison: a job of the floor with a job of another side, both measured in *unit*.

    A side is named by its module and the words of its command line. *nbytes* is how large what the
    job handles is, where that matters.
    """

    name: str
    unit: str
    floor_job: str
    job: str
    target: Target | None = None
    side: str = "system"
    floor_side: str = "floor"
    nbytes: int | None = None


ROWS = [
    Row("calls", "calls/s", "calls", "calls", at_least(0.65)),
    Row("callers", "calls/s", "calls", "joint calls", at_least(2.5)),
    Row("stream", "items/s", "stream, joined", "stream", at_least(0.25)),
    Row("stream-single", "items/s", "stream, single", "stream"),
    Row("ping-pong", "items/s", "calls", "ping-pong", at_least(0.65)),
    Row("bytes", "MiB/s", "bytes", "bytes", at_least(1.2)),
    Row("array", "MiB/s", "array", "array", at_least(1.2)),
    Row("kernel", "trips/s", "calls", "send and receive", at_least(0.5)),
    Row("kernel-ask", "trips/s", "calls", "ask", at_least(0.5)),
    Row("topic", "items/s", "ten streams", "topic", at_least(0.5), floor_side="system"),
    Row("message", "us", "code map", "code message", at_most(3)),
    Row("mailbox", "us", "pass heap", "pass mailbox", under(2)),
    Row("routing", "messages/s", "pass channels", "route messages", no_less(50_000)),
    Row("pool-map", "calls/s", "map", "map", at_least(5)),
    Row("pool-map-async", "calls/s", "map", "map async"),
    Row("start", "s", "start", "start", at_most(1.3)),
    Row("start-eight", "s", "start eight", "start eight"),
    Row("idle", "wake-ups", "hold", "hold tree", NONE_AT_ALL),
    Row("memory", "KiB", "hold", "hold", at_most(1.2)),
]
"""``callers`` sets a hundred callers against the floor's one. The stream is compared twice: with a
floor that joins 64 items into a write, as the package does by itself, and with one that does not.
``kernel`` is a message sent and its response received, ``kernel-ask`` the same in one call.
``topic`` is an item published to ten actors; its floor is the package as well, which sends the item
by a stream to each. ``message`` is made bytes and back; its floor is msgpack with the same map.
``mailbox`` holds 10,000 messages and takes one in and one out, what the standard library's heap
does in its floor.
``pool-map`` maps a function that does nothing; its floor is `ProcessPoolExecutor.map` with as many
workers, and the same function. ``pool-map-async`` is the same with an async function.
``routing`` brings messages to 100 actors on 4 routes; its floor puts them into 4 memory channels.
"""
