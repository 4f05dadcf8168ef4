"""What the project needs of CUDA, as one class that CuPy and the fake of `testing` both fulfil.

Pointers and events are numbers, as in CUDA. Whatever is not said to name a device is about the
*current* one of the calling thread, which `CudaRuntime.on` chooses, and its current stream.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

HANDLE_BYTES = 64
"""A handle of CUDA, of memory or of an event, is as long."""


class Place(NamedTuple):
    """A piece of an allocation: ``base`` and ``size`` are those of the allocation."""

    base: int
    size: int
    offset: int


class CudaRuntime(Protocol):
    """CUDA, in one process.

    What fails raises `DeviceUnavailable`, or `DeviceOutOfMemory` where that is the reason; what
    CUDA has said is the ``__cause__``. After some errors nothing works until the process has ended.
    """

    name: str

    def device_count(self) -> int:
        """Return how many devices this process sees."""

    def device_uuid(self, number: int) -> str:
        """Return the name of a device that is the same in every process of the machine."""

    def on(self, number: int) -> AbstractContextManager[Any]:
        """Make a device the current one of this thread, for the block."""

    def current_device(self) -> int:
        """Return the number of the current device of this thread."""

    # --- memory --------------------------------------------------------------------------

    def malloc(self, size: int) -> int:
        """Return *size* bytes of plain device memory, which can be exported."""

    def free(self, pointer: int) -> None:
        """Give memory back; what any process does with it after that is undefined."""

    def memory_info(self) -> tuple[int, int]:
        """Return the bytes that are free, and those that there are."""

    def zero(self, pointer: int, size: int) -> None:
        """Fill memory with zeros; return when that is done."""

    # --- sharing -------------------------------------------------------------------------

    def export_memory(self, pointer: int) -> bytes:
        """Return the handle of an allocation, given where it begins."""

    def open_memory(self, handle: bytes) -> int:
        """Map the allocation of another process; not in the one that exports it, and once."""

    def close_memory(self, pointer: int) -> None:
        """Undo `open_memory`, once the work on it is done."""

    # --- order ---------------------------------------------------------------------------

    def create_event(self) -> int:
        """Return an event that can be exported, which therefore takes no times."""

    def destroy_event(self, event: int) -> None:
        """Give an event up, own or opened."""

    def export_event(self, event: int) -> bytes:
        """Return the handle of an event."""

    def open_event(self, handle: bytes) -> int:
        """Return the event of another process; not in the one that exports it."""

    def record(self, event: int) -> None:
        """Have *event* stand for all that is queued on the current stream by now."""

    def is_done(self, event: int) -> bool:
        """Tell whether all that an event stands for is done; true for a new one."""

    def wait(self, event: int) -> None:
        """Let the current stream wait until what *event* stands for is done; returns at once."""

    def synchronize(self) -> None:
        """Return when all is done that this process has queued on the device, on any stream."""

    # --- arrays --------------------------------------------------------------------------

    def array(
        self, place: Place, shape: tuple[int, ...], dtype: Any, order: str, owner: Any
    ) -> Any:
        """Return an array over *place*; it, and every view of it, keeps *owner* alive."""

    def array_type(self) -> type:
        """Return the type of such arrays."""

    def as_array(self, value: Any) -> Any:
        """Return *value*, which has a ``__cuda_array_interface__``, as such an array; no copy."""

    def device_of(self, array: Any) -> int:
        """Return the number of the device that an array of that type is on."""

    def copy(self, target: Any, source: Any) -> None:
        """Queue a copy from one array to another, of the same shape and dtype."""

    def upload(self, array: Any) -> Any:
        """Return a copy of a NumPy array on the device."""

    def update(self, on_device: Any, array: Any) -> None:
        """Copy a NumPy array to one on the device; return when it may be changed."""

    def download(self, on_device: Any, array: Any) -> None:
        """Copy an array on the device to a NumPy array; return when it is there."""

    def pin(self, address: int, size: int) -> None:
        """Have the kernel keep memory of the host in place, so that copies go faster."""

    def unpin(self, address: int) -> None:
        """Undo `pin`."""


def checked_handle(handle: Any) -> bytes:
    """Return *handle*, if it is one by its form.

    Raises:
      ValueError: it is none.
    """
    if type(handle) is not bytes or len(handle) != HANDLE_BYTES:
        raise ValueError(f"a handle of CUDA is {HANDLE_BYTES} bytes")
    return handle
