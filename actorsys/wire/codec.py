"""Values to bytes and back: msgpack, an extension table, and large parts left uncopied.

A frame is one msgpack map. Its large parts are pulled out to the front, under the key
``segments``, and the body refers to them by number: the sender passes them to the kernel where
they lie, and the receiver finds them without unpacking anything::

    {"segments": [<bin>, <bin>], "return": <ext 13: 0>, "cid": "1f"}
"""

from __future__ import annotations

import enum
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Union

import msgpack

from ..errors import ActorsysError, EncodeError, LimitExceeded, RemoteProtocolError
from ..limits import DEFAULT_LIMITS, Limits
from . import extensions
from .text import cut_line
from .typetable import TYPES, TypeTable

Buffer = Union[bytes, bytearray, memoryview]
EncodedFrame = list[Buffer]
"""The parts of one frame, in order, its length in front. Most frames have one part."""


class UndoableFrame(list[Buffer]):
    """A frame whose encoding has done more than that; `undo` it if it is not sent after all."""

    def __init__(self, parts: EncodedFrame, undos: list[Callable[[], None]]) -> None:
        super().__init__(parts)
        self._undos = undos

    def undo(self) -> None:
        """Undo what encoding it has done."""
        while self._undos:
            self._undos.pop()()


@contextmanager
def undone_on_error(frame: EncodedFrame) -> Iterator[None]:
    """Undo what encoding *frame* has done if an error leaves the block."""
    try:
        yield
    except BaseException:
        if isinstance(frame, UndoableFrame):
            frame.undo()
        raise


HEADER_BYTES = 4
_MAX_FAULT_CHARS = 1000
_PACKER_BUFFER_BYTES = 4096  # msgpack takes 256 KiB by default, for each link
_FIXMAP = 0x80
_FIXMAP_MAX = 15
_SEGMENTS_KEY = b"\xa8segments"
_MAX_SEGMENTS = 1024
_SEGMENTS_END = 1 + len(_SEGMENTS_KEY)
_TIMESTAMP_AS_DATETIME = 3
_MAX_UNCHECKED_ELEMENTS = 2**18  # 2 MiB: each array may announce an element for each byte
_MAX_TRUSTED_BYTES = 512  # whatever so few announce, msgpack reserves no more than 2 MiB for it
_OPENERS = bytes(0x80 <= code < 0xA0 or 0xDC <= code < 0xE0 for code in range(0x100))
"""For each byte, 1 if it can open an array or a map: how many there are is an upper bound of the
nesting."""

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


