"""How often something took how long, counted in buckets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

BOUNDS_SECONDS = tuple(0.0001 * 2**n for n in range(20))
"""Upper bounds of the buckets, from 0.1 ms, doubling, to 52 s."""


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket that *seconds* belong to."""
    # Where the bounds double, that is the length of the number in bits.
    return min(int(seconds / BOUNDS_SECONDS[0]).bit_length(), len(BOUNDS_SECONDS))


@dataclass
class Histogram:
    """How often something took how long: counts in buckets that double in width.

    ``bounds`` are their upper ends in seconds; ``counts`` has one more, for what took longer.
    """

    bounds: tuple[float, ...] = BOUNDS_SECONDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many times were recorded."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 if nothing was recorded."""
        return self.total / self.count if self.count else 0.0

    def record(self, seconds: float) -> None:
        """Take note of one time."""
        self.counts[bucket_of(seconds)] += 1
        self.total += seconds

    def percentile(self, share: float) -> float:
        """Return the bound in seconds below which *share*, from 0 to 1, of the times lie."""
        wanted = share * self.count
        seen = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return 0.0

    def add(self, counts: Iterable[int], total: float) -> None:
        """Add what another histogram with the same buckets has counted."""
        self.counts = [own + other for own, other in zip(self.counts, counts, strict=True)]
        self.total += total
