"""As much of CuPy as `CupyRuntime` calls, without a GPU: names, signatures and ways of CuPy 14.

What is odd about it is so there as well: `asarray` copies what is on another device to the current
one, `ndarray.set` returns before memory that is pinned was read, and the UUID of a device ends with
its first byte that is zero.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

ERROR_MEMORY_ALLOCATION = 2
ERROR_ILLEGAL_ADDRESS = 700


class CUDARuntimeError(RuntimeError):
    """As CuPy raises it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Stream:
    """Notes what is queued on it."""

    def __init__(self, ptr: int = 0) -> None:
        self.ptr = ptr
        self.queued: list[str] = []

    def synchronize(self) -> None:
        self.queued.clear()


class Array:
    """An ndarray of CuPy."""

    def __init__(self, cupy: CupyLike, device: int, values: Any = None) -> None:
        self._cupy = cupy
        self.device = SimpleNamespace(id=device)
        self.values = values

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self._cupy.pointer_of(self.device.id), False), "version": 3}

    def set(self, arr: Any, stream: Stream | None = None) -> None:
        (stream or self._cupy.stream).queued.append("copy")
        self.values = arr


class Foreign:
    """An array of another library, on a device."""

    def __init__(self, cupy: CupyLike, device: int, *, is_empty: bool = False) -> None:
        pointer = 0 if is_empty else cupy.pointer_of(device)
        self.__cuda_array_interface__ = {"data": (pointer, False), "version": 3}


class Device:
    """A device of CuPy, in a ``with`` block."""

    def __init__(self, cupy: CupyLike, number: int) -> None:
        self._cupy = cupy
        self.id = number

    def __enter__(self) -> Device:
        self._cupy.entered.append(self._cupy.current)
        self._cupy.set_device(self.id)
        return self

    def __exit__(self, *args: Any) -> None:
        self._cupy.set_device(self._cupy.entered.pop())


class CupyLike:
    """The module."""

    __version__ = "14.2.0"
    ndarray = Array

    def __init__(self, uuids: list[bytes] | None = None) -> None:
        self.current = 0
        self.entered: list[int] = []
        self.stream = Stream()
        self.has_failed = False
        self.free_bytes = 1000
        self.pooled_bytes = 0
        self._uuids = uuids or [bytes(range(1, 17)), bytes(range(2, 18))]
        self.cuda = SimpleNamespace(
            Device=lambda number: Device(self, number),
            get_current_stream=lambda device_id=-1: self.stream,
            runtime=SimpleNamespace(
                getDevice=lambda: self.current,
                getDeviceCount=lambda: len(self._uuids),
                getDeviceProperties=self._properties,
                deviceGetPCIBusId=lambda device: f"0000:{device:02x}:00.0",
                deviceSynchronize=self._check,
                malloc=self._malloc,
                pointerGetAttributes=lambda ptr: SimpleNamespace(device=ptr - 1000),
                CUDARuntimeError=CUDARuntimeError,
            ),
        )

    def is_available(self) -> bool:
        return True

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_all_blocks=self._free_all_blocks)

    def _free_all_blocks(self) -> None:
        self.free_bytes, self.pooled_bytes = self.free_bytes + self.pooled_bytes, 0

    def _malloc(self, size: int) -> int:
        if size > self.free_bytes:
            raise CUDARuntimeError(ERROR_MEMORY_ALLOCATION)
        self.free_bytes -= size
        return 4096

    def asarray(self, a: Any) -> Array:
        if not isinstance(a, Array):
            pointer = a.__cuda_array_interface__["data"][0]
            a = Array(self, pointer - 1000 if pointer else self.current)
        return a if a.device.id == self.current else Array(self, self.current)

    def pointer_of(self, device: int) -> int:
        """Return a place in the memory of a device."""
        return 1000 + device

    def set_device(self, number: int) -> None:
        self._check()
        self.current = number

    def _check(self) -> None:
        if self.has_failed:
            raise CUDARuntimeError(ERROR_ILLEGAL_ADDRESS)

    def _properties(self, device: int) -> dict[str, Any]:
        return {"uuid": self._uuids[device].partition(b"\0")[0]}
