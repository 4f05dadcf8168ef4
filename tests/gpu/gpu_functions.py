"""What other actors do with buffers on a real GPU."""

from __future__ import annotations

import os
import signal
from typing import Any

from actorsys import Buffer

kept: list[Any] = []


async def first_byte(buffer: Buffer) -> int:
    """Return the first byte, after what was queued before."""
    return int(buffer.array()[:1].get()[0])


async def fill_slowly(buffer: Buffer, value: int) -> Buffer:
    """Queue filling the buffer after work that takes a while, and hand it back at once."""
    import cupy

    occupy(cupy)
    array = buffer.array()
    cupy.cuda.runtime.memsetAsync(array.data.ptr, value, array.nbytes, 0)
    return buffer


def occupy(cupy: Any, times: int = 300) -> None:
    """Keep the stream busy for some tens of milliseconds, with no kernel to be compiled."""
    memory = cupy.empty(512 * 1024 * 1024, "u1")
    for _ in range(times):
        cupy.cuda.runtime.memsetAsync(memory.data.ptr, 1, memory.nbytes, 0)
    kept[:] = [memory]


async def keep(buffer: Buffer) -> None:
    kept.append(buffer.array())


async def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def forget_to_wait() -> None:
    """Give arrays out without waiting for the work of others."""
    from actorsys.cuda import Gpu

    Gpu.wait = lambda self, mark: True  # type: ignore[method-assign]
