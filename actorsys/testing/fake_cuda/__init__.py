"""A GPU for tests, in main memory, that has everybody keep to the rules of CUDA.

::

    from actorsys.testing import fake_cuda

    fake_cuda.install()

at the top of a module makes it what `open_buffer` finds as "cuda:0"; actors that are started with
this module find it as well, and share its memory. What is queued on it is done only when somebody
waits for it, so whoever forgets to wait reads old bytes. What CUDA leaves undefined, such as to
free what another process has mapped, raises `CudaRuleBroken`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...cuda import add_runtime, remove_runtime
from .array import FakeArray
from .rules import CudaRuleBroken
from .runtime import MEMORY_BYTES, FakeCuda, FakeStream

__all__ = [
    "CudaRuleBroken",
    "FakeArray",
    "FakeCuda",
    "FakeStream",
    "install",
    "uninstall",
]


def install(devices: int | Sequence[int] = 1, memory_bytes: int = MEMORY_BYTES) -> FakeCuda:
    """Make a fake, of so many devices, or of these in this order, be the CUDA of this process."""
    runtime = FakeCuda(devices, memory_bytes)
    add_runtime(runtime)
    return runtime


def uninstall(runtime: FakeCuda) -> None:
    """Have this process look for CUDA anew, and close the fake."""
    remove_runtime()
    runtime.close()
