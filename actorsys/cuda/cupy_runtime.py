"""CUDA by way of CuPy, which is imported here alone."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from ..errors import DeviceOutOfMemory, DeviceUnavailable
from .runtime import Place, checked_handle

P = ParamSpec("P")
R = TypeVar("R")

_INSTALL = "install cupy-cuda12x or cupy-cuda13x, one of them, as the driver needs it"
_OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation"""

_UUID_BYTES = 16


def _translated(function: Callable[P, R]) -> Callable[P, R]:
    """Have errors of CUDA raised as those of this project, which keep them as their cause."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except MemoryError as error:  # CuPy's own is one
            raise DeviceOutOfMemory(f"the device has no room: {error}") from error
        except RuntimeError as error:
            status = getattr(error, "status", None)
            if status is None:
                raise
            if status == _OUT_OF_MEMORY:
                raise DeviceOutOfMemory(f"the device has no room: {error}") from error
            raise DeviceUnavailable(
                f"CUDA says: {error}. If that is so from now on, start the actor again: after some "
                f"errors CUDA does nothing more in a process"
            ) from error

    return call


class CupyRuntime:
    """CUDA by way of CuPy; see `CudaRuntime` for what each method does.

    Raises:
      DeviceUnavailable: there is no CuPy, no driver, or no GPU.
    """

    def __init__(self) -> None:
        self._cupy = _import_cupy()
        self._cuda = self._cupy.cuda.runtime
        self._zeroing: dict[int, Any] = {}
        self.name = f"CuPy {self._cupy.__version__}"

    def __repr__(self) -> str:
        return f"<CupyRuntime: {self.name}>"

    @_translated
    def device_count(self) -> int:
        """Return how many devices this process sees."""
        return int(self._cuda.getDeviceCount())

    @_translated
    def device_uuid(self, number: int) -> str:
        """Return the name of a device that is the same in every process of the machine."""
        told: bytes = self._cuda.getDeviceProperties(number)["uuid"][:_UUID_BYTES]
        if len(told) == _UUID_BYTES:
            return f"GPU-{uuid.UUID(bytes=told)}"
        # CuPy cuts it off at the first byte that is zero; so where the device is says the rest.
        return f"GPU-{told.hex()}@{self._cuda.deviceGetPCIBusId(number)}"

    @contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Make a device the current one of this thread, for the block."""
        device = self._entered(number)
        try:
            yield
        finally:
            self._left(device)

    @_translated
    def _entered(self, number: int) -> Any:
        device = self._cupy.cuda.Device(number)
        device.__enter__()
        return device

    @_translated
    def _left(self, device: Any) -> None:
        device.__exit__()

    @_translated
    def current_device(self) -> int:
        """Return the number of the current device of this thread."""
        return int(self._cuda.getDevice())

    # --- memory --------------------------------------------------------------------------

    @_translated
    def malloc(self, size: int) -> int:
        """Return *size* bytes of plain device memory: not of a pool, which cannot be exported."""
        try:
            return int(self._cuda.malloc(size))
        except RuntimeError as error:
            if getattr(error, "status", None) != _OUT_OF_MEMORY:
                raise
        # What CuPy keeps for its next arrays is room as well; it does so for its own.
        self._cupy.get_default_memory_pool().free_all_blocks()
        return int(self._cuda.malloc(size))

    @_translated
    def free(self, pointer: int) -> None:
        """Give memory back."""
        self._cuda.free(pointer)

    @_translated
    def memory_info(self) -> tuple[int, int]:
        """Return the bytes that are free, and those that there are."""
        free, total = self._cuda.memGetInfo()
        return int(free), int(total)

    @_translated
    def zero(self, pointer: int, size: int) -> None:
        """Fill memory with zeros, on a stream that waits for no other; return when it is done."""
        stream = self._zeroing_stream()
        self._cuda.memsetAsync(pointer, 0, size, stream.ptr)
        stream.synchronize()

    def _zeroing_stream(self) -> Any:
        number = self.current_device()
        if number not in self._zeroing:
            self._zeroing[number] = self._cupy.cuda.Stream(non_blocking=True)
        return self._zeroing[number]

    # --- sharing -------------------------------------------------------------------------

    @_translated
    def export_memory(self, pointer: int) -> bytes:
        """Return the handle of an allocation."""
        return checked_handle(self._cuda.ipcGetMemHandle(pointer))

    @_translated
    def open_memory(self, handle: bytes) -> int:
        """Map the allocation of another process."""
        return int(self._cuda.ipcOpenMemHandle(checked_handle(handle)))

    @_translated
    def close_memory(self, pointer: int) -> None:
        """Undo `open_memory`."""
        self._cuda.ipcCloseMemHandle(pointer)

    # --- order ---------------------------------------------------------------------------

    @_translated
    def create_event(self) -> int:
        """Return an event that can be exported."""
        flags = self._cuda.eventDisableTiming | self._cuda.eventInterprocess
        return int(self._cuda.eventCreateWithFlags(flags))

    @_translated
    def destroy_event(self, event: int) -> None:
        """Give an event up."""
        self._cuda.eventDestroy(event)

    @_translated
    def export_event(self, event: int) -> bytes:
        """Return the handle of an event."""
        return checked_handle(self._cuda.ipcGetEventHandle(event))

    @_translated
    def open_event(self, handle: bytes) -> int:
        """Return the event of another process."""
        return int(self._cuda.ipcOpenEventHandle(checked_handle(handle)))

    @_translated
    def record(self, event: int) -> None:
        """Have *event* stand for what is queued on CuPy's current stream."""
        self._cuda.eventRecord(event, self._current_stream())

    @_translated
    def is_done(self, event: int) -> bool:
        """Tell whether all that an event stands for is done."""
        return bool(self._cuda.eventQuery(event) == 0)

    @_translated
    def wait(self, event: int) -> None:
        """Let CuPy's current stream wait for an event."""
        self._cuda.streamWaitEvent(self._current_stream(), event)

    def _current_stream(self) -> int:
        return int(self._cupy.cuda.get_current_stream().ptr)

    @_translated
    def synchronize(self) -> None:
        """Return when all is done that is queued; other threads run meanwhile."""
        self._cuda.deviceSynchronize()

    # --- arrays --------------------------------------------------------------------------

    @_translated
    def array(
        self, place: Place, shape: tuple[int, ...], dtype: Any, order: str, owner: Any
    ) -> Any:
        """Return a CuPy array over *place*."""
        device = self.current_device()
        memory = self._cupy.cuda.UnownedMemory(place.base, place.size, owner, device)
        pointer = self._cupy.cuda.MemoryPointer(memory, place.offset)
        return self._cupy.ndarray(shape, dtype, pointer, order=order)

    def array_type(self) -> type:
        """Return the type of such arrays."""
        array_type: type = self._cupy.ndarray
        return array_type

    @_translated
    def as_array(self, value: Any) -> Any:
        """Return *value* as a CuPy array; no copy."""
        if isinstance(value, self._cupy.ndarray):
            return value
        address = value.__cuda_array_interface__["data"][0]
        with self.on(self._device_at(address)):  # CuPy copies what is not on the current device
            return self._cupy.asarray(value)

    def _device_at(self, address: int) -> int:
        """Return the device at *address*; of what is empty, or on the host, the current one."""
        number = int(self._cuda.pointerGetAttributes(address).device) if address else -1
        return number if number >= 0 else self.current_device()

    def device_of(self, array: Any) -> int:
        """Return the number of the device that an array is on."""
        return int(array.device.id)

    @_translated
    def copy(self, target: Any, source: Any) -> None:
        """Queue a copy from one array to another."""
        target[...] = source

    @_translated
    def upload(self, array: Any) -> Any:
        """Return a copy of a NumPy array on the device."""
        return self._cupy.array(array)

    @_translated
    def update(self, on_device: Any, array: Any) -> None:
        """Copy a NumPy array to one on the device; return when it may be changed."""
        on_device.set(array)
        self._cupy.cuda.get_current_stream().synchronize()  # CuPy does not wait, if it is pinned

    @_translated
    def download(self, on_device: Any, array: Any) -> None:
        """Copy an array on the device to a NumPy array."""
        on_device.get(out=array)

    @_translated
    def pin(self, address: int, size: int) -> None:
        """Have the kernel keep memory of the host in place."""
        self._cuda.hostRegister(address, size, 0)

    @_translated
    def unpin(self, address: int) -> None:
        """Undo `pin`."""
        self._cuda.hostUnregister(address)


def _import_cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise DeviceUnavailable(f"there is no CuPy here, which GPUs need; {_INSTALL}") from error
    if not cupy.is_available():
        raise DeviceUnavailable("CuPy finds no GPU, or no driver for it; `nvidia-smi` tells more")
    return cupy
