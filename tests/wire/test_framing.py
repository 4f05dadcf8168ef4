"""Frames: however the bytes are split, the same frames come out, and none is believed too early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_helpers import LIMITS, at_most_mib, framed, quick

from actorsys.errors import LimitExceeded, RemoteProtocolError
from actorsys.wire import FrameReader

LARGE = 100


def a_reader(max_bytes: int = 1000) -> FrameReader:
    return FrameReader(max_bytes, LARGE)


def frames_of(data: bytes, chunk: int, reader: FrameReader | None = None) -> list[bytes]:
    """Return the frames in *data*, fed *chunk* bytes at a time."""
    reader = reader or a_reader()
    found: list[bytes] = []
    for start in range(0, len(data), chunk):
        reader.feed(data[start : start + chunk])
        found += [bytes(frame) for frame in reader]
    return found


def frames_received_into(data: bytes, chunk: int) -> list[bytes]:
    """Return the frames in *data*, with large ones received straight into their memory."""
    reader, found = a_reader(), []
    while data:
        memory = reader.large_rest()
        if memory is None:
            reader.feed(data[:chunk])
            data = data[chunk:]
        else:
            count = min(len(memory), len(data), chunk)
            memory[:count] = data[:count]
            reader.fill(count)
            data = data[count:]
        found += [bytes(frame) for frame in reader]
    return found


BODIES = [b"a", b"b" * 99, b"c" * 100, b"d" * 1000, b"e", b"f" * 500]
STREAM = b"".join(map(framed, BODIES))


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 7, 99, 104, 105, 1000, len(STREAM)])
def test_chunks_do_not_matter(chunk: int) -> None:
    assert frames_of(STREAM, chunk) == BODIES


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 7, 99, 104, 105, 1000, len(STREAM)])
def test_receiving_into_large_frames_gives_the_same(chunk: int) -> None:
    assert frames_received_into(STREAM, chunk) == BODIES


@quick
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_any_split_gives_the_same_frames(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(framed, bodies))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    reader, found = a_reader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        found += [bytes(frame) for frame in reader]
    assert found == bodies
    assert reader.buffered_bytes == 0


def test_nothing_comes_out_before_the_last_byte() -> None:
    reader = a_reader()
    for body in [b"x" * 50, b"y" * 500]:
        whole = framed(body)
        reader.feed(whole[:-1])
        assert list(reader) == []
        reader.feed(whole[-1:])
        assert [bytes(frame) for frame in reader] == [body]


def test_feeding_nothing_is_harmless() -> None:
    reader = a_reader()
    for part in [b"", framed(b"abc")[:5], b"", framed(b"abc")[5:], b""]:
        reader.feed(part)
    assert list(reader) == [b"abc"]


def test_a_large_frame_is_writable_and_its_own() -> None:
    reader = a_reader()
    reader.feed(framed(b"x" * 200) + framed(b"y" * 200))
    first, second = reader
    assert isinstance(first, bytearray)
    first[:] = b"z" * 200
    assert second == b"y" * 200


def test_a_large_frame_that_came_in_pieces_is_writable_too() -> None:
    reader = a_reader()
    reader.feed(framed(b"x" * 200)[:150])
    assert list(reader) == []
    reader.feed(b"x" * 54)
    (frame,) = reader
    assert type(frame) is bytearray


def test_memory_is_offered_only_for_the_rest_of_a_large_frame() -> None:
    reader = a_reader()
    assert reader.large_rest() is None
    reader.feed(framed(b"small")[:6])
    assert list(reader) == []
    assert reader.large_rest() is None
    reader.feed(b"all" + framed(b"x" * 200)[:14])
    assert list(reader) == [b"small"]
    memory = reader.large_rest()
    assert memory is not None
    assert len(memory) == 190
    reader.fill(190)
    assert reader.large_rest() is None


def test_the_iterator_may_be_left_and_taken_up_again() -> None:
    reader = a_reader()
    reader.feed(framed(b"a") + framed(b"b") + framed(b"c")[:3])
    assert next(iter(reader)) == b"a"
    assert list(reader) == [b"b"]
    reader.feed(framed(b"c")[3:])
    assert list(reader) == [b"c"]


def test_the_rest_behind_a_frame_can_be_taken() -> None:
    reader = a_reader()
    reader.feed(framed(b"a") + b"rest")
    assert next(iter(reader)) == b"a"
    assert reader.take_rest() == b"rest"
    assert reader.buffered_bytes == 0


def test_buffered_bytes_count_what_is_incomplete() -> None:
    reader = a_reader()
    reader.feed(framed(b"a") + framed(b"bcd")[:6])
    assert list(reader) == [b"a"]
    assert reader.buffered_bytes == 6


# --- limits ----------------------------------------------------------------------------------


def test_a_frame_of_exactly_the_limit_passes() -> None:
    assert frames_of(framed(b"x" * 1000), 64) == [b"x" * 1000]


@pytest.mark.parametrize("length", [1001, 2**31, 2**32 - 1])
def test_a_longer_frame_is_refused_by_its_length_alone(length: int) -> None:
    reader = a_reader()
    reader.feed(length.to_bytes(4, "little"))
    with pytest.raises(LimitExceeded, match=f"{length:,} bytes"):
        list(reader)


def test_announcing_four_gibibytes_allocates_nothing() -> None:
    reader = FrameReader(LIMITS.max_message_bytes, LIMITS.segment_bytes)
    with at_most_mib(1):
        reader.feed(b"\xff" * 4)
        with pytest.raises(LimitExceeded):
            list(reader)


def test_frames_before_a_bad_one_are_delivered() -> None:
    reader = a_reader()
    reader.feed(framed(b"good") + b"\xff" * 8)
    frames = iter(reader)
    assert next(frames) == b"good"
    with pytest.raises(LimitExceeded):
        next(frames)


def test_an_empty_frame_is_refused() -> None:
    reader = a_reader()
    reader.feed(bytes(4))
    with pytest.raises(RemoteProtocolError, match="empty frame"):
        list(reader)


@pytest.mark.parametrize(
    ("greeting", "name"),
    [
        (b"GET / HTTP/1.1\r\n", "an HTTP request"),
        (b"POST /x HTTP/1.1\r\n", "an HTTP request"),
        (b"HEAD / HTTP/1.1\r\n", "an HTTP request"),
        (b"OPTIONS * HTTP/1.1\r\n", "an HTTP request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP/2 preface"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "an SSH greeting"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS hello"),
        (b"\x16\x03\x03\x00\x7a\x02", "a TLS hello"),
    ],
)
def test_another_protocol_is_called_by_its_name(greeting: bytes, name: str) -> None:
    # It is the handshake that meets a stranger, and it takes only short frames.
    reader = FrameReader(LIMITS.handshake_bytes, LIMITS.segment_bytes)
    reader.feed(greeting)
    with pytest.raises(RemoteProtocolError, match=f"the peer sent {name}, not this protocol"):
        list(reader)