class Codec:
    """Encodes and decodes the frames of one link. Not for use from two threads at once."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, types: TypeTable = TYPES) -> None:
        self._limits = limits
        self._types = types
        self._encoders: dict[type, tuple[int, Encode]] = {}
        self._by_code: dict[int, Encode] = {}
        self._decoders: dict[int, Decode] = {}
        self._diverted: dict[int, tuple[int, Callable[[Any], bytes | None]]] = {}
        self._later: dict[int, Callable[[], object]] = {}
        self._undos: list[Callable[[], None]] = []
        self._packers: list[msgpack.Packer] = []
        self._packing_depth = 0
        self._unpacking_depth = 0
        self._outgoing: list[Buffer] = []
        self._incoming: list[memoryview | None] = []
        self._fault: ActorsysError | None = None
        self.frame_is_shared = False
        """Whether values of the frame decoded last lie in its memory."""
        extensions.install(self, types)

    # --- the table -----------------------------------------------------------------------

    def add_extension(
        self, code: int, cls: type | None, encode: Encode | None, decode: Decode
    ) -> None:
        """Let *cls* travel as extension *code*. With no *cls* only the code is known."""
        if code in self._decoders:
            raise ValueError(f"extension code {code} is taken")
        self._decoders[code] = decode
        if encode is not None:
            self._by_code[code] = encode
            if cls is not None:
                self._encoders[cls] = (code, encode)

    def extend_later(self, codes: Iterable[int], load: Callable[[], object]) -> None:
        """Have *load* add extensions when one of *codes* has arrived for the first time."""
        self._later.update(dict.fromkeys(codes, load))

    def divert(self, code: int, other: int, encode: Callable[[Any], bytes | None]) -> None:
        """Let what travels as extension *code* travel as *other*, unless *encode* returns None."""
        self._diverted[code] = other, encode

    def undo_with(self, undo: Callable[[], None]) -> None:
        """Have *undo* called if the frame being encoded is not to be sent."""
        self._undos.append(undo)

    def pack_nested(self, value: Any) -> bytes:
        """Pack a value inside an extension."""
        depth = self._packing_depth
        if depth > self._limits.max_typed_depth:
            raise EncodeError(
                f"tuples, sets and dataclasses are nested deeper than "
                f"{self._limits.max_typed_depth} (limits.max_typed_depth)"
            )
        while len(self._packers) <= depth:
            self._packers.append(self._new_packer())
        self._packing_depth = depth + 1
        try:
            return self._packers[depth].pack(value)  # type: ignore[no-any-return]
        finally:
            self._packing_depth = depth

    def unpack_nested(self, data: bytes | bytearray) -> Any:
        """Unpack a value inside an extension."""
        if self._unpacking_depth > self._limits.max_typed_depth:
            raise RemoteProtocolError("extensions are nested too deeply")
        self._unpacking_depth += 1
        try:
            self._check_announced(data)
            return self._unpack(data)
        finally:
            self._unpacking_depth -= 1

    def unpack_alone(self, data: bytes | bytearray) -> Any:
        """Unpack a value that is no part of a frame.

        Raises:
          ActorsysError: whoever decodes a part of it has raised that.
          ValueError: a part of it means nothing in this process.
        """
        self._fault = None
        if len(data) > _MAX_TRUSTED_BYTES:
            self._check_announced(data)
        value = self._unpack(data)
        if self._fault is not None:
            raise self._take_fault()
        return value

    def _take_fault(self) -> Exception:
        # In a frame of its own: one that holds what it raises is a cycle, and keeps the value.
        fault, self._fault = self._fault, None
        assert fault is not None
        return ValueError(str(fault)) if type(fault) is EncodeError else fault

    def is_large(self, size: int) -> bool:
        """Tell whether *size* bytes travel outside the body."""
        return size >= self._limits.segment_bytes and len(self._outgoing) < _MAX_SEGMENTS

    def add_segment(self, data: Buffer) -> int:
        """Put *data* in front of the frame being encoded; return its number."""
        self._outgoing.append(data)
        return len(self._outgoing) - 1

    def take_segment(self, number: int) -> memoryview:
        """Return a large part of the frame being decoded: writable, and not a copy."""
        self.frame_is_shared = True
        return self._segment(number)

    def copy_segment(self, number: int) -> bytes:
        """Return a large part of the frame being decoded, as bytes."""
        return bytes(self._segment(number))

    def _segment(self, number: int) -> memoryview:
        if not (type(number) is int and 0 <= number < len(self._incoming)):
            raise ValueError(f"the frame has no segment {number!r}")
        segment, self._incoming[number] = self._incoming[number], None
        if segment is None:
            # Each is one value: taken a thousand times, it would be a thousand copies.
            raise ValueError(f"segment {number} is taken twice")
        return segment

    def undecodable(self, reason: str) -> extensions.Undecodable:
        """Mark the frame being decoded as one that cannot be delivered."""
        reason = cut_line(reason, _MAX_FAULT_CHARS)
        self._fault = self._fault or EncodeError(reason)
        return extensions.Undecodable(reason)

    # --- encoding ------------------------------------------------------------------------

    def encode(self, message: dict[str, Any], max_bytes: int) -> EncodedFrame:
        """Return *message*, a map of at most 14 keys, as the parts of one frame.

        Raises:
          EncodeError: a value cannot travel. It names the type, not the place.
          LimitExceeded: the frame would be larger than *max_bytes*.
          ActorsysError: whoever encodes a part of it, on a floor above, has raised that.
        """
        try:
            frame = self._encode(message, max_bytes)
        except BaseException:
            UndoableFrame([], self._undos).undo()
            raise
        if self._undos:
            frame, self._undos = UndoableFrame(frame, self._undos), []
        return frame

    def measure(self, message: dict[str, Any], max_bytes: int) -> int:
        """Return how many bytes *message* takes as a frame, which is not sent; else as `encode`."""
        frame = self.encode(message, max_bytes)
        size = sum(map(len, frame))
        if isinstance(frame, UndoableFrame):
            frame.undo()
        return size

    def _encode(self, message: dict[str, Any], max_bytes: int) -> EncodedFrame:
        outgoing = self._outgoing
        outgoing.clear()
        try:
            body = self.pack_nested(message)
        except ActorsysError:
            raise
        except (TypeError, ValueError, OverflowError, BufferError, RecursionError) as error:
            raise EncodeError(str(error)) from error
        limit = self._limits.max_depth
        is_suspicious = len(body) > limit and _count_openers(body) > limit
        if is_suspicious and _is_deeper(message, limit):
            raise EncodeError(f"the value is nested deeper than {limit} (limits.max_depth)")
        if outgoing:
            return _with_segments(body, outgoing.copy(), max_bytes)
        size = len(body)
        if size > max_bytes:
            raise too_large(size, max_bytes)
        return [size.to_bytes(HEADER_BYTES, "little") + body]

    def wrap_large(self, value: Any) -> Any:
        """Mark *value*, if it is a large ``bytes``, to travel outside the body."""
        if type(value) is bytes and self.is_large(len(value)):
            return extensions.Segment(value)
        return value

    def _new_packer(self) -> msgpack.Packer:
        return msgpack.Packer(
            strict_types=True, default=self._encode_extension, buf_size=_PACKER_BUFFER_BYTES
        )

    def _encode_extension(self, value: Any) -> msgpack.ExtType:
        known = self._encoders.get(type(value))
        if known is not None:
            return msgpack.ExtType(known[0], known[1](value))
        code = extensions.registered_code(self._types, value) or extensions.numpy_code(value)
        if code is None:
            raise EncodeError(_cannot_travel(value))
        if code in self._diverted:
            other, encode = self._diverted[code]
            data = encode(value)
            if data is not None:
                return msgpack.ExtType(other, data)
        return msgpack.ExtType(code, self._by_code[code](value))

    def _check_announced(self, body: bytes | bytearray) -> bool:
        """Refuse a body that announces more than it holds; tell whether it may be too deep.

        Raises:
          ValueError: it announces more.
        """
        limit = self._limits.max_depth
        if len(body) <= limit:
            return False
        openers = _count_openers(body)
        if openers > limit or openers * len(body) > _MAX_UNCHECKED_ELEMENTS:
            _check_complete(body)
        return openers > limit

    # --- decoding ------------------------------------------------------------------------

    def decode(self, frame: bytes | bytearray) -> tuple[dict[Any, Any], ActorsysError | None]:
        """Return the map in *frame*, and why it cannot be delivered, or None.

        Raises:
          RemoteProtocolError: the bytes are not one well-formed map within the limits.
        """
        self._fault = None
        self.frame_is_shared = False
        limit = self._limits.max_depth
        if self._incoming:
            self._incoming = []  # of a frame that was refused
        try:
            is_segmented = frame.startswith(_SEGMENTS_KEY, 1)
            body = self._set_segments_aside(frame) if is_segmented else frame
            is_suspicious = len(body) > limit and self._check_announced(body)
            message = self._unpack(body)
            too_deep = is_suspicious and _is_deeper(message, limit)
        except RemoteProtocolError:
            raise
        except Exception as error:
            # Whatever the parser and the decoders make of hostile bytes, it is the peer's fault.
            raise RemoteProtocolError(f"malformed frame: {type(error).__name__}") from error
        if is_segmented:
            self._incoming = []
        if type(message) is not dict:
            raise RemoteProtocolError(f"a frame holds one map, not {type(message).__name__}")
        if too_deep:
            raise RemoteProtocolError(f"nested deeper than {self._limits.max_depth}")
        return message, self._fault

    def _unpack(self, data: bytes | bytearray) -> Any:
        # Every message comes here: a functools.partial takes half as long again.
        return msgpack.unpackb(
            data,
            strict_map_key=False,
            timestamp=_TIMESTAMP_AS_DATETIME,
            ext_hook=self._decode_extension,
        )

    def _decode_extension(self, code: int, data: bytes) -> Any:
        decode = self._decoders.get(code)
        if decode is None and code in self._later:
            self._later.pop(code)()
            decode = self._decoders.get(code)
        if decode is None:
            return self.undecodable(f"extension {code} is not known in the receiving process")
        try:
            return decode(data)
        except (RemoteProtocolError, RecursionError, MemoryError):
            raise
        except Exception as error:
            # The frame is sound, only this value is not: that fails its call, not the link.
            if isinstance(error, ActorsysError):
                self._fault = self._fault or error.with_traceback(None)
            return self.undecodable(f"extension {code}: {type(error).__name__}: {error}")

    def _set_segments_aside(self, frame: bytes | bytearray) -> bytes:
        """Keep the segments of *frame* for `take_segment`; return the rest as a map of its own."""
        view = memoryview(frame)
        first = view[0]
        if not _FIXMAP < first <= _FIXMAP | _FIXMAP_MAX:
            raise RemoteProtocolError("segments stand in a map of at most 15 keys")
        count, position = _read_array_header(view, _SEGMENTS_END)
        if count > _MAX_SEGMENTS:
            raise RemoteProtocolError(f"a frame has at most {_MAX_SEGMENTS} segments")
        incoming: list[memoryview | None] = []
        for _ in range(count):
            start, end = _read_bin_header(view, position)
            incoming.append(view[start:end])
            position = end
        self._incoming = incoming
        return bytes([first - 1]) + view[position:]


def _cannot_travel(value: Any) -> str:
    cls = type(value)
    if isinstance(value, enum.Enum):
        hint = "call register_type on its class"
    elif isinstance(value, (str, bytes, int, float, list, dict, tuple, set)):
        hint = f"convert it to a plain {_plain_base(cls)}"
    else:
        hint = "make it a dataclass and call register_type on it, or pass plain values"
    return f"a value of type {cls.__module__}.{cls.__qualname__} cannot travel; {hint}"


def _plain_base(cls: type) -> str:
    plain = (str, bytes, int, float, list, dict, tuple, set)
    return next(base.__name__ for base in plain if issubclass(cls, base))


def too_large(size: int, max_bytes: int) -> LimitExceeded:
    """Return the error of a message of *size* bytes where *max_bytes* are the limit."""
    return LimitExceeded(
        f"the message has {size:,} bytes, the limit is {max_bytes:,} "
        f"(limits.max_message_bytes); pass large data as a buffer"
    )


def _with_segments(body: bytes, segments: list[Buffer], max_bytes: int) -> EncodedFrame:
    """Return the parts of a frame whose *segments* stand in front of the rest of *body*."""
    parts: EncodedFrame = []
    head = bytes([body[0] + 1]) + _SEGMENTS_KEY + _array_header(len(segments))
    for segment in segments:
        parts += [head + _bin_header(len(segment)), segment]
        head = b""
    parts.append(body[1:])
    size = sum(map(len, parts))
    if size > max_bytes:
        raise too_large(size, max_bytes)
    parts[0] = size.to_bytes(HEADER_BYTES, "little") + parts[0]
    return parts


def _array_header(count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big")


def _bin_header(size: int) -> bytes:
    return b"\xc6" + size.to_bytes(4, "big")


def _read_array_header(view: memoryview, position: int) -> tuple[int, int]:
    code = view[position]
    if code & 0xF0 == 0x90:
        return code & 0x0F, position + 1
    width = {0xDC: 2, 0xDD: 4}[code]
    end = position + 1 + width
    return int.from_bytes(view[position + 1 : end], "big"), end


def _read_bin_header(view: memoryview, position: int) -> tuple[int, int]:
    """Return where the bytes of the ``bin`` at *position* start and end."""
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4}[view[position]]
    start = position + 1 + width
    end = start + int.from_bytes(view[position + 1 : start], "big")
    if end > len(view):
        raise RemoteProtocolError("a segment is longer than its frame")
    return start, end


def _count_openers(body: bytes | bytearray) -> int:
    return body.translate(_OPENERS).count(1)


def _check_complete(body: bytes | bytearray) -> None:
    """Refuse a body that announces more than it holds, before room is made for what it announces.

    Raises:
      ValueError: it does.
    """
    skipper = msgpack.Unpacker(max_buffer_size=len(body))
    skipper.feed(body)
    try:
        skipper.skip()
    except msgpack.OutOfData:
        raise ValueError("the body announces more than it holds") from None


def _is_deeper(value: Any, limit: int) -> bool:
    """Tell whether containers in *value* nest deeper than *limit*, level by level, in C."""
    level = [value]
    for _ in range(limit + 1):
        level = [item for item in gc.get_referents(*level) if type(item) in _CONTAINERS]
        if not level:
            return False
    return True


_CONTAINERS = frozenset([list, dict, tuple, set, frozenset])
