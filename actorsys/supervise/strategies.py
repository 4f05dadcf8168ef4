"""Who is affected when a child fails: policy without processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OneCancelsAll:
    """The semantics of a trio nursery: a child that fails ends all the others and the body."""
