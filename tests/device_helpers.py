"""What tests share that hand over buffers on a device: the device, and who is left with what."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Awaitable, Callable, Iterator

import trio

from actorsys import Buffer, current_actor
from actorsys.testing import fake_cuda
from actorsys.testing.fake_cuda import FakeCuda

MODULES = ["fake_gpu"]
"""Offered to an actor, these give it the device."""

DEVICE = "cuda:0"
COUNT = 1000


@contextlib.contextmanager
def fake_device() -> Iterator[FakeCuda]:
    """Give this process the device; in the end nothing may be left on it, and no rule broken."""
    runtime = fake_cuda.install()
    try:
        yield runtime
        gc.collect()
        assert (runtime.broken, runtime.used_bytes, runtime.mapped_bytes) == ([], 0, 0)
    finally:
        fake_cuda.uninstall(runtime)


def values(buffer: Buffer) -> list[float]:
    """Return which values are in it."""
    array = buffer.array()
    found = array.get() if hasattr(array, "get") else array
    return sorted({float(value) for value in found})


async def _do_nothing() -> None:
    await trio.lowlevel.checkpoint()


async def wait_nothing_lent(wake: Callable[[], Awaitable[None]] = _do_nothing) -> None:
    """Wait until this actor has no buffer, and none of others; *wake* those who have to let go."""
    with trio.fail_after(5):
        while any((found := current_actor().buffers.statistics())[:4]):
            print("not yet:", found)
            gc.collect()
            await wake()
            await trio.sleep(0.01)
