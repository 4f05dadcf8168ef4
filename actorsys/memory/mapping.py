"""A part of a file in the address space of this process."""

from __future__ import annotations

import ctypes
import mmap
import os

_MAP_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Mapping:
    """*size* bytes of the file behind *fd*, from *offset* on, shared with whoever maps them.

    ``address`` is where they are. Nobody may look there after `close`: that is for whoever hands
    out views to see to. The standard library's own mapping refuses to close while there are views,
    and cannot become read-only under them.

    Raises:
      OSError: the file is sealed, or there is no address space.
    """

    def __init__(self, fd: int, offset: int, size: int, *, is_writable: bool) -> None:
        self.size = size
        self.is_writable = is_writable
        self._fd_offset = offset
        self.address = _map(None, fd, offset, size, is_writable)

    def __repr__(self) -> str:
        state = "closed" if not self.address else "writable" if self.is_writable else "read-only"
        return f"<Mapping: {self.size} bytes, {state}>"

    def view(self) -> memoryview:
        """Return the bytes."""
        view = memoryview((ctypes.c_ubyte * self.size).from_address(self.address)).cast("B")
        return view if self.is_writable else view.toreadonly()

    def remap(self, fd: int, *, is_writable: bool) -> None:
        """Make it writable or not for this process, through whatever view; it keeps its place.

        *fd* is the same file, open for that. Writing through an old view of what is read-only ends
        the process.
        """
        _map(self.address, fd, self._fd_offset, self.size, is_writable)
        self.is_writable = is_writable

    def close(self) -> None:
        """Give the address space back. Closing it again is nothing."""
        address, self.address = self.address, 0
        if address and _munmap(address, self.size):
            raise _error()


def _map(address: int | None, fd: int, offset: int, size: int, is_writable: bool) -> int:
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
    flags = mmap.MAP_SHARED | (_MAP_FIXED if address else 0)
    found = _mmap(address, size, protection, flags, fd, offset)
    if found == _FAILED or found is None:
        raise _error()
    return int(found)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
