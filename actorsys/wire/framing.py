"""Bytes to frames: a four-byte little-endian length, then that many bytes.

The length is checked before anything is stored or reserved. A large frame is received straight
into the memory in which its arrays will stay.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import LimitExceeded, RemoteProtocolError
from .codec import HEADER_BYTES

_MAX_SPARE_BYTES = 4 * 1024 * 1024
_FIRST_LARGE_BYTES = 4 * 1024 * 1024  # so much is given for a promise; more when it has come
_LENGTH = struct.Struct("<I")
_FOREIGN_GREETINGS = {
    b"GET ": "an HTTP request",
    b"POST": "an HTTP request",
    b"PUT ": "an HTTP request",
    b"HEAD": "an HTTP request",
    b"OPTI": "an HTTP request",
    b"PRI ": "an HTTP/2 preface",
    b"SSH-": "an SSH greeting",
    b"\x16\x03\x01": "a TLS hello",
    b"\x16\x03\x03": "a TLS hello",
}


class FrameReader:
    """Cuts a stream of bytes, split anywhere, into frames.

    Give it bytes with `feed` and iterate over it for the frames they complete. When
    `large_rest` returns memory, the next bytes may be received right there and reported with
    `fill`, which saves a copy.
    """

    def __init__(self, max_frame_bytes: int, large_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._large_bytes = large_bytes
        self._chunk: bytes = b""
        self._position = 0
        self._large: bytearray | None = None
        self._large_length = 0
        self._rest: memoryview | None = None
        self._spare: bytearray | None = None
        self._filled = 0

    def __repr__(self) -> str:
        return f"<FrameReader: {self.buffered_bytes} bytes buffered>"

    @property
    def buffered_bytes(self) -> int:
        """Bytes that belong to a frame that is not complete yet."""
        return len(self._chunk) - self._position + self._filled

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._large is not None:
            data = self._fill_large(data)
        rest = self._chunk[self._position :] if self._position < len(self._chunk) else b""
        self._chunk = rest + data if rest else data
        self._position = 0

    def large_rest(self) -> memoryview | None:
        """Return the memory for the rest of a large frame, or None when there is none."""
        if self._large is None or self._filled == self._large_length:
            return None
        self._grow()
        self._rest = memoryview(self._large)[self._filled :]
        return self._rest

    def fill(self, count: int) -> None:
        """Say that *count* bytes were received into `large_rest`, which is void from now on."""
        self._filled += count
        if self._rest is not None:
            self._rest.release()
            self._rest = None

    def recycle(self, frame: bytearray) -> None:
        """Take back a large frame that nobody looks at any more, for one of the same size.

        Touching fresh pages costs as much as moving the bytes through the socket.
        """
        if len(frame) <= _MAX_SPARE_BYTES:
            self._spare = frame

    def take_rest(self) -> bytes:
        """Return, and forget, the bytes behind the last frame."""
        rest = self._chunk[self._position :]
        self._chunk, self._position = b"", 0
        return rest

    def __iter__(self) -> Iterator[bytes | bytearray]:
        """Yield each complete frame; a large one as a ``bytearray`` that is nobody else's.

        Raises:
          LimitExceeded: a frame announces more than the limit.
          RemoteProtocolError: a frame is empty, or the peer speaks another protocol.
        """
        if self._large is not None:
            if self._filled < self._large_length:
                return
            large, self._large, self._filled = self._large, None, 0
            yield large
        # The loop works on locals: it is the path of every message.
        chunk, position, size = self._chunk, self._position, len(self._chunk)
        read_length = _LENGTH.unpack_from
        while size - position >= HEADER_BYTES:
            start = position + HEADER_BYTES
            (length,) = read_length(chunk, position)
            if length > self.max_frame_bytes or not length:
                raise self._bad_length(length, chunk[position:start])
            end = start + length
            if end > size:
                if length >= self._large_bytes:
                    self._begin_large(length, chunk[start:])
                    position = size
                break
            position = self._position = end
            frame = chunk[start:end]
            yield bytearray(frame) if length >= self._large_bytes else frame
        self._position = position

    def _begin_large(self, length: int, first: bytes) -> None:
        spare, self._spare = self._spare, None
        if spare is not None and len(spare) == length:
            self._large = spare
        else:
            # Python fills it with zeros: memory is given as bytes arrive, not as announced.
            self._large = bytearray(min(length, max(_FIRST_LARGE_BYTES, len(first))))
        self._large_length = length
        self._large[: len(first)] = first
        self._filled = len(first)

    def _grow(self) -> None:
        """Double the memory for the large frame when it is full."""
        assert self._large is not None
        size = len(self._large)
        if self._filled == size < self._large_length:
            self._large += bytes(min(size, self._large_length - size))

    def _fill_large(self, data: bytes) -> bytes:
        """Put *data* into the large frame; return what lies behind its end."""
        assert self._large is not None
        while data and self._filled < self._large_length:
            self._grow()
            taken = min(len(data), len(self._large) - self._filled)
            self._large[self._filled : self._filled + taken] = data[:taken]
            self._filled += taken
            data = data[taken:]
        return data

    def _bad_length(self, length: int, header: bytes) -> Exception:
        for greeting, name in _FOREIGN_GREETINGS.items():
            if header.startswith(greeting):
                return RemoteProtocolError(f"the peer sent {name}, not this protocol")
        if not length:
            return RemoteProtocolError("the peer sent an empty frame")
        return LimitExceeded(
            f"the peer announced a frame of {length:,} bytes, the limit is {self.max_frame_bytes:,}"
        )
