"""What a process of a kernel has counted, in numbers that can lie in memory that outlives it."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any, NamedTuple

from ..histogram import BOUNDS_SECONDS, bucket_of

_PROCESSED, _ERRORS, _MICROSECONDS, _BUCKETS = range(4)
TALLY_WORDS = _BUCKETS + len(BOUNDS_SECONDS) + 1

Words = MutableSequence[int] | memoryview


class Counted(NamedTuple):
    """What only the process of a kernel knows."""

    processed: int = 0
    errors: int = 0
    latency_seconds: float = 0.0
    latency_counts: tuple[int, ...] = (0,) * (len(BOUNDS_SECONDS) + 1)


class Tally:
    """Counts in *words*, each a number from 0; the process owns them, and others may read them."""

    def __init__(self, words: Words | None = None) -> None:
        self._words: Words = [0] * TALLY_WORDS if words is None else words

    def __repr__(self) -> str:
        return f"<Tally: {self._words[_PROCESSED]} processed, {self._words[_ERRORS]} errors>"

    def count_processed(self, seconds: float) -> None:
        """Count a message that was processed *seconds* after it was accepted."""
        words = self._words
        words[_PROCESSED] += 1
        words[_MICROSECONDS] += max(0, int(seconds * 1e6))
        words[_BUCKETS + bucket_of(seconds)] += 1

    def count_error(self) -> None:
        """Count an error."""
        self._words[_ERRORS] += 1

    def numbers(self) -> list[int]:
        """Return the numbers, as `counted_in` takes them."""
        return list(self._words)

    def clear(self) -> None:
        """Begin anew, for another process."""
        for index in range(TALLY_WORDS):
            self._words[index] = 0


def counted_in(numbers: list[Any]) -> Counted:
    """Return what a process has counted, from the numbers that it has sent.

    Raises:
      ValueError: they make no sense.
    """
    if len(numbers) != TALLY_WORDS or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("these are no counts of a kernel")
    processed, errors, microseconds, *buckets = numbers
    return Counted(processed, errors, microseconds / 1e6, tuple(buckets))
