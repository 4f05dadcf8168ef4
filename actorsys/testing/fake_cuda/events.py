"""Events of a fake device: each stands for a place in a stream, and processes share them."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from ...cuda import HANDLE_BYTES
from ...memory import FileAddress, SharedFile
from .files import open_if_there
from .rules import CudaRuleBroken

_HANDLE = struct.Struct("<8sqqqq")
_EVENT_MAGIC = b"fakeevnt"
_MEMORY_MAGIC = b"fakemem\0"
_SLOT = struct.Struct("<qqqqq")  # what it is, and the place that it stands for
_MOST_EVENTS = 1024
_FREE, _NEW, _RECORDED, _DESTROYED = range(4)


class Target(NamedTuple):
    """A place in a stream."""

    stream: FileAddress
    position: int


class Event:
    """One event, in the process that made it or in one that has opened it."""

    def __init__(self, file: SharedFile, slot: int, *, is_own: bool, has_times: bool) -> None:
        self.file = file
        self.slot = slot
        self.is_own = is_own
        self.has_times = has_times
        self.is_gone = False

    def __repr__(self) -> str:
        return f"<Event {self.slot} of process {self.file.address.pid}>"

    def handle(self) -> bytes:
        """Return what another process opens it by."""
        if self.has_times:
            raise CudaRuleBroken("an event that takes times is exported")
        return pack_handle(_EVENT_MAGIC, self.file.address, self.slot)

    def record(self, target: Target) -> None:
        """Have it stand for a place in a stream."""
        self._read()
        self._write(_RECORDED, target)

    def target(self) -> Target | None:
        """Return the place that it stands for, if it was ever recorded."""
        state, target = self._read()
        return target if state == _RECORDED else None

    def destroy(self) -> None:
        """Give it up, for all if it is one's own."""
        _, target = self._read()
        self.is_gone = True
        if self.is_own:
            self._write(_DESTROYED, target)
        else:
            self.file.close()

    def _read(self) -> tuple[int, Target]:
        if self.is_gone:
            raise CudaRuleBroken(f"{self!r} is used after it was destroyed")
        state, *place, position = _SLOT.unpack(self.file.read(self.slot * _SLOT.size, _SLOT.size))
        if state == _DESTROYED:
            raise CudaRuleBroken(f"{self!r} is used after its process has destroyed it")
        return state, Target(FileAddress(*place), position)

    def _write(self, state: int, target: Target) -> None:
        packed = _SLOT.pack(state, *target.stream, target.position)
        self.file.write(self.slot * _SLOT.size, packed)


class EventTable:
    """The events that a process has made."""

    def __init__(self) -> None:
        self._file = SharedFile.create(_MOST_EVENTS * _SLOT.size)
        self._count = 0

    def create(self, *, has_times: bool) -> Event:
        """Return a new one."""
        if self._count >= _MOST_EVENTS:
            raise CudaRuleBroken(f"the fake has {_MOST_EVENTS} events for a process")
        self._count += 1
        event = Event(self._file, self._count - 1, is_own=True, has_times=has_times)
        event._write(_NEW, Target(FileAddress(0, 0, 0), 0))
        return event

    def close(self) -> None:
        """Give all of them up."""
        self._file.close()


def open_event(handle: bytes) -> Event | None:
    """Return the event of another process; None if that has ended."""
    address, slot = unpack_handle(_EVENT_MAGIC, handle)
    file = open_if_there(address)
    return Event(file, slot, is_own=False, has_times=False) if file is not None else None


# --- handles ---------------------------------------------------------------------------------


def memory_handle(address: FileAddress, device: int) -> bytes:
    """Return the handle of an allocation."""
    return pack_handle(_MEMORY_MAGIC, address, device)


def read_memory_handle(handle: bytes) -> tuple[FileAddress, int]:
    """Return the allocation that a handle is of, and its device."""
    return unpack_handle(_MEMORY_MAGIC, handle)


def pack_handle(magic: bytes, address: FileAddress, number: int) -> bytes:
    """Return a handle, as long as those of CUDA."""
    return _HANDLE.pack(magic, *address, number).ljust(HANDLE_BYTES, b"\0")


def unpack_handle(magic: bytes, handle: bytes) -> tuple[FileAddress, int]:
    """Return what a handle says.

    Raises:
      ValueError: it is none of this kind.
    """
    if type(handle) is not bytes or len(handle) != HANDLE_BYTES:
        raise CudaRuleBroken(f"a handle has {HANDLE_BYTES} bytes")
    found, *address, number = _HANDLE.unpack(handle[: _HANDLE.size])
    if found != magic:
        raise ValueError("this handle is of nothing")
    if address[0] == os.getpid():
        raise CudaRuleBroken("a handle is opened in the process that exports it")
    return FileAddress(*address), number
