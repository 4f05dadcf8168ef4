"""Who uses a file in memory, by process, until that has ended for good.

A lock of the kernel ends early in the death of a process: before its descriptors are closed, and so
before the driver of a device has stopped what the process had it do. Where that matters, whoever
uses a file writes its process into a line of the book. Who goes in order clears the line; that of
who died counts until the process has ended entirely.
"""

from __future__ import annotations

import os
import struct

from .mapping import Mapping
from .processes import has_ended, read_stat
from .shared_file import SharedFile

_LINE = struct.Struct("<QQ")  # pid, and when it started: a pid is used again
_LINES = 256
_FIRST_LOCK = 16
"""Line n is locked as byte 16 + n; what comes before is for other uses."""

_BLANK = bytes(_LINE.size * _LINES)


class GuestBook:
    """The lines at the begin of *mapping*, which is of *file*; both belong to somebody else."""

    SIZE_BYTES = len(_BLANK)

    def __init__(self, file: SharedFile, mapping: Mapping) -> None:
        self._file = file
        self._mapping = mapping
        self._lines = mapping.view()[: self.SIZE_BYTES]

    def __repr__(self) -> str:
        # Tracebacks show what is closed, too, and nobody may look there then.
        state = f"{len(self._written())} lines" if self._mapping.address else "closed"
        return f"<GuestBook: {state}>"

    def enter(self) -> int:
        """Write this process into a line of its own, and return its number.

        The line is locked until the file and its last mapping are closed here. Where there is none
        left, it is one of a process that has ended: its owner looks at the book when he wants the
        memory back, which may be long after.

        Raises:
          BlockingIOError: the book is full.
        """
        number = self._take_blank()
        if number is None:
            for written in self._written():
                self._is_over(written)
            number = self._take_blank()
        if number is None:
            raise BlockingIOError(f"{_LINES} processes use it already")
        stat = read_stat(os.getpid())
        self._write(number, os.getpid(), stat.start if stat is not None else 0)
        return number

    def _take_blank(self) -> int | None:
        """Lock a line in which nobody is, and return its number."""
        for number in range(_LINES):
            if self._read(number)[0] or not self._file.take(_FIRST_LOCK + number):
                continue
            if not self._read(number)[0]:
                return number
            self._file.let_go(_FIRST_LOCK + number)
        return None

    def leave(self, number: int) -> None:
        """Clear a line of this process, before the lock of it ends."""
        self._write(number, 0, 0)

    def is_empty(self) -> bool:
        """Tell whether nobody uses the file; for its owner, who lets nobody enter meanwhile."""
        return bytes(self._lines) == _BLANK or all(map(self._is_over, self._written()))

    def _is_over(self, number: int) -> bool:
        """Tell whether whoever wrote a line is gone, and clear it then."""
        if not self._file.take(_FIRST_LOCK + number):
            return False
        is_over = has_ended(*self._read(number))
        if is_over:
            self._write(number, 0, 0)
        self._file.let_go(_FIRST_LOCK + number)
        return is_over

    def _written(self) -> list[int]:
        return [number for number in range(_LINES) if self._read(number)[0]]

    def _read(self, number: int) -> tuple[int, int]:
        pid, start = _LINE.unpack_from(self._lines, number * _LINE.size)
        return pid, start

    def _write(self, number: int, pid: int, start: int) -> None:
        _LINE.pack_into(self._lines, number * _LINE.size, pid, start)
