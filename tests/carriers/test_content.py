"""What may be in a message, and how it arrives."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from typing import Any

import numpy as np
import pytest

from actorsys import EncodeError, LimitExceeded, Limits, RemoteActorError, register_type
from actorsys.carriers.content import ContentCodec


@register_type
class Colour(enum.Enum):
    RED = 1


@register_type
@dataclasses.dataclass
class Nested:
    content: Any


@pytest.fixture
def codec() -> ContentCodec:
    return ContentCodec(Limits(), ("tester", "1"))


VALUES: dict[str, Any] = {
    "nothing": None,
    "dict with numbers": {1: "a", -3: {2: None}},
    "frozenset": frozenset({1, (2, 3)}),
    "tuple and list": ((1, [2]), [(3,)]),
    "uuid": uuid.UUID(int=7),
    "enum": Colour.RED,
    "dataclass in dataclass": Nested({0: Nested((1.5, frozenset()))}),
    "big number": 2**100,
    "complex": 1 - 2j,
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_arrives_as_it_was(codec: ContentCodec, name: str) -> None:
    arrived = codec.unpack(codec.pack(VALUES[name]))
    assert arrived == VALUES[name]
    assert type(arrived) is type(VALUES[name])


ARRAYS: dict[str, Any] = {
    "special": np.array([np.nan, -0.0, np.inf, -np.inf]),
    "empty": np.empty((0, 3), dtype=np.int16),
    "no dimension": np.array(2.5),
    "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(20)[::2],
    "large": np.arange(100_000.0),
    "times": np.array(["2026-01-01"], dtype="M8[D]"),
    "scalar": np.float32(1.1),
    "double": np.float64(0.1),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_bit_for_bit_and_writable(codec: ContentCodec, name: str) -> None:
    sent = ARRAYS[name]
    arrived = codec.unpack(codec.pack(sent))
    assert (type(arrived), arrived.dtype, arrived.shape) == (type(sent), sent.dtype, sent.shape)
    assert arrived.tobytes() == sent.tobytes()
    if isinstance(arrived, np.ndarray):
        assert arrived.flags.writeable


def test_what_cannot_travel_is_named(codec: ContentCodec) -> None:
    with pytest.raises(
        EncodeError, match=r"field 'content' of .*Nested.*ContentCodec cannot travel"
    ):
        codec.pack(Nested({"a": codec}))
    with pytest.raises(EncodeError, match="Python objects"):
        codec.pack(np.array([object()]))


def test_what_is_too_large_is_refused() -> None:
    codec = ContentCodec(Limits(max_message_bytes=4096), ("tester", "1"))
    with pytest.raises(LimitExceeded, match="max_message_bytes"):
        codec.pack(bytes(4096))
    assert codec.unpack(codec.pack(bytes(2048))) == bytes(2048)


def test_what_is_not_registered_over_there_is_named(codec: ContentCodec) -> None:
    packed = codec.pack(Nested(1)).replace(b"Nested", b"Absent")
    with pytest.raises(EncodeError, match="is not registered in the receiving process"):
        codec.unpack(packed)


def test_an_error_arrives_as_one_of_its_class(codec: ContentCodec) -> None:
    try:
        raise KeyError("missing")
    except KeyError as error:
        arrived = codec.unpack_error(codec.pack_error(error))
    assert isinstance(arrived, KeyError)
    assert isinstance(arrived, RemoteActorError)
    assert "test_an_error_arrives_as_one_of_its_class" in arrived.tb_str


def test_what_is_nested_too_deeply_is_refused(codec: ContentCodec) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(EncodeError):
        codec.pack(nested)


@pytest.mark.parametrize("depth", [100, 500, 1000])
def test_what_can_be_packed_can_be_unpacked_however_it_is_nested(
    codec: ContentCodec, depth: int
) -> None:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    arrived = codec.unpack(codec.pack(nested))
    for _ in range(depth):
        (arrived,) = arrived
    assert arrived == []
