"""`open_buffer`, `adopt` and `resolve_buffer`: the buffers of the current actor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..buffers.buffer import Buffer
from ..buffers.layout import Layout
from .current import current_actor


@asynccontextmanager
async def open_buffer(
    shape: int | Sequence[int], dtype: Any, *, device: str = "cpu"
) -> AsyncIterator[Buffer]:
    """Open memory for an array that can be handed to other actors without copying; it is zeros.

    Passed anywhere a value goes, as an argument, a result or a stream item, it arrives as a
    `Buffer` of the same memory. Leaving the block releases it; whoever it was handed to keeps it
    for as long as he uses it, or until the process of this actor ends. It waits while the buffers
    of this actor on the *device*, "cpu" or a GPU as "cuda:0", take ``limits.max_buffer_bytes``.

    Raises:
      NotShareable: *dtype* holds Python objects, or means nothing on a GPU.
      BufferPoolFull: it is larger than the limit.
      DeviceOutOfMemory: the GPU has no room.
      DeviceUnavailable: there is no such device, or this system cannot share memory.
      NoRuntime: there is no actor here.
    """
    store = current_actor().buffers
    async with await store.open_when_free(Layout(shape, dtype), device) as buffer:
        yield buffer


async def adopt(array: Any) -> Buffer:
    """Return a new buffer with a copy of *array*, where that is: on the host, or on a GPU.

    For what was not made in a buffer and has to be handed over as one: results of CuPy, tensors,
    managed memory. The one copy is queued on the GPU's current stream. Release the buffer, or let
    it go; else as `open_buffer`.
    """
    return await current_actor().buffers.adopt(array)


def resolve_buffer(buffer_id: str) -> Buffer:
    """Return the buffer that a message names by its ``id``, of whatever actor of this machine.

    Who has sent the name must have the buffer still.

    Raises:
      ValueError: that is no name of a buffer.
      StaleBuffer: it was released everywhere before.
      BufferLost: the process that it belongs to has ended.
      NotReachable: that process belongs to another user, or is in another container.
      NoRuntime: there is no actor here.
    """
    return current_actor().buffers.resolve(buffer_id)
