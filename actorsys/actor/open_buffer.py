"""`open_buffer` and `resolve_buffer`: the buffers of the current actor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..buffers import Buffer, Layout
from ..errors import DeviceUnavailable
from .current import current_actor


@asynccontextmanager
async def open_buffer(
    shape: int | Sequence[int], dtype: Any, *, device: str = "cpu"
) -> AsyncIterator[Buffer]:
    """Open memory for an array that can be handed to other actors without copying; it is zeros.

    Passed anywhere a value goes, as an argument, a result or a stream item, it arrives as a
    `Buffer` of the same memory. Leaving the block releases it; whoever it was handed to keeps it
    for as long as he uses it, or until the process of this actor ends. It waits while the buffers
    of this actor take ``limits.max_buffer_bytes``.

    Raises:
      NotShareable: *dtype* holds Python objects.
      BufferPoolFull: it is larger than the limit.
      DeviceUnavailable: there is no such device, or this system cannot share memory.
      NoRuntime: there is no actor here.
    """
    _check_device(device)
    async with await current_actor().buffers.open_when_free(Layout(shape, dtype)) as buffer:
        yield buffer


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


def _check_device(device: str) -> None:
    if device != "cpu":
        raise DeviceUnavailable(f"there is no device {device!r} here; use 'cpu'")
