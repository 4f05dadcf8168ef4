"""Memory of a fake device: files that processes share, and who has what of it mapped."""

from __future__ import annotations

import mmap
import struct

from ...memory import FileAddress, SharedFile, is_alive
from .files import array_of, locked
from .rules import CudaRuleBroken

_IN_USE = 0
"""The byte that is locked, by many together, while an allocation is mapped."""

_OLD_BYTE = 0xA5
_STREAM = struct.Struct("<qqq")
_MOST_STREAMS = mmap.PAGESIZE // _STREAM.size


class Allocation:
    """A piece of device memory, in the process that made it or in one that has it mapped.

    Behind its bytes stands which streams have ever had work on it.
    """

    def __init__(self, file: SharedFile, device: int, *, is_own: bool, kind: str = "plain") -> None:
        self.device = device
        self.size = file.size - mmap.PAGESIZE
        self.is_own = is_own
        self.kind = kind
        self.is_gone = False
        self.file = file
        if not file.hold(_IN_USE):
            raise CudaRuleBroken("memory is mapped while it is being freed")
        self.bytes = array_of(file)[: self.size]
        self.base = int(self.bytes.ctypes.data)

    @classmethod
    def create(cls, size: int, device: int, kind: str) -> Allocation:
        """Make one; what is in it is not zeros, as on a device that was used before."""
        file = SharedFile.create(size + mmap.PAGESIZE)
        made = cls(file, device, is_own=True, kind=kind)
        made.bytes[: mmap.PAGESIZE] = _OLD_BYTE
        return made

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "own" if self.is_own else "mapped"
        return f"<Allocation of {self.size} bytes, {state}>"

    @property
    def address(self) -> FileAddress:
        """Where other processes find it."""
        return self.file.address

    def checked(self) -> Allocation:
        """Return it, if it may be used."""
        if self.is_gone:
            raise CudaRuleBroken(f"{self!r} is used after it was freed, or closed")
        return self

    def usable(self) -> Allocation:
        """Return it, if new work may be queued on it: not once its process has ended."""
        if not self.is_own and not is_alive(self.address.pid):
            raise CudaRuleBroken(f"{self!r} is used after the process it belongs to has ended")
        return self.checked()

    def note_stream(self, stream: FileAddress) -> None:
        """Note that *stream* has work on it."""
        with locked(self.file):
            known = self.streams()
            if stream not in known:
                if len(known) >= _MOST_STREAMS:
                    raise CudaRuleBroken("the fake takes no more streams for one allocation")
                position = self.size + len(known) * _STREAM.size
                self.file.write(position, _STREAM.pack(*stream))

    def streams(self) -> list[FileAddress]:
        """Return the streams that have ever had work on it."""
        packed = self.file.read(self.size, _MOST_STREAMS * _STREAM.size)
        return [FileAddress(*told) for told in _STREAM.iter_unpack(packed) if any(told)]

    def give_up(self) -> None:
        """Free it, or undo the mapping."""
        self.is_gone = True
        self.file.let_go(_IN_USE)
        is_free = not self.is_own or self.file.take(_IN_USE)
        self.file.close()
        if not is_free:
            raise CudaRuleBroken(f"{self!r} is freed while another process has it mapped")
