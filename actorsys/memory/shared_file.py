"""A file in memory that several processes have open.

It has no name, so that nothing is left of it when the last of them has ended, however it ended.
Whoever may act as the process that made it can open it, by the number that it has there.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from typing import NamedTuple

from .mapping import Mapping

NAME = "actorsys"
_LINK = f"/memfd:{NAME}"
_FROZEN = 0x10 | fcntl.F_SEAL_WRITE  # F_SEAL_FUTURE_WRITE, which the library does not name
_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


def is_supported() -> bool:
    """Tell whether this system has such files."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and os.path.isdir("/proc/self")


class FileAddress(NamedTuple):
    """Where a file can be opened: its number in a process, and its own, which tells it apart."""

    pid: int
    fd: int
    inode: int


class SharedFile:
    """A file in memory. It never changes its size, so that no reader can be made to crash.

    Its bytes can be locked, one by one: a lock is the kernel's own count of who uses what, since
    it ends with the process that holds it. Two `SharedFile` never share a lock.
    """

    def __init__(self, fd: int, address: FileAddress, size: int) -> None:
        self.address = address
        self.size = size
        self._fd = fd

    @classmethod
    def create(cls, size: int) -> SharedFile:
        """Make a file of *size* zeros; memory is taken as it is written to.

        Raises:
          OSError: there are too many open files.
        """
        fd = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            inode = os.fstat(fd).st_ino
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, FileAddress(os.getpid(), fd, inode), size)

    @classmethod
    def open(cls, address: FileAddress, *, is_writable: bool = True) -> SharedFile:
        """Open the file at *address*, which nobody vouches for.

        Raises:
          FileNotFoundError: it is not there, or no longer.
          PermissionError: its process belongs to another user, or is shielded.
          ValueError: what is there is no such file.
        """
        path = f"/proc/{address.pid}/fd/{address.fd}"
        # What is no file in memory is not even opened: that alone can have effects.
        if not os.readlink(path).startswith(_LINK):
            raise ValueError(f"{path} is no shared memory of an actor")
        mode = os.O_RDWR if is_writable else os.O_RDONLY
        fd = os.open(path, mode | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(fd)
            if status.st_ino != address.inode:
                raise FileNotFoundError(f"{path} is another file by now")
            sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
            if not sealed & fcntl.F_SEAL_SHRINK:
                raise ValueError(f"{path} may be cut short by its owner")
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise ValueError(f"{path} is no shared memory of an actor") from error
            raise
        return cls(fd, address, status.st_size)

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"fd {self._fd}"
        return f"<SharedFile: {self.size} bytes, {state}>"

    def map(self, offset: int, size: int, *, is_writable: bool = True) -> Mapping:
        """Map a part of it; *offset* is a multiple of `mmap.ALLOCATIONGRANULARITY`."""
        if offset + size > self.size:
            raise ValueError(f"{size} bytes from {offset} on are more than {self.size}")
        return Mapping(self._fd, offset, size, is_writable=is_writable)

    def read(self, offset: int, size: int) -> bytes:
        """Return a part of it."""
        return os.pread(self._fd, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Replace a part of it."""
        os.pwrite(self._fd, data, offset)

    @property
    def is_frozen(self) -> bool:
        """Whether nobody can write to it."""
        return bool(fcntl.fcntl(self._fd, fcntl.F_GET_SEALS) & _FROZEN)

    def freeze(self, mapping: Mapping) -> None:
        """Let nobody write to it any more, whoever has it open; *mapping* is the one that we have.

        Raises:
          BlockingIOError: somebody else has it mapped to write to it; nothing has changed.
        """
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            mapping.remap(fd, is_writable=False)
        finally:
            os.close(fd)
        try:
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        except OSError as error:
            mapping.remap(self._fd, is_writable=True)
            raise BlockingIOError("somebody has it mapped to write to it") from error

    # --- locks ---------------------------------------------------------------------------

    def hold(self, position: int) -> bool:
        """Lock a byte together with others who hold it; False if somebody has it alone."""
        return self._lock(fcntl.F_RDLCK, position)

    def take(self, position: int) -> bool:
        """Lock a byte alone; False if anybody else has it."""
        return self._lock(fcntl.F_WRLCK, position)

    def let_go(self, position: int) -> None:
        """Unlock a byte."""
        self._lock(fcntl.F_UNLCK, position)

    def _lock(self, kind: int, position: int) -> bool:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, position, 1, 0))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close it; its mappings stay, and with them its locks. Closing it again is nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
