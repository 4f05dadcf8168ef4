"""Slabs: device memory in large pieces, each exported once, out of which buffers are cut.

A handle of CUDA stands for a whole allocation, and for the 2 MiB that a small one shares with
others; mapping one can take a tenth of a second. So what is exported is large, made for that, and
mapped once, whatever lies in it.

A slab is never freed while another process has it mapped: what that process would do then is
undefined. Whoever maps a slab enters the `GuestBook` of its *control file* before.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ..errors import DeviceUnavailable
from ..memory import FileAddress, GuestBook, SharedFile
from .free_list import FreeList
from .runtime import CudaRuntime, Place, checked_handle

UNIT_BYTES = 2 * 1024 * 1024
"""Slabs are multiples of it: the driver cuts smaller allocations out of pieces of this size, and
whoever opens one of them can see its neighbours."""

SLAB_BYTES = 32 * UNIT_BYTES
"""Large enough that few have to be mapped, small enough for every GPU. A larger buffer has a slab
of its own."""

RANGE_BYTES = 512
"""Ranges begin at multiples of it, as CuPy's own allocations: kernels read aligned lines."""

_MAX_BYTES = 2**48
_MAX_UUID_CHARS = 64

_logger = logging.getLogger("actorsys.cuda")


class RangeAddress(NamedTuple):
    """Where another process finds a range of device memory; nobody vouches for what arrives.

    Attributes:
      uuid: of the device.
      control: the control file of the slab, which tells the slab apart from any other.
      handle: of the slab, for CUDA.
      slab_bytes, offset: how large the slab is, and where the range begins in it.
    """

    uuid: str
    control: FileAddress
    handle: bytes
    slab_bytes: int
    offset: int

    def pack(self) -> list[Any]:
        """Return it as plain values."""
        return [self.uuid, *self.control, self.handle, self.slab_bytes, self.offset]

    @classmethod
    def checked(cls, told: Any, nbytes: int) -> RangeAddress:
        """Return the address that *told* is, of *nbytes* bytes.

        Raises:
          ValueError: it makes no sense.
        """
        uuid, pid, fd, inode, handle, slab_bytes, offset = told
        if type(uuid) is not str or not 0 < len(uuid) <= _MAX_UUID_CHARS:
            raise ValueError("a device has a short name")
        numbers = (pid, fd, inode, slab_bytes, offset)
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError("a slab is told by numbers")
        if slab_bytes > _MAX_BYTES or offset % RANGE_BYTES or offset + nbytes > slab_bytes:
            raise ValueError(f"{nbytes:,} bytes from {offset:,} on do not lie in a slab")
        return cls(uuid, FileAddress(pid, fd, inode), checked_handle(handle), slab_bytes, offset)


class Slab:
    """One allocation of this process, and its control file. Owned by `Slabs`."""

    def __init__(self, runtime: CudaRuntime, size: int) -> None:
        self.parts = FreeList(size, RANGE_BYTES)
        self._file = SharedFile.create(GuestBook.SIZE_BYTES)
        try:
            self._mapping = self._file.map(0, GuestBook.SIZE_BYTES)
            self.base = runtime.malloc(size)
            try:
                self.handle = runtime.export_memory(self.base)
            except BaseException:
                runtime.free(self.base)
                raise
        except BaseException:
            self._close_file()
            raise
        self._book = GuestBook(self._file, self._mapping)

    def __repr__(self) -> str:
        return f"<Slab at {self.base:#x}: {self.parts!r}, {self._book!r}>"

    @property
    def control(self) -> FileAddress:
        """Where its control file is."""
        return self._file.address

    @property
    def is_free(self) -> bool:
        """Whether nothing lies in it, and nobody has it mapped."""
        return self.parts.is_unused and self._book.is_empty()

    def close(self, runtime: CudaRuntime) -> None:
        """Give the memory back."""
        try:
            runtime.free(self.base)
        finally:
            self._close_file()

    def _close_file(self) -> None:
        if hasattr(self, "_mapping"):
            self._mapping.close()
        self._file.close()


class Range(NamedTuple):
    """A part of a slab that is in use."""

    slab: Slab
    offset: int

    @property
    def place(self) -> Place:
        """Where it is, for this process."""
        return Place(self.slab.base, self.slab.parts.size, self.offset)


class Slabs:
    """The slabs of one device in this process. Owned by a `Gpu`, under whose lock it is used."""

    def __init__(self, runtime: CudaRuntime, number: int, uuid: str) -> None:
        self._runtime = runtime
        self._number = number
        self._uuid = uuid
        self._slabs: dict[FileAddress, Slab] = {}

    def __repr__(self) -> str:
        return f"<Slabs of {self._uuid}: {len(self._slabs)}, {self.size} bytes>"

    @property
    def size(self) -> int:
        """The bytes of all slabs."""
        return sum(slab.parts.size for slab in self._slabs.values())

    @property
    def has_unused(self) -> bool:
        """Whether a slab is there only because somebody has it mapped."""
        return any(slab.parts.is_unused for slab in list(self._slabs.values()))

    def take(self, size: int) -> Range:
        """Return *size* bytes, whatever is in them.

        Raises:
          DeviceOutOfMemory: there are none.
        """
        for slab in self._slabs.values():
            offset = slab.parts.take(size)
            if offset is not None:
                return Range(slab, offset)
        self.trim()
        units = -(-max(size, SLAB_BYTES) // UNIT_BYTES)
        with self._runtime.on(self._number):
            slab = Slab(self._runtime, units * UNIT_BYTES)
        self._slabs[slab.control] = slab
        offset = slab.parts.take(size)
        assert offset is not None
        return Range(slab, offset)

    def give_back(self, taken: Range) -> None:
        """Take a range back that nobody uses."""
        taken.slab.parts.give_back(taken.offset)
        self.trim()

    def trim(self) -> None:
        """Give the slabs back in which nothing lies, and which nobody has mapped."""
        for slab in [slab for slab in self._slabs.values() if slab.is_free]:
            del self._slabs[slab.control]
            try:
                with self._runtime.on(self._number):
                    slab.close(self._runtime)
            except DeviceUnavailable as error:
                # What CUDA does not take back any more, it takes at the end of the process.
                _logger.warning("memory on %s was not given back: %s", self._uuid, error)

    def find(self, control: FileAddress) -> Slab | None:
        """Return the slab with this control file, if it is one of these."""
        return self._slabs.get(control)

    def address(self, taken: Range) -> RangeAddress:
        """Return where another process finds a range."""
        slab = taken.slab
        return RangeAddress(self._uuid, slab.control, slab.handle, slab.parts.size, taken.offset)
