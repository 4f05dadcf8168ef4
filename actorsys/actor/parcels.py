"""Parcels: a value as bytes of its own, to be kept and passed on by whoever need not open it.

Buffers in it travel beside the bytes, so that whoever holds the parcel holds them as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..buffers.buffer import Buffer
from ..errors import ActorsysError, EncodeError, RemoteProtocolError
from ..limits import Limits
from ..wire import Codec
from .open_buffer import resolve_buffer

NAMED_BUFFER = 34
"""The extension code of a buffer inside the bytes of a parcel: its id."""

Parcel = bytes | list[Any]
"""The bytes; if there are buffers in the value, a list of the bytes and them."""

_NEVER_BYTES = 2**62
_BUFFER_BYTES = 128  # the numbers of a lease and an address, each at its largest


def pack(value: Any) -> Parcel:
    """Return *value* as it is now, ready to travel.

    Its buffers stay good until the parcel is gone, whatever its sender does with them.

    Raises:
      EncodeError: it cannot travel.
      BufferFault: a buffer in it cannot be used any more.
    """
    return pack_with(pack_bytes, value)


def pack_with(to_bytes: Callable[[Any], bytes], value: Any) -> Parcel:
    """Return *value* as a parcel whose bytes *to_bytes* makes, with the codec of `parcel_codec`."""
    met = _local.met = []
    try:
        data = to_bytes(value)
    finally:
        _local.met = None
    return [data, *map(_kept, met)] if met else data


def _kept(buffer: Buffer) -> Buffer:
    """Return a handle of its own: what the sender releases meanwhile is not what travels.

    What the sender has queued on a device by now comes first for whoever opens the parcel, though
    it may leave when another stream is the current one.
    """
    holding = buffer.usable()
    holding.keep_order()
    return Buffer(holding)


def unpack(parcel: Parcel) -> Any:
    """Return the value of a parcel; each time a new one.

    Raises:
      RemoteProtocolError: its bytes mean nothing in this process.
      BufferFault: a buffer in it is not to be had any more.
    """
    try:
        return parcel_codec().unpack_alone(bytes_of(parcel))
    except ActorsysError:
        raise
    except Exception as error:
        # Whatever the parser and the decoders make of hostile bytes, it is the sender's fault.
        raise RemoteProtocolError(f"a value cannot be unpacked here: {error}") from error


def bytes_of(parcel: Parcel) -> bytes:
    """Return the bytes of a parcel, without its buffers."""
    return parcel if isinstance(parcel, bytes) else parcel[0]


def size_of(parcel: Parcel) -> int:
    """Return about how many bytes a parcel takes in a message, or while it is kept."""
    if isinstance(parcel, bytes):
        return len(parcel)
    return len(parcel[0]) + _BUFFER_BYTES * (len(parcel) - 1)


def is_parcel(value: Any) -> bool:
    """Tell whether *value*, which has arrived, can be a parcel."""
    if type(value) is list and value:
        return type(value[0]) is bytes and all(isinstance(item, Buffer) for item in value[1:])
    return type(value) is bytes


def pack_bytes(value: Any) -> bytes:
    """Return the bytes of a parcel; else as `pack`."""
    try:
        return parcel_codec().pack_nested(value)
    except (TypeError, ValueError, OverflowError, BufferError, RecursionError) as error:
        raise EncodeError(str(error)) from error


def parcel_codec() -> Codec:
    """Return this thread's codec, which leaves everything inside the bytes but buffers."""
    return _local.codec


def _new_codec() -> Codec:
    codec = Codec(Limits(segment_bytes=_NEVER_BYTES))
    codec.add_extension(
        NAMED_BUFFER,
        Buffer,
        lambda buffer: _name_buffer(buffer).encode(),
        lambda data: resolve_buffer(str(data, "ascii")),
    )
    return codec


def _name_buffer(buffer: Buffer) -> str:
    buffer.usable()
    if _local.met is not None:
        _local.met.append(buffer)
    return buffer.id


class _Local(threading.local):
    """A codec for each thread, and the buffers that it has met, while somebody wants to know."""

    def __init__(self) -> None:
        self.codec = _new_codec()
        self.met: list[Buffer] | None = None


_local = _Local()
