"""Which CUDA a process has, and what it is told where there is none."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from actorsys.cuda import HANDLE_BYTES, find_gpu, find_gpu_by_uuid, remove_runtime
from actorsys.cuda.cupy_runtime import CupyRuntime
from actorsys.errors import DeviceOutOfMemory, DeviceUnavailable, NotReachable
from actorsys.testing.fake_cuda import FakeCuda


class CudaError(RuntimeError):
    """As CuPy raises them."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def fake_cupy(*, is_available: bool = True, **functions: Any) -> Any:
    """Return as much of CuPy as a test needs."""
    cuda = SimpleNamespace(runtime=SimpleNamespace(**functions))
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    return SimpleNamespace(
        __version__="0",
        is_available=lambda: is_available,
        cuda=cuda,
        get_default_memory_pool=lambda: pool,
    )


def raising(status: int) -> Any:
    def call(*args: Any) -> Any:
        raise CudaError(status)

    return call


def test_devices_are_found_by_number_and_by_uuid(fake: FakeCuda) -> None:
    gpu = find_gpu("cuda:1")
    assert gpu.name == "cuda:1"
    assert find_gpu("cuda:1") is gpu
    assert find_gpu_by_uuid(gpu.uuid) is gpu


@pytest.mark.parametrize("name", ["cuda:2", "cuda", "cuda:", "cuda:-1", "cpu", "gpu:0", "cuda:²"])
def test_what_is_no_device_is_told(fake: FakeCuda, name: str) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:0"):
        find_gpu(name)


def test_a_device_that_is_not_seen_is_not_reached(fake: FakeCuda) -> None:
    with pytest.raises(NotReachable, match="CUDA_VISIBLE_DEVICES"):
        find_gpu_by_uuid("GPU-elsewhere")


def test_without_cupy_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_runtime()
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceUnavailable, match=r"'cuda:0'.*cupy-cuda12x"):
        find_gpu("cuda:0")


def test_without_a_driver_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_runtime()
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(is_available=False))
    with pytest.raises(DeviceUnavailable, match="nvidia-smi"):
        find_gpu("cuda:0")


@pytest.mark.parametrize(("status", "error"), [(2, DeviceOutOfMemory), (700, DeviceUnavailable)])
def test_what_cuda_says_is_kept(
    monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(malloc=raising(status)))
    with pytest.raises(error) as raised:
        CupyRuntime().malloc(10)
    assert isinstance(raised.value.__cause__, CudaError)


@pytest.mark.parametrize(
    "handle",
    [bytes(HANDLE_BYTES - 1), bytearray(HANDLE_BYTES), "x", None],
    ids=["short", "mutable", "text", "none"],
)
def test_what_is_no_handle_does_not_reach_cupy(
    monkeypatch: pytest.MonkeyPatch, handle: Any
) -> None:
    monkeypatch.setitem(
        sys.modules, "cupy", fake_cupy(ipcOpenMemHandle=None, ipcOpenEventHandle=None)
    )
    runtime = CupyRuntime()
    for open_handle in (runtime.open_memory, runtime.open_event):
        with pytest.raises(ValueError, match="64 bytes"):
            open_handle(handle)
