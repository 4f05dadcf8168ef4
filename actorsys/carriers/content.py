"""Contents and errors as bytes. They are made once, where a message is sent, and read once."""

from __future__ import annotations

import dataclasses
import sys
import threading
from typing import Any

from ..channel.remote_errors import pack_error, unpack_error
from ..errors import ActorsysError, EncodeError, Uid
from ..limits import Limits
from ..wire import Codec
from ..wire.codec import HEADER_BYTES

_AROUND_BYTES = 1024  # what a frame has beside the content


class ContentCodec:
    """Packs and unpacks values for one participant, from any thread."""

    def __init__(self, limits: Limits, uid: Uid) -> None:
        self._limits = limits
        self._uid = uid
        # One run of bytes for each: nothing of it travels apart from the rest.
        self._codec = Codec(dataclasses.replace(limits, segment_bytes=sys.maxsize))
        self._max_bytes = max(1, limits.max_message_bytes - _AROUND_BYTES)
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<ContentCodec of {self._uid[0]!r}>"

    def pack(self, value: Any) -> bytes:
        """Return *value* as bytes; what becomes of it later does not matter.

        Raises:
          EncodeError: a part of it cannot travel; its type is named.
          LimitExceeded: it is larger than a message may be.
        """
        with self._lock:
            (frame,) = self._codec.encode({"value": value}, self._max_bytes)
        return bytes(frame[HEADER_BYTES:])

    def unpack(self, packed: bytes) -> Any:
        """Return the value that was packed, in memory of its own.

        Raises:
          EncodeError: a part of it means nothing in this process.
        """
        with self._lock:
            message, fault = self._codec.decode(packed)
        if fault is not None:
            raise EncodeError(fault)
        return message["value"]

    def pack_error(self, error: BaseException) -> bytes:
        """Return *error*, raised by this participant, as bytes."""
        return self.pack(pack_error(error, self._uid, self._limits, self._measure))

    def unpack_error(self, packed: bytes) -> BaseException:
        """Return the error that was packed, as a `RemoteActorError`."""
        with self._lock:
            message, _ = self._codec.decode(packed)
        return unpack_error(message["value"], self._limits)

    def _measure(self, value: Any) -> int | None:
        try:
            return len(self.pack(value))
        except ActorsysError:
            return None
