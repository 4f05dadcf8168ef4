"""Offered to an actor beside `fake_gpu`, each of these breaks one rule of the protocol."""

from __future__ import annotations

from typing import Any

from actorsys.buffers.settling import Settling
from actorsys.cuda import Gpu


async def forget_to_wait() -> None:
    """Give arrays out without waiting for the work of others."""
    Gpu.wait = lambda self, mark: True  # type: ignore[method-assign]


async def forget_to_synchronize() -> None:
    """Give memory back while work on it is queued."""
    Settling._synchronize = lambda self: None  # type: ignore[method-assign]


async def forget_to_count() -> None:
    """Map a slab anew each time."""

    def open_anew(gpu: Gpu, address: Any) -> Any:
        gpu._imports._imports.clear()
        with gpu._lock:
            return gpu._imports.open(address)

    Gpu.open = open_anew  # type: ignore[method-assign]
