"""The stderr of a child: passed on line by line, its end kept for error messages."""

from __future__ import annotations

import contextlib
import os

import trio
from trio.lowlevel import enable_ki_protection

_CHUNK_BYTES = 65536
_MAX_LINE_BYTES = 65536  # a longer line is passed on in parts
_MAX_HELD_BYTES = 1024 * 1024
_STDERR_FD = 2


class StderrRelay:
    """Reads a child's stderr until it ends.

    Lines are held back until `release`: what a child says that never becomes an actor belongs
    into the error of its start, and is not said twice.
    """

    def __init__(self, fd: int, tail_bytes: int) -> None:
        self._stream = trio.lowlevel.FdStream(fd)
        self._tail_bytes = tail_bytes
        self._tail = b""
        self._pending = b""
        self._is_held = True

    def __repr__(self) -> str:
        return f"<StderrRelay: {len(self._tail)} bytes kept>"

    @property
    def tail(self) -> str:
        """The end of what was said so far."""
        return self._tail.decode("utf-8", "backslashreplace")

    @enable_ki_protection
    async def run(self) -> None:
        """Relay until the pipe ends; closes it."""
        async with self._stream:
            while data := await self._stream.receive_some(_CHUNK_BYTES):
                self._tail = (self._tail + data)[-self._tail_bytes :]
                self._pending += data
                if not self._is_held or len(self._pending) > _MAX_HELD_BYTES:
                    self._pass_on()
        if not self._is_held:
            _write(self._pending)

    def release(self) -> None:
        """Pass on what was held back, and what comes from now on."""
        self._is_held = False
        self._pass_on()

    def _pass_on(self) -> None:
        end = self._pending.rfind(b"\n") + 1
        if not end and len(self._pending) > _MAX_LINE_BYTES:
            end = len(self._pending)
        _write(self._pending[:end])
        self._pending = self._pending[end:]


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):  # our own stderr may be closed or full; that is no error
        while data:
            data = data[os.write(_STDERR_FD, data) :]
