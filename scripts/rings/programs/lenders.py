"""What the actor does that lends buffers and borrows them until it is killed."""

from __future__ import annotations

from typing import Any

from actorsys import Buffer, current_actor
from actorsys.buffers.layout import Layout

_held: list[tuple[Buffer, Any, float]] = []
_MOST_HELD = 3


def wrong_in(buffer: Buffer, value: float) -> int:
    """Return how many elements are not *value*."""
    array = buffer.array()
    found = array.get() if hasattr(array, "get") else array
    return int((found != value).sum())


async def make(count: int, device: str, value: float) -> Buffer:
    """Return a buffer of this actor, full of a number; wait until there is room."""
    buffer = await current_actor().buffers.open_when_free(Layout(count, "f4"), device)
    buffer.array()[:] = value
    return buffer


async def lend(count: int, device: str, value: float) -> Buffer:
    """Return a buffer that is lost with this process."""
    return await make(count, device, value)


async def borrow(buffer: Buffer, value: float) -> int:
    """Check a buffer and those that are kept from before; keep it for a while."""
    wrong = wrong_in(buffer, value)
    wrong += sum(wrong_in(kept, expected) for kept, _, expected in _held)
    _held.append((buffer, buffer.array(), value))
    del _held[:-_MOST_HELD]
    return wrong
