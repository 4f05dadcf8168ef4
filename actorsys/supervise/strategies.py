"""Who is affected when a child fails: policy without processes."""

from __future__ import annotations

from typing import NamedTuple


class OneCancelsAll(NamedTuple):
    """The semantics of a trio nursery: a child that fails ends all the others and the body."""
