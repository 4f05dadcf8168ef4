"""Values: all of the table round-trips, and nothing else gets onto the wire."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import pathlib
import sys
import threading
import uuid
import warnings
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_helpers import (
    LIMITS,
    MAX_BYTES,
    extension,
    frame_body,
    joined,
    pack,
    quick,
    sent,
)

from actorsys.errors import (
    ActorsysError,
    BufferLost,
    EncodeError,
    LimitExceeded,
    MailboxFull,
    RemoteProtocolError,
)
from actorsys.limits import Limits
from actorsys.wire import Codec, FrameReader, TypeTable, Undecodable
from actorsys.wire.extensions import DATACLASS, ENUM, NUMPY_ARRAY, SEGMENT, TUPLE


class Colour(enum.Enum):
    RED = "red"
    CRIMSON = RED
    BLUE = {"not": "hashable"}  # noqa: RUF012


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Permission(enum.Flag):
    READ = 1
    WRITE = 2
    EXECUTE = 4


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(slots=True)
class Slotted:
    items: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Picky:
    """A class whose own code would refuse what arrives."""

    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("below zero")


@dataclasses.dataclass
class Late:
    name: str
    computed: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Unregistered:
    x: int


class UnregisteredColour(enum.Enum):
    RED = 1


def table_of(*classes: type) -> TypeTable:
    table = TypeTable()
    for cls in classes:
        table.add_value(cls)
    return table


@pytest.fixture
def codec() -> Codec:
    types = table_of(Colour, Level, Permission, Point, Slotted, Picky, Late)
    return Codec(LIMITS, types)


BERLIN = ZoneInfo("Europe/Berlin")
PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    2**1000,
    -(2**1000),
    0.0,
    1.5,
    math.inf,
    -math.inf,
    5e-324,
    1 + 2j,
    complex(math.inf, -0.5),
    "",
    "text",
    "\x00 \u2028 \U0001f600",
    b"",
    b"\x00\xff",
    [],
    [1, [2, [3]]],
    (),
    (1, (2, [3, (4,)])),
    {},
    {"a": 1, 2: "b", None: 3, True: 4, 1.5: 5, b"k": 6},
    {(1, ("x", frozenset([2]))): "tuple for a key"},
    {uuid.UUID(int=7): uuid.UUID(int=2**128 - 1)},
    set(),
    {1, "a", (2, 3)},
    frozenset([1, frozenset([2])]),
    uuid.UUID(int=4711),
    datetime.datetime(2024, 2, 29, 12, 30, 15, 999999),
    datetime.datetime.min,
    datetime.datetime.max,
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(
        2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-7, minutes=3))
    ),
    datetime.datetime(2024, 6, 1, 12, tzinfo=BERLIN),
    pathlib.Path("/tmp/a b/\u00e9"),
    pathlib.Path("."),
    pathlib.Path("/odd/\udcff"),
    Colour.RED,
    Colour.BLUE,
    Level.HIGH,
    Permission.READ,
    Permission.READ | Permission.WRITE,
    Permission(0),
    Point(1.0, 2.0),
    {Point(1.0): [Point(2.0, 3.0)]},
    Slotted([Slotted([1]), (Slotted(),)]),
]


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal, and of equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (set, frozenset)):
        return left == right and sorted(map(type_name, left)) == sorted(map(type_name, right))
    return bool(left == right) or (left != left and right != right)


def type_name(value: Any) -> str:
    return type(value).__qualname__


# --- the table -------------------------------------------------------------------------------


def fixed_id(value: Any) -> str:
    """Return a name for a parameter that is the same in every process; sets have no order."""
    items = sorted(map(ascii, value)) if isinstance(value, (set, frozenset)) else value
    return f"{type_name(value)} {items!a}"[:40]


@pytest.mark.parametrize("value", PLAIN, ids=fixed_id)
def test_a_value_of_the_table_round_trips(codec: Codec, value: Any) -> None:
    assert same(sent(codec, value), value)


def test_negative_zero_and_nan_keep_what_they_are(codec: Codec) -> None:
    assert math.copysign(1, sent(codec, -0.0)) == -1
    assert math.isnan(sent(codec, math.nan))


def test_a_zone_keeps_its_name_and_its_fold(codec: Codec) -> None:
    second = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)
    arrived = sent(codec, second)
    assert arrived.tzinfo.key == "Europe/Berlin"
    assert arrived.fold == 1
    assert arrived.utcoffset() == datetime.timedelta(hours=1)


def test_an_alias_of_an_enum_member_is_the_member(codec: Codec) -> None:
    assert sent(codec, Colour.CRIMSON) is Colour.RED


def test_a_dataclass_arrives_without_running_its_code(codec: Codec) -> None:
    value = Picky(1)
    value.value = -1
    assert sent(codec, value).value == -1


def test_a_field_that_is_missing_takes_its_default() -> None:
    @dataclasses.dataclass
    class Newer:
        old: int
        new: list[int] = dataclasses.field(default_factory=lambda: [1])

    types = table_of(Newer)
    body = pack({"return": extension(DATACLASS, [next(iter(types.values)), {"old": 5}])})
    raw, fault = Codec(LIMITS, types).decode(body)
    assert (raw["return"], fault) == (Newer(5, [1]), None)


def test_a_bytearray_and_a_memoryview_arrive_as_bytes(codec: Codec) -> None:
    assert sent(codec, [bytearray(b"ab"), memoryview(b"cd")]) == [b"ab", b"cd"]


def test_the_same_codec_encodes_after_it_has_failed(codec: Codec) -> None:
    for _ in range(3):
        with pytest.raises(EncodeError):
            codec.encode({"return": (1, [object()])}, MAX_BYTES)
        assert sent(codec, (1, [2])) == (1, [2])


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(BERLIN))
    | st.sampled_from([*Colour, *Level, *Permission])
)
KEYS = st.integers() | st.text() | st.uuids() | st.tuples(st.text(), st.integers())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.builds(Slotted, st.lists(inner, max_size=3))
    ),
    max_leaves=12,
)
SHARED = Codec(LIMITS, table_of(Colour, Level, Permission, Slotted))


@quick
@given(VALUES)
def test_any_nesting_of_the_table_round_trips(value: Any) -> None:
    arrived = sent(SHARED, value)
    assert repr(arrived) == repr(value) or same(arrived, value)


@quick
@given(VALUES)
def test_an_encoded_frame_is_one_msgpack_map(value: Any) -> None:
    body = frame_body(SHARED.encode({"return": value, "cid": "1"}, MAX_BYTES))
    assert list(msgpack.unpackb(body, strict_map_key=False)) == ["return", "cid"]


# --- what cannot travel ----------------------------------------------------------------------


class StrChild(str):
    pass


class IntChild(int):
    pass


class DictChild(dict):  # type: ignore[type-arg]
    pass


Pair = namedtuple("Pair", "a b")


def nested(depth: int, wrap: Any = lambda value: [value]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def a_circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def a_typed_circle() -> Slotted:
    circle = Slotted()
    circle.items = [circle]
    return circle


CANNOT = {
    "object": object(),
    "function": len,
    "lambda": lambda: None,
    "class": int,
    "module": sys,
    "lock": threading.Lock(),
    "generator": (i for i in ()),
    "exception": ValueError("x"),
    "decimal": Decimal(1),
    "fraction": Fraction(1, 2),
    "date": datetime.date(2024, 1, 1),
    "time": datetime.time(1),
    "timedelta": datetime.timedelta(1),
    "range": range(3),
    "ordered dict": OrderedDict(a=1),
    "defaultdict": defaultdict(int),
    "dict child": DictChild(),
    "str child": StrChild("x"),
    "int child": IntChild(1),
    "big int child": IntChild(2**80),
    "named tuple": Pair(1, 2),
    "ellipsis": ...,
    "lone surrogate": "\ud800",
    "windows path": pathlib.PureWindowsPath("c:/"),
    "pure path": pathlib.PurePosixPath("/"),
    "unregistered dataclass": Unregistered(1),
    "unregistered enum": UnregisteredColour.RED,
    "undecodable": Undecodable("x"),
    "object array": np.array([object()], dtype=object),
    "record with objects": np.zeros(1, dtype=[("a", "i4"), ("b", "O")]),
    "masked array": np.ma.masked_array([1, 2], mask=[0, 1]),
    "record array": np.rec.array([(1, 2)]),
    "memory of a strided view": memoryview(b"abcdef")[::2],
    "circle": a_circle(),
    "typed circle": a_typed_circle(),
    "1,000 lists": nested(1000),
    "1,000 tuples": nested(1000, lambda value: (value,)),
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_value_that_cannot_travel_is_an_encode_error(codec: Codec, name: str) -> None:
    with pytest.raises(EncodeError):
        codec.encode({"return": CANNOT[name]}, MAX_BYTES)


@pytest.mark.parametrize("place", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, Slotted])
def test_what_cannot_travel_cannot_hide_in_a_container(codec: Codec, place: Any) -> None:
    with pytest.raises(EncodeError):
        codec.encode({"return": place([object()])}, MAX_BYTES)


def test_a_dataclass_without_one_of_its_fields_is_an_encode_error(codec: Codec) -> None:
    with pytest.raises(EncodeError):
        codec.encode({"return": Late("never computed")}, MAX_BYTES)


@pytest.mark.timeout(5)
def test_a_value_deep_inside_dataclasses_is_refused_at_once(codec: Codec) -> None:
    value: Any = object()
    for _ in range(LIMITS.max_typed_depth - 2):
        value = Slotted([value])
    with pytest.raises(EncodeError, match="object cannot travel"):
        codec.encode({"return": value}, MAX_BYTES)


def test_the_error_names_the_type_and_says_what_to_do(codec: Codec) -> None:
    with pytest.raises(EncodeError, match=r"test_codec\.Unregistered .*register_type"):
        codec.encode({"return": Unregistered(1)}, MAX_BYTES)
    with pytest.raises(EncodeError, match="convert it to a plain str"):
        codec.encode({"return": StrChild("x")}, MAX_BYTES)


def test_a_frame_over_the_limit_is_not_built(codec: Codec) -> None:
    assert codec.encode({"return": b"x" * 100}, 200)
    with pytest.raises(LimitExceeded, match="max_message_bytes"):
        codec.encode({"return": b"x" * 200}, 200)


def test_segments_count_towards_the_limit(codec: Codec) -> None:
    large = codec.wrap_large(b"x" * LIMITS.segment_bytes)
    with pytest.raises(LimitExceeded):
        codec.encode({"return": large}, LIMITS.segment_bytes)
    assert sent(codec, "after it") == "after it"


# --- depth -----------------------------------------------------------------------------------

SHALLOW = Limits(max_depth=10, max_typed_depth=4)


def test_lists_may_nest_up_to_the_limit() -> None:
    codec = Codec(SHALLOW)
    # The message itself does not count.
    assert sent(codec, nested(10)) == nested(10)
    with pytest.raises(EncodeError, match="max_depth"):
        codec.encode({"return": nested(11)}, MAX_BYTES)


def test_dicts_count_like_lists() -> None:
    codec = Codec(SHALLOW)
    assert sent(codec, nested(10, lambda v: {"k": v})) == nested(10, lambda v: {"k": v})
    with pytest.raises(EncodeError, match="max_depth"):
        codec.encode({"return": nested(11, lambda v: {"k": v})}, MAX_BYTES)


def test_width_is_not_depth() -> None:
    wide = [[i] for i in range(1000)]
    assert sent(Codec(SHALLOW), wide) == wide


def test_a_deeper_list_is_refused_on_arrival() -> None:
    codec = Codec(SHALLOW)
    assert codec.decode(pack({"return": nested(10)}))[1] is None
    with pytest.raises(RemoteProtocolError, match="nested deeper"):
        codec.decode(pack({"return": nested(11)}))


def test_tuples_may_nest_up_to_their_own_limit() -> None:
    codec = Codec(SHALLOW)
    value = nested(4, lambda v: (v,))
    assert sent(codec, value) == value
    with pytest.raises(EncodeError, match="max_typed_depth"):
        codec.encode({"return": (value,)}, MAX_BYTES)


def test_deeper_extensions_are_refused_on_arrival() -> None:
    packed: Any = 1
    for _ in range(200):
        packed = extension(TUPLE, [packed])
    with pytest.raises(RemoteProtocolError):
        Codec(SHALLOW).decode(pack({"return": packed}))


def test_depth_is_forgotten_after_a_failure() -> None:
    codec = Codec(SHALLOW)
    for _ in range(10):
        with pytest.raises(EncodeError):
            codec.encode({"return": nested(20, lambda v: (v,))}, MAX_BYTES)
        with pytest.raises(RemoteProtocolError):
            codec.decode(pack({"return": extension(TUPLE, nested(10))}) + b"\x00")
    assert sent(codec, nested(4, lambda v: (v,))) == nested(4, lambda v: (v,))


# --- segments --------------------------------------------------------------------------------


def address_of(view: Any) -> int:
    return np.frombuffer(view, dtype=np.uint8).__array_interface__["data"][0]


def test_large_bytes_are_sent_from_where_they_lie(codec: Codec) -> None:
    large = bytes(LIMITS.segment_bytes)
    parts = codec.encode({"return": codec.wrap_large(large)}, MAX_BYTES)
    assert any(part is large for part in parts)
    assert sum(map(len, parts)) - len(large) < 64


def test_large_bytes_arrive_as_bytes(codec: Codec) -> None:
    large = bytes(range(256)) * 1024
    assert same(sent(codec, codec.wrap_large(large)), large)


@pytest.mark.parametrize("value", ["x" * 100_000, b"x" * 65535, bytearray(100_000), 5, None])
def test_only_large_bytes_are_wrapped(codec: Codec, value: Any) -> None:
    assert codec.wrap_large(value) is value


def test_a_large_array_is_sent_from_where_it_lies(codec: Codec) -> None:
    array = np.arange(100_000)
    parts = codec.encode({"return": array}, MAX_BYTES)
    assert array.ctypes.data in [address_of(part) for part in parts if len(part)]


def test_a_large_array_arrives_writable_in_the_memory_of_its_frame(codec: Codec) -> None:
    frame = bytearray(frame_body(codec.encode({"return": np.arange(100_000)}, MAX_BYTES)))
    raw, _ = codec.decode(frame)
    array = raw["return"]
    start = address_of(frame)
    assert start <= array.ctypes.data < start + len(frame)
    array[0] = 7
    assert array[0] == 7
    assert array.sum() == sum(range(100_000)) + 7


def test_a_small_array_arrives_writable(codec: Codec) -> None:
    array = sent(codec, np.arange(3))
    array += 1
    assert array.tolist() == [1, 2, 3]


def test_several_segments_keep_their_order(codec: Codec) -> None:
    first, second = np.full(80_000, 1, np.uint8), np.full(90_000, 2, np.uint8)
    large = codec.wrap_large(b"3" * 70_000)
    got = sent(codec, {"a": first, "b": [second, (first,)], "c": large})
    assert np.array_equal(got["a"], first)
    assert np.array_equal(got["b"][0], second)
    assert np.array_equal(got["b"][1][0], first)
    assert got["c"] == b"3" * 70_000


def test_a_frame_with_segments_is_still_one_msgpack_map(codec: Codec) -> None:
    array = np.zeros(100_000, np.uint8)
    raw = msgpack.unpackb(frame_body(codec.encode({"return": array, "cid": "1"}, MAX_BYTES)))
    assert raw["segments"] == [bytes(100_000)]
    assert list(raw) == ["segments", "return", "cid"]


def test_the_key_for_segments_is_not_delivered(codec: Codec) -> None:
    frame = frame_body(codec.encode({"return": np.zeros(100_000, np.uint8)}, MAX_BYTES))
    assert list(codec.decode(frame)[0]) == ["return"]


def test_segments_of_a_failed_frame_do_not_leak_into_the_next(codec: Codec) -> None:
    with pytest.raises(EncodeError):
        codec.encode({"return": [np.zeros(100_000), object()]}, MAX_BYTES)
    assert len(codec.encode({"return": 1}, MAX_BYTES)) == 1


@pytest.mark.parametrize("number", [1, -1, 2**40, "0", None, [0]])
def test_a_segment_that_is_not_there_fails_only_its_call(codec: Codec, number: Any) -> None:
    segments = [bytes(LIMITS.segment_bytes)]
    _, fault = codec.decode(pack({"segments": segments, "return": extension(SEGMENT, number)}))
    assert fault is not None


def test_a_segment_longer_than_its_frame_is_the_peers_fault(codec: Codec) -> None:
    body = pack({"segments": [bytes(100_000)], "return": 1})[:70_000]
    with pytest.raises(RemoteProtocolError, match="segment"):
        codec.decode(body)


def test_segments_of_one_frame_are_gone_in_the_next(codec: Codec) -> None:
    codec.decode(pack({"segments": [bytes(100_000)], "return": 1}))
    _, fault = codec.decode(pack({"return": extension(SEGMENT, 0)}))
    assert fault is not None


# --- NumPy -----------------------------------------------------------------------------------

ALIGNED = np.dtype([("flag", "u1"), ("value", "f8")], align=True)
OFFSET = np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 8})
ARRAYS = {
    "scalar array": np.array(5),
    "empty": np.zeros((0, 3)),
    "no rows": np.zeros((3, 0), dtype="i2"),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j], dtype="c8"),
    "big endian": np.arange(5, dtype=">i4"),
    "text": np.array(["a", "long"]),
    "empty text": np.array(["", ""]),
    "bytes": np.array([b"a", b"bc"]),
    "dates": np.array(["2024-01-01", "NaT"], dtype="M8[ns]"),
    "durations": np.array([1, 2], dtype="m8[us]"),
    "half": np.array([1.5], dtype="f2"),
    "long double": np.array([1.5], dtype=np.longdouble),
    "void": np.array([b"abc"], dtype="V3"),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(20)[::3],
    "reversed": np.arange(5)[::-1],
    "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "record": np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "nested record": np.zeros(2, dtype=[("p", [("x", "f4"), ("y", "f4")]), ("n", "i8")]),
    "aligned record": np.array([(1, 2.5), (3, 4.5)], dtype=ALIGNED),
    "record with a gap in front": np.array([(5,), (6,)], dtype=OFFSET),
    "record with an array": np.array([(1, [1, 2, 3])], dtype=[("a", "i4"), ("b", "f4", (3,))]),
    "large fortran": np.asfortranarray(np.arange(40_000.0).reshape(200, 200)),
    "large strided": np.arange(100_000)[::2],
    "read only": np.frombuffer(b"abcd", dtype=np.uint8),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_round_trips(codec: Codec, name: str) -> None:
    array = ARRAYS[name]
    arrived = sent(codec, array)
    assert type(arrived) is np.ndarray
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    assert np.array_equal(arrived, array, equal_nan=array.dtype.kind in "fcM")


def test_a_fortran_array_stays_one(codec: Codec) -> None:
    arrived = sent(codec, np.asfortranarray(np.arange(6).reshape(2, 3)))
    assert arrived.flags.f_contiguous
    assert arrived.tolist() == [[0, 1, 2], [3, 4, 5]]


SCALARS_OF_NUMPY = [
    np.float64(1.5),
    np.float32(1.5),
    np.float16(1.5),
    np.longdouble(1.5),
    np.int8(-1),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.complex64(1 + 2j),
    np.str_("text"),
    np.str_(""),
    np.bytes_(b"ab"),
    np.bytes_(b""),
    np.datetime64("2024-01-01", "s"),
    np.timedelta64(5, "D"),
    np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0],
    np.array([(7,)], dtype=OFFSET)[0],
]


@pytest.mark.parametrize("scalar", SCALARS_OF_NUMPY, ids=lambda s: f"{s.dtype}-{s}")
def test_a_numpy_scalar_round_trips(codec: Codec, scalar: Any) -> None:
    arrived = sent(codec, scalar)
    assert (type(arrived), arrived.dtype) == (type(scalar), scalar.dtype)
    assert arrived == scalar


def test_an_array_of_objects_cannot_come_from_the_wire(codec: Codec) -> None:
    for dtype in ["|O", "O", [["a", "|O"]], "i4,O"]:
        body = pack({"return": extension(NUMPY_ARRAY, [dtype, [1], "C", bytes(8)])})
        _, fault = codec.decode(body)
        assert fault is not None


HOSTILE_ARRAYS: list[Any] = [
    ["<i4", [2], "C", bytes(4)],
    ["<i4", [1], "Q", bytes(4)],
    ["<i4", [-1, -1], "C", bytes(4)],
    ["<i4", [2**63], "C", bytes(4)],
    ["<i4", "shape", "C", bytes(4)],
    ["no such type", [1], "C", bytes(4)],
    ["<i4", [1], "C", "text"],
    ["<i4", [1], "C", bytes(3)],
    ["<i4", [1], "C"],
    ["<i4", [1000], "C", b""],
    [None, [1], None, {}],
    5,
    "text",
    None,
]


@pytest.mark.parametrize("content", HOSTILE_ARRAYS, ids=lambda content: ascii(content)[:40])
def test_a_distorted_array_is_a_fault(codec: Codec, content: Any) -> None:
    raw, fault = codec.decode(pack({"return": extension(NUMPY_ARRAY, content)}))
    assert fault is not None
    assert isinstance(raw["return"], Undecodable)


# --- faults ----------------------------------------------------------------------------------


def test_an_unregistered_dataclass_is_a_fault_and_not_a_dead_link(codec: Codec) -> None:
    body = frame_body(codec.encode({"return": [Point(1.0)], "cid": "1"}, MAX_BYTES))
    elsewhere = Codec(LIMITS, TypeTable())
    raw, fault = elsewhere.decode(body)
    assert raw["cid"] == "1"
    assert fault is not None
    assert "test_codec:Point is not registered" in str(fault)
    assert sent(elsewhere, 1) == 1


def test_an_unregistered_enum_is_a_fault(codec: Codec) -> None:
    body = frame_body(codec.encode({"return": {Level.LOW: Colour.RED}}, MAX_BYTES))
    _, fault = Codec(LIMITS, TypeTable()).decode(body)
    assert fault is not None


def test_a_fault_is_forgotten_with_its_frame(codec: Codec) -> None:
    body = pack({"return": msgpack.ExtType(99, b"")})
    assert codec.decode(body)[1] is not None
    assert codec.decode(pack({"return": 1}))[1] is None


FAULTS = {
    "an unknown extension": msgpack.ExtType(99, b"x"),
    "a short uuid": msgpack.ExtType(6, b"x"),
    "a short complex": msgpack.ExtType(4, b"x"),
    "a datetime of nonsense": extension(7, ["yesterday", None, 0]),
    "a datetime with no such zone": extension(7, ["2024-01-01T00:00:00", "No/Where", 0]),
    "a zone that is a path": extension(7, ["2024-01-01T00:00:00", "../../etc/passwd", 0]),
    "a fold of 7": extension(7, ["2024-01-01T00:00:00", None, 7]),
    "a tag that cannot be a key": extension(DATACLASS, [[], {}]),
    "an enum for a dataclass": extension(DATACLASS, ["test_codec:Colour", {}]),
    "a dataclass for an enum": extension(ENUM, ["test_codec:Point", "x"]),
    "no such member": extension(ENUM, ["test_codec:Colour", "GREEN"]),
    "a member that cannot be a key": extension(ENUM, ["test_codec:Colour", []]),
    "a flag of 99": extension(ENUM, ["test_codec:Permission", 99]),
    "a field too few": extension(DATACLASS, ["test_codec:Point", {}]),
    "fields that are none": extension(DATACLASS, ["test_codec:Point", 5]),
    "a set of unhashables": extension(2, [[]]),
    "a tuple of nothing": extension(TUPLE, 5),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_value_that_means_nothing_here_is_a_fault(codec: Codec, name: str) -> None:
    raw, fault = codec.decode(pack({"return": [FAULTS[name]], "cid": "1"}))
    assert raw["cid"] == "1"
    assert fault is not None
    assert len(str(fault)) < 1000


def test_what_a_fault_quotes_is_cut_and_escaped(codec: Codec) -> None:
    long = "\x1b[2J" + "x" * 100_000
    for value in [
        extension(DATACLASS, [long, {}]),
        extension(ENUM, ["test_codec:Colour", long]),
        extension(7, [long, None, 0]),
        extension(NUMPY_ARRAY, [long, [1], "C", b"x"]),
    ]:
        _, fault = codec.decode(pack({"return": value}))
        assert fault is not None
        assert len(str(fault)) < 2000
        assert str(fault).isprintable()


def test_a_field_that_nobody_knows_is_ignored(codec: Codec) -> None:
    body = pack({"return": extension(DATACLASS, ["test_codec:Point", {"x": 1.0, "z": 2}])})
    raw, fault = codec.decode(body)
    assert (raw["return"], fault) == (Point(1.0, 0.0), None)


def test_a_msgpack_timestamp_is_a_datetime(codec: Codec) -> None:
    raw, fault = codec.decode(pack({"return": msgpack.Timestamp(1, 2000)}))
    assert fault is None
    assert raw["return"] == datetime.datetime(1970, 1, 1, 0, 0, 1, 2, datetime.UTC)


# --- frames that are none --------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x01",
        b"\xc0",
        pack([1, 2]),
        pack("text"),
        pack({"a": 1}) + b"\x01",
        pack({"a": 1})[:-1],
        pack({"a": "\x00"})[:-1] + b"\xff",
        b"\x81\x90\x01",
        b"",
    ],
    ids=ascii,
)
def test_a_frame_that_is_not_one_map_is_the_peers_fault(codec: Codec, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(body)


def test_a_length_stands_in_front(codec: Codec) -> None:
    whole = joined(codec.encode({"stop": True, "cid": "1f"}, MAX_BYTES))
    assert whole == b"\x0e\x00\x00\x00" + pack({"stop": True, "cid": "1f"})


# --- the type table --------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [int, object, Point(1.0), "Point", None, StrChild])
def test_only_dataclasses_and_enums_can_be_registered(thing: Any) -> None:
    with pytest.raises(TypeError, match="dataclass or an Enum"):
        TypeTable().add_value(thing)


def test_two_classes_cannot_share_a_tag() -> None:
    def make() -> type:
        @dataclasses.dataclass
        class Local:
            x: int

        return Local

    table = table_of(make())
    with pytest.raises(TypeError, match="already registered"):
        table.add_value(make())


def test_registering_twice_is_no_conflict() -> None:
    table = table_of(Point)
    table.add_value(Point)
    assert list(table.values.values()) == [Point]


@pytest.mark.parametrize("thing", [int, ValueError("x"), KeyboardInterrupt, Point])
def test_only_exception_classes_can_be_registered_as_errors(thing: Any) -> None:
    with pytest.raises(TypeError, match="exception class"):
        TypeTable().add_error(thing)


def test_a_code_can_be_taken_once(codec: Codec) -> None:
    codec.add_extension(40, Unregistered, lambda v: bytes([v.x]), lambda d: Unregistered(d[0]))
    assert sent(codec, Unregistered(7)) == Unregistered(7)
    with pytest.raises(ValueError, match="40"):
        codec.add_extension(40, None, lambda v: b"", lambda d: None)


OF_FLOORS_ABOVE = [BufferLost("it has gone"), MailboxFull("no room")]


def raising(error: Exception) -> Any:
    """Return a function that raises *error*, whatever it is called with."""

    def raise_it(_: Any) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize("error", OF_FLOORS_ABOVE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("is_diverted", [True, False])
def test_what_a_floor_above_refuses_to_send_keeps_its_class(
    codec: Codec, error: ActorsysError, is_diverted: bool
) -> None:
    if is_diverted:
        codec.divert(NUMPY_ARRAY, 40, raising(error))
    else:
        codec.add_extension(40, Unregistered, raising(error), lambda data: None)
    value = np.ones(3) if is_diverted else Unregistered(1)
    with pytest.raises(type(error), match=str(error)):
        codec.encode({"return": [(value,)]}, MAX_BYTES)
    assert sent(codec, 1) == 1


@pytest.mark.parametrize("error", OF_FLOORS_ABOVE, ids=lambda error: type(error).__name__)
def test_a_value_alone_raises_what_a_floor_above_refuses_to_read(
    codec: Codec, error: ActorsysError
) -> None:
    codec.add_extension(40, Unregistered, lambda value: b"", raising(error))
    data = codec.pack_nested([(Unregistered(1),)])
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)):
            codec.unpack_alone(data)
    assert codec.unpack_alone(codec.pack_nested([1])) == [1]


def test_a_value_alone_that_means_nothing_here_is_no_value(codec: Codec) -> None:
    codec.add_extension(40, Unregistered, lambda value: b"", raising(KeyError("x")))
    with pytest.raises(ValueError, match="extension 40: KeyError"):
        codec.unpack_alone(codec.pack_nested([Unregistered(1)]))


@pytest.fixture(autouse=True)
def _no_numpy_warnings() -> Iterator[None]:
    """Keep NumPy's notes on old names of types, which a hostile peer may use, from the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


