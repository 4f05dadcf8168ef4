"""Any bytes give a message, "need more", or the two errors for what a peer does wrong.

And they cost no more memory than they are worth.
"""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_helpers import (
    LIMITS,
    at_most_mib,
    extension,
    framed,
    joined,
    pack,
    quick,
    read_all,
)

from actorsys.errors import LimitExceeded, RemoteProtocolError
from actorsys.limits import Limits
from actorsys.testing.hostile import BOMBS, HEADER_BYTES
from actorsys.wire import Codec, FrameReader, Message, parse_message
from actorsys.wire.extensions import SEGMENT

SMALL = Limits(max_message_bytes=4096, segment_bytes=64)
"""So that short inputs reach the paths for large frames and segments as well."""


def outcome(data: bytes, chunk: int) -> list[str]:
    """Return what becomes of *data*, fed *chunk* bytes at a time; any other error is a bug."""
    reader = FrameReader(SMALL.max_message_bytes, SMALL.segment_bytes)
    codec = Codec(SMALL)
    told: list[str] = []
    try:
        for start in range(0, len(data), chunk):
            reader.feed(data[start : start + chunk])
            for frame in reader:
                raw, fault = codec.decode(frame)
                message = parse_message(raw, fault, len(frame) + 4)
                assert isinstance(message, Message)
                told.append(f"{message!r} {message.size} {message.fault}")
    except (RemoteProtocolError, LimitExceeded) as error:
        told.append(f"{type(error).__name__}: {error}")
    return told


def has_one_outcome(data: bytes, chunk: int) -> bool:
    return outcome(data, chunk) == outcome(data, max(1, len(data)))


# --- any bytes -------------------------------------------------------------------------------

CHUNKS = st.integers(1, 100)
EXTENSIONS = st.builds(msgpack.ExtType, st.integers(0, 20), st.binary(max_size=40))
PACKED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=80)
    | EXTENSIONS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=4)
        | st.builds(extension, st.integers(1, 14), inner)
    ),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        "cmd",
        "functype",
        "return",
        "yield",
        "started",
        "stop",
        "credit",
        "error",
        "cid",
        "args",
        "deadline",
        "trace",
        "segments",
        "unknown",
    ]
)
COMMANDS = st.tuples(
    st.text(max_size=5) | PACKED,
    st.text(max_size=5) | PACKED,
    st.dictionaries(st.text(max_size=3), PACKED, max_size=3) | PACKED,
    st.just(["a", "a-1"]) | PACKED,
    st.sampled_from(["1", "2", "ff"]) | PACKED,
).map(list)
MAPS = st.dictionaries(KEYS, PACKED, max_size=5) | st.fixed_dictionaries(
    {"cmd": COMMANDS}, optional={"args": PACKED, "deadline": PACKED, "trace": PACKED}
)


@quick
@given(st.binary(max_size=300), CHUNKS)
def test_random_bytes(data: bytes, chunk: int) -> None:
    assert has_one_outcome(data, chunk)


@quick
@given(st.lists(st.binary(max_size=150).map(framed), max_size=4).map(b"".join), CHUNKS)
def test_random_frames(data: bytes, chunk: int) -> None:
    assert has_one_outcome(data, chunk)


@settings(quick, max_examples=150)
@given(st.lists(MAPS.map(pack).map(framed), max_size=4).map(b"".join), CHUNKS)
def test_frames_of_nearly_messages(data: bytes, chunk: int) -> None:
    assert has_one_outcome(data, chunk)


GENUINE = b"".join(
    joined(Codec(SMALL).encode(message, 4096))
    for message in [
        {"cmd": ["mod", "fn", {"x": (1, {2}), "y": 2**80}, ["a", "b"], "1"], "args": [b"z" * 100]},
        {"functype": "asyncgen", "cid": "1"},
        {"yield": Codec(SMALL).wrap_large(b"s" * 70), "cid": "1"},
        {"credit": 5, "cid": "1"},
        {"error": {"type_str": "ValueError", "args": [1 + 2j]}, "cid": "1"},
        {"stop": True, "cid": "1"},
    ]
)


@settings(quick, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(GENUINE) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, 3),
    CHUNKS,
)
def test_mutated_frames(changes: list[tuple[int, int]], dropped: int, chunk: int) -> None:
    data = bytearray(GENUINE)
    for position, byte in changes:
        data[position] = byte
    if changes:
        del data[changes[0][0] : changes[0][0] + dropped]
    assert has_one_outcome(bytes(data), chunk)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 64, 10_000])
def test_genuine_frames_are_understood_however_they_are_split(chunk: int) -> None:
    told = outcome(GENUINE, chunk)
    kinds = ["Call", "Functype", "Item", "Credit", "ErrorReply", "Stop"]
    assert [line.split()[0].strip("<") for line in told] == kinds
    assert all(line.endswith("None") for line in told)


# --- bombs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_no_more_than_fail(name: str) -> None:
    data = BOMBS[name]()
    with at_most_mib(8):
        try:
            (message,) = read_all(data)
        except (RemoteProtocolError, LimitExceeded):
            return
        assert message.fault is not None
        assert len(str(message.fault)) < 1000


def test_a_frame_of_4_gib_costs_nothing() -> None:
    with at_most_mib(1), pytest.raises(LimitExceeded):
        read_all(BOMBS["a frame of 4 GiB - 1"]())


def test_after_a_bomb_the_codec_is_as_before() -> None:
    codec = Codec(LIMITS)
    for make in BOMBS.values():
        with contextlib.suppress(RemoteProtocolError):
            codec.decode(make()[HEADER_BYTES:])
        assert codec.decode(pack({"return": (), "cid": "1"}))[1] is None
        _, fault = codec.decode(pack({"return": extension(SEGMENT, 0), "cid": "1"}))
        assert str(fault) == "extension 13: ValueError: the frame has no segment 0"
