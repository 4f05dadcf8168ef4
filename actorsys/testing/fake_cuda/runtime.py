"""`FakeCuda`: CUDA without a GPU, for tests, which has everybody keep to the rules of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ...cuda import Place
from ...errors import DeviceOutOfMemory, DeviceUnavailable
from ...memory import FileAddress, SharedFile
from .allocations import Allocation
from .array import FakeArray
from .events import (
    Event,
    EventTable,
    Target,
    memory_handle,
    open_event,
    read_memory_handle,
)
from .queues import Queues
from .rules import CudaRuleBroken
from .streams import Stream, Work

MEMORY_BYTES = 1024 * 1024 * 1024


class FakeStream:
    """A stream of a fake device; in a ``with`` block it is the current one of the thread."""

    def __init__(self, stream: Stream, choose: Callable[[], AbstractContextManager[None]]) -> None:
        self._stream = stream
        self._choose = choose

    def __enter__(self) -> None:
        self._chosen = self._choose()
        self._chosen.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._chosen.__exit__(*exc)

    def __repr__(self) -> str:
        return f"<FakeStream {self._stream!r}>"


class FakeCuda:
    """Fake devices, the same for all processes of this machine that have one of these.

    *devices* is how many this process sees, or which of those of the machine, in its own order, as
    ``CUDA_VISIBLE_DEVICES`` has it.

    Their memory is shared between processes as that of CUDA is. Work on it is done only when
    somebody waits for it. What CUDA leaves undefined raises `CudaRuleBroken`, and stands in
    ``broken`` as well: it may happen where nobody sees an error.
    """

    def __init__(self, devices: int | Sequence[int] = 1, memory_bytes: int = MEMORY_BYTES) -> None:
        self.name = "FakeCuda"
        self.broken: list[str] = []
        self._devices = list(range(devices)) if isinstance(devices, int) else list(devices)
        self._memory_bytes = memory_bytes
        self._lock = threading.RLock()
        self._allocations: dict[int, Allocation] = {}
        self._by_file: weakref.WeakValueDictionary[FileAddress, Allocation]
        self._by_file = weakref.WeakValueDictionary()
        self._queues = Queues(self._by_file)
        self._events: dict[int, tuple[Event, int]] = {}
        self._last_event = 0
        self._own_events = EventTable()

    def __repr__(self) -> str:
        return f"<FakeCuda: {len(self._devices)} devices, {len(self._allocations)} allocations>"

    def close(self) -> None:
        """Give up all that is there."""
        self._own_events.close()
        self._queues.close()
        for event, _ in self._events.values():
            if not event.is_own:
                event.file.close()
        for allocation in self._allocations.values():
            allocation.file.close()

    @property
    def mapped_bytes(self) -> int:
        """The bytes of other processes that are mapped."""
        return sum(found.size for found in self._allocations.values() if not found.is_own)

    @property
    def used_bytes(self) -> int:
        """The bytes of this process's own."""
        return sum(found.size for found in self._allocations.values() if found.is_own)

    # --- devices -------------------------------------------------------------------------

    def device_count(self) -> int:
        """Return how many devices there are."""
        return len(self._devices)

    def device_uuid(self, number: int) -> str:
        """Return the name of a device that is the same in every process."""
        return f"FAKE-{self._devices[number]}"

    def on(self, number: int) -> AbstractContextManager[None]:
        """Make a device the current one of this thread, for the block."""
        return self._queues.on(number)

    def current_device(self) -> int:
        """Return the number of the current device of this thread."""
        return self._queues.device

    def _check(self, device: int) -> None:
        if device != self._queues.device:
            raise CudaRuleBroken(
                f"this is on device {device}, and the thread is on {self._queues.device}"
            )

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keep in mind what breaks a rule in the block, which nobody else enters meanwhile."""
        with self._lock:
            try:
                yield
            except CudaRuleBroken as error:
                if str(error) not in self.broken:
                    self.broken.append(str(error))
                raise

    # --- memory --------------------------------------------------------------------------

    def malloc(self, size: int) -> int:
        """Return *size* bytes, which are not zeros."""
        return self._allocate(size, "plain").base

    def malloc_async(self, size: int) -> int:
        """Return *size* bytes of a pool, which cannot be exported."""
        return self._allocate(size, "pool").base

    def _allocate(self, size: int, kind: str) -> Allocation:
        with self._noting():
            if self.used_bytes + size > self._memory_bytes:
                raise DeviceOutOfMemory(f"the device has no room for {size:,} bytes")
            return self._keep(Allocation.create(size, self._queues.device, kind))

    def _keep(self, allocation: Allocation) -> Allocation:
        self._allocations[allocation.base] = allocation
        self._by_file[allocation.address] = allocation
        return allocation

    def free(self, pointer: int) -> None:
        """Give memory back."""
        self._give_up(pointer, is_own=True)

    def memory_info(self) -> tuple[int, int]:
        """Return what this process leaves, and what there is."""
        return self._memory_bytes - self.used_bytes, self._memory_bytes

    def zero(self, pointer: int, size: int) -> None:
        """Fill memory with zeros, at once; work on what it was before has to be done."""
        with self._noting():
            allocation = self._containing(pointer)
            begin = pointer - allocation.base
            self._check_idle(allocation, begin, begin + size)
            allocation.bytes[begin : begin + size] = 0

    def _give_up(self, pointer: int, *, is_own: bool) -> None:
        with self._noting():
            allocation = self._allocations.get(pointer)
            if allocation is None or allocation.is_own is not is_own:
                raise CudaRuleBroken("what is given back was never had, or was given back before")
            self._check(allocation.device)
            self._check_idle(allocation, 0, allocation.size, only_own=not is_own)
            del self._allocations[pointer]
            allocation.give_up()

    def _containing(self, pointer: int) -> Allocation:
        for allocation in self._allocations.values():
            if allocation.base <= pointer < allocation.base + allocation.size:
                self._check(allocation.device)
                return allocation
        raise CudaRuleBroken(f"there is no memory at {pointer:#x}, or none any more")

    def _check_idle(
        self, allocation: Allocation, begin: int, end: int, *, only_own: bool = False
    ) -> None:
        """Refuse to go on if work on a part of an allocation is not done."""
        busy = self._queues.busy_with(allocation, begin, end, only_own=only_own)
        if busy is not None:
            raise CudaRuleBroken(
                f"memory is given back before work of process {busy.pid} on it is done"
            )

    # --- sharing -------------------------------------------------------------------------

    def export_memory(self, pointer: int) -> bytes:
        """Return the handle of an allocation."""
        with self._noting():
            allocation = self._containing(pointer)
            if allocation.kind != "plain":
                raise CudaRuleBroken("memory of a pool is exported")
            if not allocation.is_own:
                raise CudaRuleBroken("memory of another process is exported")
            return memory_handle(allocation.address, self._devices[allocation.device])

    def open_memory(self, handle: bytes) -> int:
        """Map the allocation of another process."""
        with self._noting():
            try:
                address, device = read_memory_handle(handle)
                number = self._devices.index(device)
                found = SharedFile.open(address)
            except (OSError, ValueError) as error:
                raise DeviceUnavailable(f"the handle is of nothing: {error}") from error
            self._check(number)
            if address in self._by_file and not self._by_file[address].is_gone:
                found.close()
                raise CudaRuleBroken("an allocation is opened twice")
            return self._keep(Allocation(found, number, is_own=False)).base

    def close_memory(self, pointer: int) -> None:
        """Undo `open_memory`."""
        self._give_up(pointer, is_own=False)

    # --- order ---------------------------------------------------------------------------

    def create_event(self, *, has_times: bool = False) -> int:
        """Return an event."""
        with self._noting():
            return self._keep_event(self._own_events.create(has_times=has_times))

    def _keep_event(self, event: Event) -> int:
        self._last_event += 1
        self._events[self._last_event] = event, self._queues.device
        return self._last_event

    def _event(self, number: int) -> Event:
        event, device = self._events[number]
        self._check(device)
        return event

    def destroy_event(self, event: int) -> None:
        """Give an event up."""
        with self._noting():
            self._event(event).destroy()

    def export_event(self, event: int) -> bytes:
        """Return the handle of an event."""
        with self._noting():
            return self._event(event).handle()

    def open_event(self, handle: bytes) -> int:
        """Return the event of another process."""
        with self._noting():
            try:
                event = open_event(handle)
            except ValueError as error:
                raise DeviceUnavailable(str(error)) from error
            if event is None:
                raise DeviceUnavailable("the process that has the event has ended")
            return self._keep_event(event)

    def record(self, event: int) -> None:
        """Have *event* stand for what is queued on the current stream."""
        with self._noting():
            stream = self._queues.current()
            self._event(event).record(Target(stream.address, stream.queued))

    def is_done(self, event: int) -> bool:
        """Tell whether what an event stands for is done."""
        with self._noting():
            target = self._event(event).target()
            return target is None or self._queues.is_done(*target)

    def wait(self, event: int) -> None:
        """Let the current stream wait for an event, which may be of another device."""
        with self._noting():
            target = self._events[event][0].target()
            if target is not None:
                self._queues.wait(*target)

    def synchronize(self) -> None:
        """Do all that is queued on the current device."""
        with self._noting():
            self._queues.synchronize()

    # --- streams -------------------------------------------------------------------------

    def stream(self) -> FakeStream:
        """Return a new stream of the current device."""
        stream = self._queues.new()
        return FakeStream(stream, lambda: self._queues.choose(stream))

    def queue(self, target: Allocation, work: Work, source: Allocation | None = None) -> None:
        """Queue work on the current stream, which writes to *target* and reads from *source*.

        That is the stream of the current device, as with CuPy, wherever the memory is.
        """
        with self._noting():
            stream = self._queues.current()
            for allocation in (target, source or target):
                allocation.usable().note_stream(stream.address)
            stream.append(work)

    def finish_current_stream(self, allocation: Allocation) -> None:
        """Do what is queued on the current stream, to read *allocation*."""
        with self._noting():
            allocation.usable()
            self._queues.finish_current()

    # --- arrays --------------------------------------------------------------------------

    def array(
        self, place: Place, shape: tuple[int, ...], dtype: Any, order: str, owner: Any
    ) -> Any:
        """Return an array over *place*."""
        with self._noting():
            allocation = self._containing(place.base)
            if place.base != allocation.base or place.size != allocation.size:
                raise CudaRuleBroken("an array is not where its allocation is")
        import numpy

        nbytes = int(numpy.prod(shape, dtype=object)) * dtype.itemsize
        raw = allocation.bytes[place.offset : place.offset + nbytes]
        view = raw.view(dtype).reshape(shape, order=order)
        return FakeArray(self, allocation, view, owner)

    def array_type(self) -> type:
        """Return the type of such arrays."""
        return FakeArray

    def as_array(self, value: Any) -> Any:
        """Return *value*, which is such an array."""
        return value

    def device_of(self, array: Any) -> int:
        """Return the number of the device that an array is on."""
        return int(array.device)

    def copy(self, target: Any, source: Any) -> None:
        """Queue a copy from one array to another."""
        target[...] = source

    def upload(self, array: Any) -> Any:
        """Return a copy of a NumPy array on the device, in memory of a pool."""
        allocation = self._allocate(max(array.nbytes, 1), "pool")
        place = Place(allocation.base, allocation.size, 0)
        made = self.array(place, array.shape, array.dtype, "C", _Owner(self, allocation.base))
        made.set(array)
        return made

    def update(self, on_device: Any, array: Any) -> None:
        """Copy a NumPy array to one on the device."""
        on_device.set(array)

    def download(self, on_device: Any, array: Any) -> None:
        """Copy an array on the device to a NumPy array."""
        on_device.get(out=array)

    def pin(self, address: int, size: int) -> None:
        """Do nothing: the fake copies no faster."""

    def unpin(self, address: int) -> None:
        """Do nothing."""


class _Owner:
    """Gives the memory of an array back that is its own."""

    def __init__(self, runtime: FakeCuda, pointer: int) -> None:
        weakref.finalize(self, _free, weakref.ref(runtime), pointer)


def _free(runtime: Callable[[], FakeCuda | None], pointer: int) -> None:
    found = runtime()
    if found is not None:
        with found.on(found._allocations[pointer].device):
            found.synchronize()
            found.free(pointer)
