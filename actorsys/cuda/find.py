"""Which CUDA this process has, and its devices."""

from __future__ import annotations

import re
import threading

from ..errors import DeviceUnavailable, NotReachable
from .gpu import Gpu
from .runtime import CudaRuntime

_NUMBER = re.compile("[0-9]{1,4}")


class _Found:
    """What was asked for so far. One for a process, as CUDA itself is."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runtime: CudaRuntime | None = None
        self.gpus: dict[int, Gpu] = {}


_found = _Found()


def add_runtime(runtime: CudaRuntime) -> None:
    """Have *runtime* be CUDA in this process, as a test does before anything is asked for."""
    with _found.lock:
        _found.runtime = runtime
        _found.gpus = {}


def remove_runtime() -> None:
    """Forget what was found; what is needed next is looked for again."""
    with _found.lock:
        _found.runtime = None
        _found.gpus = {}


def find_runtime() -> CudaRuntime:
    """Return CUDA; CuPy is imported for that.

    Raises:
      DeviceUnavailable: there is none; the error says what is missing.
    """
    with _found.lock:
        if _found.runtime is None:
            from .cupy_runtime import CupyRuntime

            _found.runtime = CupyRuntime()
        return _found.runtime


def find_gpu(name: str) -> Gpu:
    """Return the device *name*, ``cuda:`` and its number in this process.

    Raises:
      DeviceUnavailable: there is none; the error says what is missing.
    """
    kind, _, number = name.partition(":")
    if kind != "cuda" or not _NUMBER.fullmatch(number):
        raise DeviceUnavailable(f"there is no device {name!r}; say 'cpu', or 'cuda:0'")
    try:
        return _gpu(int(number))
    except DeviceUnavailable as error:
        raise DeviceUnavailable(f"there is no device {name!r} here: {error}") from error


def find_gpu_by_uuid(uuid: str) -> Gpu:
    """Return the device with this name, which is the same in all processes.

    Raises:
      NotReachable: this process does not see it.
      DeviceUnavailable: it sees none at all.
    """
    runtime = find_runtime()
    for number in range(runtime.device_count()):
        gpu = _gpu(number)
        if gpu.uuid == uuid:
            return gpu
    raise NotReachable(
        f"this process does not see device {uuid}, on which the buffer is; let it (see "
        f"CUDA_VISIBLE_DEVICES), or send a copy"
    )


def _gpu(number: int) -> Gpu:
    with _found.lock:
        runtime = find_runtime()
        if number not in _found.gpus:
            count = runtime.device_count()
            if number >= count:
                raise DeviceUnavailable(f"{runtime.name} finds {count} of them, from cuda:0 on")
            _found.gpus[number] = Gpu(runtime, number)
        return _found.gpus[number]
