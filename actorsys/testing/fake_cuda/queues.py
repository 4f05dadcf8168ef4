"""The streams of one process: what is queued, and which one each thread is on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...memory import FileAddress
from .allocations import Allocation
from .streams import NOWHERE, WAIT, Stream, Work, Worker


class Queues:
    """Owned by a `FakeCuda`; *allocations* are the memory that its process has, by file."""

    def __init__(self, allocations: Mapping[FileAddress, Any]) -> None:
        self._thread = threading.local()
        self._streams: dict[FileAddress, Stream] = {}
        self._devices: dict[FileAddress, int] = {}
        self._defaults: dict[int, Stream] = {}
        self._worker = Worker(self._streams, allocations)

    def __repr__(self) -> str:
        return f"<Queues: {len(self._streams)} streams>"

    def close(self) -> None:
        """Give all streams up, and what is queued on them."""
        for stream in self._streams.values():
            stream.file.close()

    # --- the device and the stream of a thread -------------------------------------------

    @property
    def device(self) -> int:
        """The device that the calling thread is on."""
        return int(getattr(self._thread, "device", 0))

    @contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Be on another device, for the block."""
        before = self.device
        self._thread.device = number
        try:
            yield
        finally:
            self._thread.device = before

    def new(self) -> Stream:
        """Return a new stream of the current device."""
        stream = Stream.create()
        self._streams[stream.address] = stream
        self._devices[stream.address] = self.device
        return stream

    @contextmanager
    def choose(self, stream: Stream) -> Iterator[None]:
        """Have *stream* be the current one, for the block."""
        before = getattr(self._thread, "stream", None)
        self._thread.stream = stream
        try:
            yield
        finally:
            self._thread.stream = before

    def current(self) -> Stream:
        """Return the current stream: what was chosen, or the default one of the device."""
        chosen = getattr(self._thread, "stream", None)
        if isinstance(chosen, Stream):
            return chosen
        if self.device not in self._defaults:
            self._defaults[self.device] = self.new()
        return self._defaults[self.device]

    # --- work ----------------------------------------------------------------------------

    def wait(self, stream: FileAddress, position: int) -> None:
        """Let the current stream wait for a place in another one."""
        current = self.current()
        if stream != current.address:
            current.append(Work(WAIT, b"B", NOWHERE, 0, 0, 0.0, stream, 0, position))

    def finish_current(self) -> None:
        """Do what is queued on the current stream."""
        current = self.current()
        self._worker.run(current.address, current.queued)

    def synchronize(self) -> None:
        """Do what is queued on the current device."""
        for address, stream in list(self._streams.items()):
            if self._devices[address] == self.device:
                self._worker.run(address, stream.queued)

    def is_done(self, stream: FileAddress, position: int) -> bool:
        """Tell whether a place in a stream of whatever process has been reached."""
        with self._worker.opened(stream) as found:
            return found is None or found.done >= position

    def busy_with(
        self, allocation: Allocation, begin: int, end: int, *, only_own: bool
    ) -> FileAddress | None:
        """Return a stream with work on a part of an allocation that is not done, or None."""
        for address in allocation.streams():
            if only_own and address not in self._streams:
                continue
            with self._worker.opened(address) as stream:
                pending = stream.pending() if stream is not None else ()
                if any(work.touches(allocation.address, begin, end) for work in pending):
                    return address
        return None
