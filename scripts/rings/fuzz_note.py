"""Word that a process leaves of what it is about to do, for whoever finds it dead or stuck."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_HEADER = struct.Struct("<QQ")
_NOTE_BYTES = 64 * 1024


class Note:
    """A note that nobody reads."""

    def write(self, number: int, data: bytes) -> None:
        """Say that *data*, the input *number*, comes next."""


class FileNote(Note):
    """A note in a file, which outlives its writer: how many inputs so far, and the last one."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_NOTE_BYTES))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NOTE_BYTES)

    def write(self, number: int, data: bytes) -> None:
        kept = data[: _NOTE_BYTES - _HEADER.size]
        self._memory[_HEADER.size : _HEADER.size + len(kept)] = kept
        _HEADER.pack_into(self._memory, 0, number + 1, len(kept))

    def read(self) -> tuple[int, bytes]:
        """Return how many inputs there were, and the start of the last of them."""
        number, size = _HEADER.unpack_from(self._memory, 0)
        return number, self._memory[_HEADER.size : _HEADER.size + size]

    def close(self) -> None:
        self._memory.close()
