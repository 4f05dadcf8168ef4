"""Bytes that no honest peer sends: named bombs, and sound frames gone wrong.

A receiver of such bytes has three choices: a message, "need more", or `RemoteProtocolError` or
`LimitExceeded`. Feed them to whatever takes bytes from a peer, such as a transport, a proxy or a
type with a code of its own, and see that it has no fourth::

    for name, build in BOMBS.items():
        feed(build())
    for data in itertools.islice(Mutator(seed), 10_000):
        feed(data)

Both are streams: each frame has its length in front.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import pathlib
import random
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import msgpack

from ..limits import DEFAULT_LIMITS, KIB, Limits
from ..wire import Codec, TypeTable
from ..wire.extensions import (
    BIG_INT,
    COMPLEX,
    DATACLASS,
    DATETIME,
    ENUM,
    FROZENSET,
    NUMPY_ARRAY,
    NUMPY_SCALAR,
    PATH,
    SEGMENT,
    SET,
    TUPLE,
    UUID,
)
from ..wire.typetable import tag_of

HEADER_BYTES = 4
SAMPLE_LIMITS = Limits(max_message_bytes=4 * KIB, segment_bytes=64)
"""So that short frames take the paths of long ones as well."""


def framed(body: bytes) -> bytes:
    """Return *body* with its length in front."""
    return len(body).to_bytes(HEADER_BYTES, "little") + body


# --- sound frames ----------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    """A dataclass that may travel."""

    x: int
    y: int = 0


class Colour(enum.Enum):
    """An enum that may travel."""

    RED = 1
    BLUE = 2


class Access(enum.Flag):
    """Flags that may travel."""

    READ = 1
    WRITE = 2


SAMPLE_TYPES = TypeTable()
"""The types in the sound frames; a codec with another table finds them not registered."""

for _cls in (Point, Colour, Access):
    SAMPLE_TYPES.add_value(_cls)


def sound_values() -> list[Any]:
    """Return values of every kind that may travel."""
    import numpy

    return [
        None,
        [True, False, 0, -1, 127, 128, 2**16, 2**63, -(2**63), 0.5, float("nan"), float("inf")],
        "plain",
        "gr\xfc\xdfe \u2713 \U0001f600",
        bytes(range(20)),
        bytes(100),
        {"a": {"b": [1, [2, [3]]]}, 1: "x", 1.5: b"", (1, 2): None},
        (1, ("two", (3.0,))),
        {1, "two"},
        frozenset([1, (2, 3)]),
        -(2**80),
        1 + 2j,
        uuid.UUID(int=2**100 + 1),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        _extension(DATETIME, ["2026-01-02T00:00:00", "Europe/Berlin", 0]),
        pathlib.Path("/tmp/a"),
        [Colour.RED, Access.READ | Access.WRITE],
        [Point(1, 2), Point(3, y=-1)],
        numpy.arange(6, dtype="<i2").reshape(2, 3),
        numpy.zeros((3, 2), dtype="<f4", order="F"),
        numpy.zeros(2, dtype=[("a", "<u2"), ("b", "<f8")]),
        numpy.arange(100, dtype="|u1"),
        [numpy.float32(1), numpy.int64(-1), numpy.datetime64("2026-01-02", "ns")],
    ]


def sound_messages() -> list[dict[str, Any]]:
    """Return messages of every kind, and every sound value in one of them."""
    return [*_calls(), *_answers(), *_errors()]


def _calls() -> list[dict[str, Any]]:
    uid = ["alice", "a-1"]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    return [
        {"cmd": ["app", "add", {}, uid, "11"], "args": [1, 2]},
        {"cmd": ["app", "count", {"stop": 3, "at": Point(1)}, uid, "13"], "deadline": 1.5},
        {"cmd": ["app", "chat", {"greeting": (1, {2})}, uid, "15"], "trace": trace},
        {"cmd": ["app.deeper", "put", {}, uid, "17"], "args": [[b"z" * 70] * 2], "deadline": None},
        {"cmd": ["self", "cancel", {"cid": "1"}, uid, "19"]},
    ]


def _answers() -> list[dict[str, Any]]:
    # The client's calls are odd, the server's even, and a state of a call has a cid of its own.
    return [
        *({"functype": kind, "cid": "2"} for kind in ("asyncfunc", "asyncgen", "context")),
        *({"return": value, "cid": "4"} for value in sound_values()),
        *({"yield": value, "cid": "6"} for value in sound_values()[::3]),
        *({"yield": value, "cid": "5"} for value in sound_values()[1::3]),
        *({"started": value, "cid": "8"} for value in sound_values()[::6]),
        *({"credit": size, "cid": cid} for cid in ("a", "3") for size in (1, 2**16, 2**48 - 1)),
        *({"stop": True, "cid": cid} for cid in ("6", "3", "5")),
    ]


def _errors() -> list[dict[str, Any]]:
    fields: dict[str, Any] = {"type_str": "ValueError", "base_str": "ValueError", "message": "no"}
    whole = {
        **fields,
        "tb_str": 'Traceback (most recent call last):\n  File "app.py", line 1, in f\n',
        "notes": ["seen"],
        "src_uid": ["bob", "b-1"],
        "relay_path": [["bob", "b-1"]],
        "args": ["no", 1],
        "state": {"code": 5},
        "cause": {**fields, "type_str": "OSError", "base_str": "OSError", "args": [2, "gone"]},
        "context": {**fields, "type_str": "app:Failure", "base_str": "Exception"},
    }
    group = {"type_str": "ExceptionGroup", "message": "two", "group": [fields, whole]}
    syntax = {"type_str": "SyntaxError", "args": ["bad", ["f.py", 1, 2, "x", 1, 3]]}
    cancelled = {"message": "enough", "cancelled": True, "state": {"canceller": ["bob", "b-1"]}}
    return [
        *({"error": error, "cid": "2"} for error in (fields, whole, group, syntax, cancelled)),
        {"error": fields},
    ]


def sound_frames() -> list[bytes]:
    """Return the sound messages as frames of at most 4 KiB; long bytes and arrays in segments."""
    codec = Codec(SAMPLE_LIMITS, SAMPLE_TYPES)
    return [_frame(codec, message) for message in sound_messages()]


def _frame(codec: Codec, message: dict[str, Any]) -> bytes:
    wrapped = {key: codec.wrap_large(value) for key, value in message.items()}
    parts = codec.encode(wrapped, SAMPLE_LIMITS.max_message_bytes)
    return b"".join(bytes(part) for part in parts)


# --- sound frames gone wrong -----------------------------------------------------------------

_MAX_MUTANT_BYTES = 3 * KIB
_CHANGES = (1, 1, 2, 3)
_LYING_LENGTH_SHARE = 0.08
_NEIGHBOUR_SHARE = 0.12
_DISTORTED_SHARE = 0.5
_INTACT_SHARE = 0.6
_TOKENS = [
    *(bytes([code]) for code in range(0x7F, 0x100)),
    *(code + b"\xff\xff\xff\xff" for code in (b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf")),
    *(code + b"\x00\x00\x00\x02" for code in (b"\xc6", b"\xdb", b"\xdd", b"\xdf")),
    *(code + b"\xff\xff" for code in (b"\xc5", b"\xc8", b"\xda", b"\xdc", b"\xde")),
    *(bytes([0xD4, code, 0x90]) for code in range(1, 15)),
    *(bytes([0xC7, 3, code, 0x92, 1, 2]) for code in range(1, 15)),
    *(bytes([0xC7, 0, code]) for code in range(1, 15)),
    b"\x91" * 130,
    b"\x81\xa1a" * 40,
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xd6\xff\x00\x00\x00\x00",
    *(
        bytes(msgpack.packb(key))
        for key in (
            *("cmd", "functype", "return", "yield", "started", "stop", "credit", "error"),
            *("cid", "args", "deadline", "trace", "segments", "group", "cause", "<f8", "|O", "1"),
        )
    ),
]
"""Pieces of msgpack, whole and broken, and words of the protocol."""


class Mutator:
    """An endless iterator of sound frames gone wrong; the same seed gives the same bytes.

    Each result is a stream: one frame that was flipped, cut, spliced, repeated, inserted into or
    lied about, now and then beside another one. Half of the frames are distorted first: still
    well-formed, with parts of others in the wrong places.

    Args:
      seed: for the choices.
      frames: each with its length in front and one value of msgpack in it; all that `sound_frames`
        returns unless given.
    """

    def __init__(self, seed: int, frames: Iterable[bytes] | None = None) -> None:
        self._rng = random.Random(seed)
        self._random = self._rng.random
        self._frames = list(sound_frames() if frames is None else frames)
        self._parts = [part for frame in self._frames for part in _parts_of(_unpack(frame[4:]))]
        self._changes: list[Callable[[bytearray], None]] = [
            self._flip,
            self._flip,
            self._replace,
            self._replace,
            self._cut,
            self._drop,
            self._splice,
            self._repeat,
            self._insert,
            self._lie,
        ]

    def __repr__(self) -> str:
        return f"<Mutator of {len(self._frames)} frames>"

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self.mutate(self._pick(self._frames))
        if self._random() < _NEIGHBOUR_SHARE:
            other = self._pick(self._frames)
            data = data + other if self._random() < 0.5 else other + data
        return data

    def mutate(self, frame: bytes) -> bytes:
        """Return *frame*, which has its length in front, with one to three changes."""
        packed = frame[HEADER_BYTES:]
        is_distorted = self._random() < _DISTORTED_SHARE
        body = bytearray(_pack(self._distorted_message(packed)) if is_distorted else packed)
        if not (is_distorted and self._random() < _INTACT_SHARE):
            for _ in range(self._pick(_CHANGES)):
                self._pick(self._changes)(body)
        del body[_MAX_MUTANT_BYTES:]
        length = len(body).to_bytes(HEADER_BYTES, "little")
        if self._random() < _LYING_LENGTH_SHARE:
            length = self._lying_length(len(body))
        return length + bytes(body)

    def pieces(self, data: bytes) -> list[bytes]:
        """Return *data* cut somewhere: in a few pieces, or in many of one to four bytes."""
        size = len(data)
        if self._random() < 0.1:
            step = 1 + self._below(4)
            return [data[start : start + step] for start in range(0, size, step)]
        cuts = sorted([self._below(size + 1) for _ in range(1 + self._below(4))])
        starts, ends = [0, *cuts], [*cuts, size]
        return [data[start:end] for start, end in zip(starts, ends, strict=True)]

    # --- values in the wrong places ------------------------------------------------------

    def _distorted_message(self, packed: bytes) -> Any:
        message = _unpack(packed)
        for _ in range(self._pick(_CHANGES)):
            is_left_a_map = type(message) is dict and message and self._random() < 0.97
            if is_left_a_map:
                message = dict(self._distorted_pairs(list(message.items())))
            else:
                message = self._distorted(message)
        return message

    def _distorted(self, value: Any) -> Any:
        """Return *value* with a part of it exchanged, dropped or doubled."""
        goes_deeper = self._random() < 0.75
        if type(value) is dict and value and goes_deeper:
            return dict(self._distorted_pairs(list(value.items())))
        if type(value) is list and value and goes_deeper:
            return self._distorted_list(value)
        if type(value) is msgpack.ExtType and goes_deeper:
            return self._distorted_extension(value)
        return self._random_part() if self._random() < 0.3 else self._pick(self._parts)

    def _random_part(self) -> Any:
        number = self._rng.getrandbits(1 + self._below(64))
        data = self._rng.randbytes(self._below(24))
        text = data.decode("latin-1")
        return self._pick([number, -(number >> 1), number / 1000, data, text, f"{number:x}"])

    def _distorted_pairs(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        place = self._below(len(pairs))
        key, value = pairs[place]
        chance = self._random()
        if chance < 0.1:
            del pairs[place]
        elif chance < 0.2:
            pairs.insert(place, self._pick([*pairs[-1:], ("return", value), ("cid", key)]))
        elif chance < 0.3:
            other = self._pick(self._parts)
            pairs[place] = (other if _is_key(other) else repr(other), value)
        else:
            pairs[place] = (key, self._distorted(value))
        return pairs

    def _distorted_list(self, values: list[Any]) -> list[Any]:
        place = self._below(len(values))
        middle = [[], values[place : place + 1] * 2, [self._distorted(values[place])]]
        chosen = 2 if self._random() < 0.7 else self._below(2)
        return [*values[:place], *middle[chosen], *values[place + 1 :]]

    def _distorted_extension(self, value: msgpack.ExtType) -> msgpack.ExtType:
        chance = self._random()
        if chance < 0.15:
            return msgpack.ExtType(self._below(16), value.data)
        if chance < 0.3:
            return msgpack.ExtType(value.code, _pack(self._pick(self._parts)))
        try:
            inner = _unpack(value.data)
        except ValueError:  # it holds no msgpack: a UUID, say
            data = bytearray(value.data)
            self._pick(self._changes)(data)
            return msgpack.ExtType(value.code, bytes(data))
        return msgpack.ExtType(value.code, _pack(self._distorted(inner)))

    # --- the changes, each to a body in place --------------------------------------------

    def _flip(self, body: bytearray) -> None:
        if body:
            body[self._below(len(body))] ^= 1 << self._below(8)

    def _replace(self, body: bytearray) -> None:
        token = self._pick(_TOKENS)
        start = self._below(len(body) + 1)
        body[start : start + len(token)] = token

    def _cut(self, body: bytearray) -> None:
        del body[self._below(len(body) + 1) :]

    def _drop(self, body: bytearray) -> None:
        start, end = self._range(body)
        del body[start:end]

    def _splice(self, body: bytearray) -> None:
        other = self._pick(self._frames)
        body[self._below(len(body) + 1) :] = other[HEADER_BYTES + self._below(len(other)) :]

    def _repeat(self, body: bytearray) -> None:
        start, end = self._range(body)
        times = 1 + self._below(4) if self._random() < 0.8 else 1 + self._below(200)
        body[end:end] = (body[start:end] * times)[:_MAX_MUTANT_BYTES]

    def _insert(self, body: bytearray) -> None:
        start = self._below(len(body) + 1)
        few = self._below(6)
        body[start:start] = self._rng.randbytes(few) if few else self._pick(_TOKENS)

    def _lie(self, body: bytearray) -> None:
        """Change a number behind a header: how much a text, an array or an extension holds."""
        headers = [place for place, byte in enumerate(body) if 0xC4 <= byte <= 0xDF]
        if headers:
            place = min(self._pick(headers) + 1, len(body) - 1)
            body[place] = self._pick((0, 1, 0x7F, 0x80, 0xFF, body[place] - 1 & 0xFF))

    # --- chance --------------------------------------------------------------------------

    def _lying_length(self, size: int) -> bytes:
        limit = DEFAULT_LIMITS.max_message_bytes
        lies = (0, size - 1, size + 1, size // 2, size * 2, 4096, 4097, limit, limit + 1, 2**32 - 1)
        lie: int = self._pick(lies)
        return max(0, lie).to_bytes(HEADER_BYTES, "little")

    def _range(self, body: bytearray) -> tuple[int, int]:
        start = self._below(len(body) + 1)
        return start, start + self._below(len(body) + 1 - start)

    def _below(self, stop: int) -> int:
        return int(self._random() * stop)

    def _pick(self, choices: Any) -> Any:
        return choices[int(self._random() * len(choices))]


def _unpack(data: bytes) -> Any:
    """Unpack what goes in frames, extensions as they are.

    Raises:
      ValueError: it is no msgpack.
    """
    return msgpack.unpackb(data, strict_map_key=False)


def _parts_of(value: Any) -> list[Any]:
    """Return *value* and everything in it, extensions unpacked."""
    inner: list[Any] = []
    if type(value) is dict:
        inner = [*value, *value.values()]
    elif type(value) is list:
        inner = value
    elif type(value) is msgpack.ExtType:
        with contextlib.suppress(ValueError):
            inner = [_unpack(value.data)]
    return [value, *(part for item in inner for part in _parts_of(item))]


def _is_key(value: Any) -> bool:
    return isinstance(value, Hashable)


# --- bombs -----------------------------------------------------------------------------------

_HEAD = b"\x82\xa6return"
_TAIL = b"\xa3cid\xa11"
_QUARTER_MIB = 256 * KIB
_HUGE = b"\xff\xff\xff\xff"


def _pack(value: Any) -> bytes:
    return bytes(msgpack.packb(value))


def _extension(code: int, value: Any) -> msgpack.ExtType:
    return msgpack.ExtType(code, _pack(value))


def _message(**fields: Any) -> bytes:
    return framed(_pack({"cid": "1", **fields}))


def _value(packed: bytes) -> bytes:
    """Return a message around a value that is packed already."""
    return framed(_HEAD + packed + _TAIL)


def _typed(code: int, content: Any) -> bytes:
    """Return a message around an extension of *content*: bytes as they are, the rest packed."""
    data = content if type(content) is bytes else _pack(content)
    return _message(**{"return": msgpack.ExtType(code, data)})


def _opened(packed: bytes) -> bytes:
    """Return a message whose value goes on to the end of its frame, and beyond."""
    return framed(_HEAD + packed)


def _headers(code: bytes, announced: int, count: int, filler: bytes = b"") -> bytes:
    return (code + announced.to_bytes(4, "big") + filler) * count


def _call(**changes: Any) -> bytes:
    """Return a call some of whose parts are changed."""
    parts = {"ns": "app", "func": "f", "kwargs": {}, "uid": ["alice", "a-1"], "cid": "1"}
    extras = {name: changes.pop(name) for name in ("args", "deadline") if name in changes}
    return framed(_pack({"cmd": list({**parts, **changes}.values()), **extras}))


def _array(dtype: Any, shape: Any, content: Any) -> bytes:
    return _typed(NUMPY_ARRAY, [dtype, shape, "C", content])


def _rows(count: int) -> msgpack.ExtType:
    """Return an array that has many rows, and no bytes because the rows have none."""
    return _extension(NUMPY_ARRAY, ["|u1", [count, 0], "C", b""])


def _index(number: int) -> msgpack.ExtType:
    """Return a NumPy number, which stands for itself wherever Python takes an index."""
    return _extension(NUMPY_SCALAR, ["<i8", number.to_bytes(8, "little")])


def _tuples(times: int, inner: Any) -> bytes:
    for _ in range(times):
        inner = _extension(TUPLE, [inner])
    return _message(**{"return": inner})


def _segments(content: bytes, *, announced: bytes, value: bytes = b"\x01") -> bytes:
    """Return a message with the segments *content*, of which the header says *announced*."""
    return framed(b"\x83\xa8segments" + announced + content + _HEAD[1:] + value + _TAIL)


def _deep_dtype(depth: int) -> Any:
    dtype: Any = "O"
    for _ in range(depth):
        dtype = [["a", dtype]]
    return dtype


Build = Callable[[], bytes]

_LENGTHS: dict[str, Build] = {
    "a frame of 4 GiB - 1": lambda: _HUGE + bytes(100),
    "a frame of 2 GiB": lambda: b"\x00\x00\x00\x80" + bytes(100),
    "a frame one byte over the limit": lambda: (
        (DEFAULT_LIMITS.max_message_bytes + 1).to_bytes(HEADER_BYTES, "little") + bytes(100)
    ),
    "an empty frame": lambda: bytes(100),
    "an HTTP request": lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}

_ANNOUNCEMENTS: dict[str, Build] = {
    "an array of 4 Gi": lambda: _opened(b"\xdd" + _HUGE),
    "an array of 16 Mi": lambda: _opened(b"\xdd\x01\x00\x00\x00"),
    "an array of 64 Ki": lambda: _opened(b"\xdc\xff\xff"),
    "a map of 4 Gi": lambda: _opened(b"\xdf" + _HUGE),
    "a map of 16 Mi": lambda: _opened(b"\xdf\x01\x00\x00\x00"),
    "a map of 64 Ki": lambda: _opened(b"\xde\xff\xff"),
    "a message of 4 Gi keys": lambda: framed(b"\xdf" + _HUGE + _HEAD[1:] + b"\x01" + _TAIL),
    "text of 4 GiB": lambda: _opened(b"\xdb" + _HUGE),
    "bytes of 4 GiB": lambda: _opened(b"\xc6" + _HUGE),
    "an extension of 4 GiB": lambda: _opened(b"\xc9" + _HUGE + b"\x01"),
    "an extension longer than its frame": lambda: _value(b"\xc9\x00\x10\x00\x00\x01" + bytes(100)),
    "an array of 4 Gi in a tuple": lambda: _typed(TUPLE, b"\xdd" + _HUGE),
    "a set of 4 Gi in a set": lambda: _typed(SET, _pack([msgpack.ExtType(SET, b"\xdd" + _HUGE)])),
}


_NESTINGS: dict[str, Build] = {
    "nested arrays, each as long as a short frame": lambda: _opened(_headers(b"\xdd", 4000, 1000)),
    "nested arrays, each as long as the frame": lambda: _opened(
        _headers(b"\xdd", _QUARTER_MIB - 10_000, 1000) + b"\xc0" * (_QUARTER_MIB - 5_000)
    ),
    "as many of them as may be nested": lambda: _opened(
        _headers(b"\xdd", _QUARTER_MIB - 10_000, 127) + b"\xc0" * (_QUARTER_MIB - 5_000)
    ),
    "nothing but array headers": lambda: _opened(
        _headers(b"\xdd", _QUARTER_MIB, _QUARTER_MIB // 5)
    ),
    "nothing but map headers": lambda: _opened(
        _headers(b"\xdf", _QUARTER_MIB // 2, _QUARTER_MIB // 6, b"\1")
    ),
    "129 lists in each other": lambda: _value(b"\x91" * 129 + b"\xc0"),
    "1,000 lists in each other": lambda: _value(b"\x91" * 1000 + b"\xc0"),
    "100,000 lists in each other": lambda: _value(b"\x91" * 100_000 + b"\xc0"),
    "1,000 maps in each other": lambda: _value(b"\x81\x01" * 1000 + b"\xc0"),
    "100,000 lists in a tuple": lambda: _typed(TUPLE, b"\x91" * 100_000 + b"\xc0"),
    "1,000 tuples in each other": lambda: _tuples(1000, 1),
    "tuples around something large": lambda: _tuples(40, bytes(100_000)),
    "a key of 1,000 lists": lambda: _value(b"\x81" + b"\x91" * 1000 + b"\xc0\x01"),
}

_TEXTS: dict[str, Build] = {
    "text that is no UTF-8": lambda: _value(b"\xa2\xff\xfe"),
    "a key that is no UTF-8": lambda: framed(b"\x81\xa2\xc3\x28\x01"),
    "a surrogate in UTF-8": lambda: _value(b"\xa3\xed\xa0\x80"),
    "UTF-8 that is longer than it need be": lambda: _value(b"\xa2\xc0\x80"),
    "UTF-8 cut in the middle": lambda: _value(b"\xa1\xe2"),
}

_NO_MESSAGES: dict[str, Build] = {
    "the byte that msgpack never uses": lambda: framed(b"\xc1"),
    "a lone number": lambda: framed(b"\x01"),
    "a list": lambda: framed(b"\x91\x01"),
    "bytes behind the map": lambda: framed(_pack({"stop": True, "cid": "1"}) + b"\xc0"),
    "half a map": lambda: framed(b"\x82\xa4stop\xc3"),
    "a map of unhashables": lambda: _value(b"\xde\xff\xff" + b"\x90\xc0" * 65535),
    "a message whose key is a list": lambda: framed(b"\x81\x90\x01"),
    "an empty map": lambda: framed(b"\x80"),
    "an unknown message": lambda: _message(launch=True),
    "a message whose key is a number": lambda: framed(b"\x81\x01\x01"),
    "every message key at once, the first one wrong": lambda: _message(
        credit=-1, error=1, stop=1, started=1, functype=1, cmd=1, **{"return": 1, "yield": 1}
    ),
    "a timestamp in the year 30,000": lambda: _value(b"\xc7\x0c\xff" + b"\x00" * 4 + b"\x7f" * 8),
    "a timestamp of too many nanoseconds": lambda: _value(b"\xc7\x0c\xff" + b"\xff" * 12),
}

_FIELDS: dict[str, Build] = {
    "no cid": lambda: framed(_pack({"stop": True})),
    "an empty cid": lambda: _message(stop=True, cid=""),
    "a cid of 17 digits": lambda: _message(stop=True, cid="1" * 17),
    "a cid of 1 MiB": lambda: _message(stop=True, cid="1" * KIB * KIB),
    "a cid that is a number": lambda: _message(stop=True, cid=1),
    "a cid that is a list": lambda: _message(stop=True, cid=["1"]),
    "an unknown functype": lambda: _message(functype="thread"),
    "a functype that is a list": lambda: _message(functype=[]),
    "a credit of nothing": lambda: _message(credit=0),
    "a credit of less than nothing": lambda: _message(credit=-1),
    "a credit of 256 TiB": lambda: _message(credit=2**48),
    "a credit that is a bool": lambda: _message(credit=True),
    "a credit of many digits": lambda: _message(credit=msgpack.ExtType(BIG_INT, b"\x7f" * 2000)),
    "an error that is text": lambda: _message(error="it failed"),
    "an error that is a list": lambda: _message(error=[]),
    "a cmd that is a map": lambda: _message(cmd={}),
    "a cmd of four parts": lambda: _message(cmd=["app", "f", {}, ["a", "b"]]),
    "a cmd of six parts": lambda: _message(cmd=["app", "f", {}, ["a", "b"], "1", 1]),
    "a namespace that is bytes": lambda: _call(ns=b"app"),
    "a function that is a number": lambda: _call(func=1),
    "a function of 1 MiB": lambda: _call(func="f" * KIB * KIB),
    "kwargs that are a list": lambda: _call(kwargs=[]),
    "kwargs with numbers for keys": lambda: _call(kwargs={1: 1}),
    "a uid of three": lambda: _call(uid=["a", "b", "c"]),
    "a uid of numbers": lambda: _call(uid=[1, 2]),
    "a call without a cid": lambda: _call(cid=None),
    "args that are a map": lambda: _call(args={}),
    "args that are nothing": lambda: _call(args=None),
    "a deadline that is no number": lambda: _call(deadline=float("nan")),
    "a deadline in the past": lambda: _call(deadline=-1),
    "a deadline of 400 digits": lambda: _call(deadline=msgpack.ExtType(BIG_INT, b"\x7f" * 180)),
    "a deadline that is text": lambda: _call(deadline="soon"),
}

_TYPED_VALUES: dict[str, Build] = {
    "an extension that nobody knows": lambda: _typed(99, b""),
    "a tuple of nothing packed": lambda: _typed(TUPLE, b""),
    "a tuple that is a number": lambda: _typed(TUPLE, 1),
    "a set of unhashables": lambda: _typed(SET, [[]] * 30_000),
    "a frozenset of unhashables": lambda: _typed(FROZENSET, [{}]),
    "a complex number of three bytes": lambda: _typed(COMPLEX, b"123"),
    "a UUID of 15 bytes": lambda: _typed(UUID, bytes(15)),
    "a datetime of text": lambda: _typed(DATETIME, ["soon", None, 0]),
    "a datetime of a million digits": lambda: _typed(DATETIME, ["2" * 1_000_000, None, 0]),
    "a time zone that is a path": lambda: _typed(DATETIME, ["2026-01-02", "../../etc/passwd", 0]),
    "a time zone of 200,000 characters": lambda: _typed(DATETIME, ["2026-01-02", "A/" * 10**5, 0]),
    "a time zone that is a folder": lambda: _typed(DATETIME, ["2026-01-02", "Europe", 0]),
    "an enum that is not registered": lambda: _typed(ENUM, ["os:environ", "PATH"]),
    "an enum with a list for a tag": lambda: _typed(ENUM, [[], "RED"]),
    "an enum without such a member": lambda: _typed(ENUM, [tag_of(Colour), "__class__"]),
    "an enum that is a dataclass": lambda: _typed(ENUM, [tag_of(Point), "x"]),
    "flags that are none": lambda: _typed(ENUM, [tag_of(Access), 2**40]),
    "a dataclass that is not registered": lambda: _typed(DATACLASS, ["os:system", {"x": 1}]),
    "a dataclass without fields": lambda: _typed(DATACLASS, [tag_of(Point), []]),
    "a dataclass whose fields are text": lambda: _typed(DATACLASS, [tag_of(Point), "x, y"]),
    "a dataclass that is an enum": lambda: _typed(DATACLASS, [tag_of(Colour), {}]),
    "a tag of 100,000 characters": lambda: _typed(DATACLASS, ["x" * 100_000, {}]),
    "a tag of 5,000 digits": lambda: _typed(
        DATACLASS, [msgpack.ExtType(BIG_INT, b"\x7f" * 2100), {}]
    ),
    "a path in an enum in a set": lambda: _typed(
        SET, [_extension(ENUM, [msgpack.ExtType(PATH, b"\xff"), 1])]
    ),
}

_ARRAYS: dict[str, Build] = {
    "an empty array of 256 MiB": lambda: _array("|u1", [2**28], b""),
    "an empty array of 8 GiB": lambda: _array("|u1", [2**33], b""),
    "an empty array of 8 GiB of nothing": lambda: _array("|u1", [2**33], None),
    "an empty array of an exbibyte": lambda: _array("|u1", [2**30, 2**30], b""),
    "an array with a shape that is none": lambda: _array("|u1", "12", bytes(12)),
    "an array smaller than its bytes": lambda: _array("|u1", [3], bytes(12)),
    "an array larger than its bytes": lambda: _array("<f8", [3], bytes(12)),
    "an array of 1,000 dimensions": lambda: _array("|u1", [1] * 1000, b"1"),
    "an array of negative size": lambda: _array("|u1", [-2, -6], bytes(12)),
    "an array of one huge element": lambda: _array("|V2000000000", [1], b""),
    "an array of Python objects": lambda: _array("|O", [1], bytes(8)),
    "an array of records with Python objects": lambda: _array([["a", "|O8"]], [1], bytes(8)),
    "an array of no dtype": lambda: _array("import os", [1], bytes(8)),
    "a type of types of types": lambda: _array(_deep_dtype(400), [1], b"1234"),
    "a type with a shape of 50,000 numbers": lambda: _array("(" + "1," * 50_000 + ")u1", [1], b"1"),
    "a type of 50,000 types": lambda: _array(",".join(["u1"] * 50_000), [0], b""),
    "an array whose content is a number": lambda: _array("|u1", [0], _index(2**26)),
    "an array whose content is true": lambda: _array("|u1", [1], True),
    "an array whose shape has 131,072 rows": lambda: _array("|u1", _rows(2**17), b""),
    "a tuple of 131,072 rows without bytes": lambda: _typed(TUPLE, _rows(2**17)),
    "a scalar of one huge element": lambda: _typed(NUMPY_SCALAR, ["|V2000000000", b""]),
    "a scalar that is a Python object": lambda: _typed(NUMPY_SCALAR, ["|O", bytes(8)]),
    "a scalar of too many bytes": lambda: _typed(NUMPY_SCALAR, ["<i8", bytes(9)]),
}

_SEGMENTS: dict[str, Build] = {
    "4 Gi segments": lambda: _segments(b"\xc4\x00" * 2**17, announced=b"\xdd" + _HUGE),
    "1,025 segments": lambda: _segments(b"\xc4\x00" * 1025, announced=b"\xdc\x04\x01"),
    "a segment of 4 GiB": lambda: _segments(b"\xc6" + _HUGE + bytes(70_000), announced=b"\x91"),
    "a segment that goes on in the next": lambda: _segments(
        b"\xc4\xff" + b"\xc4\x01!", announced=b"\x92"
    ),
    "a segment that is text": lambda: _segments(b"\xa3abc", announced=b"\x91"),
    "segments that are a map": lambda: _segments(b"\xc4\x00" * 2, announced=b"\x81"),
    "segments without an end": lambda: framed(b"\x83\xa8segments"),
    "segments alone": lambda: framed(b"\x81\xa8segments\x91\xc4\x01!"),
    "segments in a long map": lambda: framed(
        b"\xde\x00\x03\xa8segments\x90" + _HEAD[1:] + b"\xd4\x0d\x00" + _TAIL
    ),
    "a segment in front of nonsense": lambda: _segments(
        b"\xc4\x01!", announced=b"\x91", value=b"\xc1"
    ),
    "a segment that is not there": lambda: _typed(SEGMENT, 2**60),
    "a segment before the first": lambda: _segments(
        b"\xc4\x01!", announced=b"\x91", value=b"\xd4\x0d\xff"
    ),
    "a segment with the number true": lambda: _segments(
        b"\xc4\x01!", announced=b"\x91", value=b"\xd4\x0d\xc3"
    ),
    "a segment that is taken 200 times": lambda: _segments(
        b"\xc6\x00\x01\x00\x00" + bytes(2**16),
        announced=b"\x91",
        value=b"\xdc\x00\xc8" + b"\xd4\x0d\x00" * 200,
    ),
}

BOMBS: dict[str, Build] = {
    **_LENGTHS,
    **_ANNOUNCEMENTS,
    **_NESTINGS,
    **_TEXTS,
    **_NO_MESSAGES,
    **_FIELDS,
    **_TYPED_VALUES,
    **_ARRAYS,
    **_SEGMENTS,
}
"""Streams that are small and ask for much, or are wrong in one place, by what they are.

Each is to be refused: by one of the two errors, or as a value that cannot be delivered. None may
take more than 8 MiB to find out.
"""
