"""Durations, and what is told of many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def p99(seconds: Sequence[float]) -> float:
    """Return the duration that 99 of 100 do not exceed."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


def in_ms(seconds: float) -> str:
    """Return a duration in words."""
    return f"{seconds * 1000:.1f} ms"