# --- memory that is used again ---------------------------------------------------------------


def feed_large(reader: FrameReader, codec: Codec, value: Any) -> Any:
    """Send *value* through *reader* in pieces; return what arrives and give its frame back."""
    data = b"".join(map(bytes, codec.encode({"return": codec.wrap_large(value)}, MAX_BYTES)))
    reader.feed(data[:1000])
    assert not list(reader)
    reader.feed(data[1000:])
    (frame,) = reader
    assert isinstance(frame, bytearray)
    raw, _ = codec.decode(frame)
    if not codec.frame_is_shared:
        reader.recycle(frame)
    return raw["return"], frame


def test_memory_in_which_an_array_lies_is_not_used_again(codec: Codec) -> None:
    reader = FrameReader(MAX_BYTES, LIMITS.segment_bytes)
    first, one = feed_large(reader, codec, np.full(100_000, 1.0))
    second, other = feed_large(reader, codec, np.full(100_000, 2.0))
    assert one is not other
    assert (first == 1.0).all()
    assert (second == 2.0).all()


def test_memory_from_which_bytes_were_copied_is_used_again(codec: Codec) -> None:
    reader = FrameReader(MAX_BYTES, LIMITS.segment_bytes)
    first, one = feed_large(reader, codec, b"a" * 200_000)
    second, other = feed_large(reader, codec, b"b" * 200_000)
    assert one is other
    assert (first, second) == (b"a" * 200_000, b"b" * 200_000)
