"""A fake device in this process, and another process that has one."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from owner_process import OwnerProcess

from actorsys.cuda import Gpu, find_gpu
from actorsys.testing import fake_cuda
from actorsys.testing.fake_cuda import FakeCuda


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    """Two fake devices; nothing is left of them, and no rule was broken."""
    runtime = fake_cuda.install(devices=2)
    yield runtime
    gc.collect()
    assert (runtime.broken, runtime.used_bytes, runtime.mapped_bytes) == ([], 0, 0)
    fake_cuda.uninstall(runtime)


@pytest.fixture
def broken_fake() -> Iterator[FakeCuda]:
    """Fake devices whose rules may be broken."""
    runtime = fake_cuda.install(devices=2)
    yield runtime
    fake_cuda.uninstall(runtime)


@pytest.fixture
def gpu(fake: FakeCuda) -> Gpu:
    return find_gpu("cuda:0")


@pytest.fixture
def owner() -> Iterator[OwnerProcess]:
    """Another process, with devices of the same names."""
    process = OwnerProcess()
    yield process
    process.end()
