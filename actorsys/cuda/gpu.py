"""`Gpu`: what this process has of one device: slabs of its own, those of others, events."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from ..errors import BufferLost, StaleBuffer
from ..memory import is_alive
from .events import Events, Mark
from .imports import Import, Imports
from .runtime import CudaRuntime, Place
from .slabs import Range, RangeAddress, Slabs


class Gpu:
    """One device in this process, for all actors of it; `find_gpu` returns it.

    CUDA lets a process map the memory of another once, and its own not at all; so this is one for
    the process, as its context of CUDA is. All methods can be called from any thread.

    Attributes:
      runtime: CUDA.
      number: of the device, in this process.
      uuid: of the device, the same everywhere.
    """

    def __init__(self, runtime: CudaRuntime, number: int) -> None:
        self.runtime = runtime
        self.number = number
        self.uuid = runtime.device_uuid(number)
        self._lock = threading.RLock()  # garbage may be collected inside
        self._slabs = Slabs(runtime, number, self.uuid)
        self._imports = Imports(runtime, number)
        self._events = Events(runtime, number)
        self._undone: list[Callable[[], bool]] = []
        self._other_users: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"<Gpu {self.name}: {self._slabs!r}, {self._imports!r}, {self._events!r}>"

    @property
    def name(self) -> str:
        """Its name in this process, as ``cuda:0``."""
        return f"cuda:{self.number}"

    @property
    def slab_bytes(self) -> int:
        """What the slabs of this process take on it."""
        return self._slabs.size

    @property
    def import_count(self) -> int:
        """How many slabs of other processes are mapped."""
        return len(self._imports)

    # --- memory --------------------------------------------------------------------------

    def take(self, size: int) -> Range:
        """Return *size* bytes, whatever is in them; `give_back` them.

        Raises:
          DeviceOutOfMemory: there are none.
        """
        with self._lock:
            return self._slabs.take(size)

    def give_back(self, taken: Range) -> None:
        """Take memory back that nobody uses."""
        with self._lock:
            self._slabs.give_back(taken)

    def address(self, taken: Range) -> RangeAddress:
        """Return where another process finds a range of this one."""
        return self._slabs.address(taken)

    def zero(self, taken: Range, size: int) -> None:
        """Fill the first *size* bytes of a range with zeros; return when that is done."""
        with self.runtime.on(self.number):
            self.runtime.zero(taken.slab.base + taken.offset, size)

    def open(self, address: RangeAddress) -> Import | None:
        """Map the slab of *address*; `close` it. None if it belongs to this very process.

        Raises:
          NotReachable, BufferLost, StaleBuffer, BufferFault: it is not to be had.
        """
        with self._lock:
            if address.control.pid == os.getpid():
                self._own_base(address)
                return None
            if not is_alive(address.control.pid):
                raise BufferLost(f"process {address.control.pid}, to which it belongs, has ended")
            return self._imports.open(address)

    def place(self, address: RangeAddress, opened: Import | None) -> Place:
        """Return where a range is for this process, given what `open` has returned."""
        base = self._own_base(address) if opened is None else opened.base
        return Place(base, address.slab_bytes, address.offset)

    def _own_base(self, address: RangeAddress) -> int:
        slab = self._slabs.find(address.control)
        if slab is None or slab.parts.size != address.slab_bytes:
            raise StaleBuffer("its device memory was given back")
        return slab.base

    def close(self, opened: Import | None) -> None:
        """Let go what `open` has returned; the work on it is done."""
        if opened is not None:
            with self._lock:
                self._imports.close(opened)

    # --- order ---------------------------------------------------------------------------

    def mark(self, again: Mark | None = None) -> Mark:
        """Return a mark of what is queued by now on the current stream, of all devices used.

        One that is made *again* stands for what it stood for before, too.
        """
        with self._lock:
            return self._events.mark(again, self._other_users)

    def wait(self, mark: Mark) -> bool:
        """Let the current stream wait for a mark; return whether it is done with already."""
        with self._lock:
            return self._events.wait(mark)

    def note_user(self) -> None:
        """Note that the current device works on memory of this one: CuPy lets any do so."""
        with self._lock:
            self._other_users |= {self.runtime.current_device()} - {self.number}

    def synchronize(self) -> None:
        """Return when all that this process has queued on its memory is done; it may take long."""
        for number in (self.number, *self._other_users):
            with self.runtime.on(number):
                self.runtime.synchronize()

    # --- tidying up ----------------------------------------------------------------------

    @property
    def is_tidy(self) -> bool:
        """Whether `tidy` has nothing to do."""
        return not (self._imports.has_unused or self._slabs.has_unused or self._undone)

    def do_when_possible(self, attempt: Callable[[], bool]) -> None:
        """Call *attempt* now, and in `tidy` again until it returns that it is done."""
        with self._lock:
            if not attempt():
                self._undone.append(attempt)

    def tidy(self, *, is_last: bool = False) -> None:
        """Give back what nobody uses: slabs, and mappings that rested since the last time."""
        with self._lock:
            self._do_what_is_possible()
            self._imports.sweep(is_last=is_last)
            self._slabs.trim()
            for pid in self._events.pids:
                if not is_alive(pid):
                    self._events.forget(pid)

    def _do_what_is_possible(self) -> None:
        undone, self._undone = self._undone, []
        try:
            while undone:
                self.do_when_possible(undone.pop(0))
        finally:
            self._undone += undone  # where one fails, the others come the next time
