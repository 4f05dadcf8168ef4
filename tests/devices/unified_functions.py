"""What other actors do with the memory of unified buffers."""

from __future__ import annotations

from actorsys import Buffer, resolve_buffer


async def double(buffer: Buffer) -> float:
    """Double it, in place."""
    array = buffer.array()
    array *= 2
    return float(array.sum())


async def total(buffer_id: str) -> float:
    """Return the sum of what is named."""
    return float(resolve_buffer(buffer_id).array().sum())
