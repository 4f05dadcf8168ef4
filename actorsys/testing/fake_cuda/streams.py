"""Streams of a fake device: work that is queued, and done when somebody waits for it.

What is queued stands in a file, so that a process that waits for another one does the work itself.
Nothing is done before: who does not wait reads old bytes, each time and not once in a thousand.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ...memory import FileAddress, SharedFile, is_alive
from .files import array_of, locked, open_if_there
from .rules import CudaRuleBroken

FILL, ADD, MULTIPLY, COPY, WAIT = range(1, 6)

_HEAD = struct.Struct("<QQ")  # how much is done, and how much is queued
_WORK = struct.Struct("<BcxxxxxxqqqqqdqqqqQ")
_CAPACITY = 4096


class Work(NamedTuple):
    """One piece of work.

    *target* is an allocation, *source* another one, or the stream that is waited for. *offset* and
    *source_offset* are in bytes, *elements* are of *dtype*, *position* is in that stream.
    """

    operation: int
    dtype: bytes
    target: FileAddress
    offset: int
    elements: int
    value: float
    source: FileAddress
    source_offset: int
    position: int

    def pack(self) -> bytes:
        """Return it as bytes."""
        return _WORK.pack(
            self.operation,
            self.dtype,
            *self.target,
            self.offset,
            self.elements,
            self.value,
            *self.source,
            self.source_offset,
            self.position,
        )

    @classmethod
    def unpack(cls, data: bytes) -> Work:
        """Return the work that *data* is."""
        told = _WORK.unpack(data)
        target, source = FileAddress(*told[2:5]), FileAddress(*told[8:11])
        return cls(told[0], told[1], target, *told[5:8], source, *told[11:])  # type: ignore[call-arg]

    @property
    def nbytes(self) -> int:
        """How many bytes it is about."""
        return self.elements * _item_bytes(self.dtype)

    def touches(self, allocation: FileAddress, begin: int, end: int) -> bool:
        """Tell whether it reads or writes anything of *allocation* from *begin* to *end*."""
        places = ((self.target, self.offset), (self.source, self.source_offset))
        return self.operation != WAIT and any(
            where == allocation and begin < offset + self.nbytes and offset < end
            for where, offset in places
        )


NOWHERE = FileAddress(0, 0, 0)


class Stream:
    """The queue of one stream, in the process that has it or in one that waits for it."""

    def __init__(self, file: SharedFile) -> None:
        self.file = file
        # The lock of a file keeps other processes out, and not other threads of this one.
        self._mutex = threading.Lock()

    @classmethod
    def create(cls) -> Stream:
        """Make an empty one."""
        return cls(SharedFile.create(_HEAD.size + _CAPACITY * _WORK.size))

    def __repr__(self) -> str:
        return f"<Stream: {self.done} of {self.queued} done>"

    @property
    def address(self) -> FileAddress:
        """Where other processes find it."""
        return self.file.address

    @property
    def done(self) -> int:
        """How much of it is done."""
        return int(_HEAD.unpack(self.file.read(0, _HEAD.size))[0])

    @property
    def queued(self) -> int:
        """How much was queued, ever."""
        return int(_HEAD.unpack(self.file.read(0, _HEAD.size))[1])

    def pending(self) -> Iterator[Work]:
        """Yield what is not done."""
        for number in range(self.done, self.queued):
            yield self.read(number)

    def read(self, number: int) -> Work:
        """Return a piece of work that is queued."""
        return Work.unpack(self.file.read(_position(number), _WORK.size))

    def append(self, work: Work) -> None:
        """Queue work; only the process that has the stream does so."""
        with self._mutex, locked(self.file):
            done, queued = _HEAD.unpack(self.file.read(0, _HEAD.size))
            if queued - done >= _CAPACITY:
                raise CudaRuleBroken("the fake queues no more; synchronize sometimes")
            self.file.write(_position(queued), work.pack())
            self.file.write(0, _HEAD.pack(done, queued + 1))

    def run(self, position: int, do: Callable[[Work], None], wait: Callable[[Work], None]) -> None:
        """Do what was queued before *position*, which is not done.

        Waiting for another stream is work of that one: nothing is locked meanwhile, since it may
        have to wait for something earlier in this one.
        """
        while (number := self._run_until_wait(position, do)) < position:
            wait(self.read(number))
            with self._mutex, locked(self.file):
                if self.done == number:  # else somebody else has waited as well
                    self._note_done(number)

    def _run_until_wait(self, position: int, do: Callable[[Work], None]) -> int:
        """Return the number of the first work that is to wait, or what is done if there is none."""
        if self.done >= position:
            return self.done
        with self._mutex, locked(self.file):
            while (number := self.done) < position:
                work = self.read(number)
                if work.operation == WAIT:
                    break
                do(work)
                self._note_done(number)
            return number

    def _note_done(self, number: int) -> None:
        self.file.write(0, _HEAD.pack(number + 1, self.queued))


def _position(number: int) -> int:
    return _HEAD.size + number % _CAPACITY * _WORK.size


class Worker:
    """Does work, for streams of this process and of others.

    *own_streams* and *allocations* are those that this process has, by their files.
    """

    def __init__(
        self, own_streams: dict[FileAddress, Stream], allocations: Mapping[FileAddress, Any]
    ) -> None:
        self._own_streams = own_streams
        self._allocations = allocations

    def run(self, stream: FileAddress, position: int) -> None:
        """Do what was queued on *stream* before *position*."""
        with self.opened(stream) as found:
            if found is not None:
                found.run(position, self._do, self._wait)

    @contextmanager
    def opened(self, address: FileAddress) -> Iterator[Stream | None]:
        """Yield a stream of whatever process; None if that has ended."""
        own = self._own_streams.get(address)
        file = None if own is not None else open_if_there(address)
        try:
            yield own or (Stream(file) if file is not None else None)
        finally:
            if file is not None:
                file.close()

    def _wait(self, work: Work) -> None:
        self.run(work.source, work.position)

    def _do(self, work: Work) -> None:
        target = self._elements(work, work.target, work.offset)
        if target is None:
            return
        if work.operation == COPY:
            source = self._elements(work, work.source, work.source_offset)
            if source is not None:
                target[...] = source
        elif work.operation == FILL:
            target[...] = work.value
        elif work.operation == ADD:
            target += target.dtype.type(work.value)
        else:
            target *= target.dtype.type(work.value)

    def _elements(self, work: Work, address: FileAddress, offset: int) -> Any:
        """Return what a piece of work is about; None if the process that had it has ended."""
        found = self._allocations.get(address)
        if found is not None:
            memory = found.checked().bytes
        else:
            file = open_if_there(address)
            if file is None:
                if is_alive(address.pid):
                    raise CudaRuleBroken("work is done on memory that was freed before")
                return None
            memory = array_of(file)
            file.close()
        return memory[offset : offset + work.nbytes].view(work.dtype.decode())


def _item_bytes(dtype: bytes) -> int:
    import numpy

    return numpy.dtype(dtype.decode()).itemsize
