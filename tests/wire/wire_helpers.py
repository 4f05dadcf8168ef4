"""Frames by hand, and the ends of a handshake."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
from hypothesis import settings

from actorsys.limits import MIB, Limits
from actorsys.wire import (
    ClientHandshake,
    Codec,
    Credentials,
    Message,
    ServerHandshake,
    parse_message,
)
from actorsys.wire.framing import FrameReader

LIMITS = Limits()
MAX_BYTES = LIMITS.max_message_bytes
KEY = b"k" * 32
ALICE = ("alice", "a-1")
BOB = ("bob", "b-1")

quick = settings(max_examples=100, deadline=None, print_blob=True)
"""Enough to find what is easily found; a fuzzer looks for the rest."""


def framed(body: bytes) -> bytes:
    """Return *body* with its length in front."""
    return len(body).to_bytes(4, "little") + body


def pack(value: Any) -> bytes:
    """Pack *value* as any other implementation of msgpack would."""
    return msgpack.packb(value)


def extension(code: int, value: Any) -> msgpack.ExtType:
    """Return the extension *code* around the packed *value*."""
    return msgpack.ExtType(code, pack(value))


def joined(parts: list[Any]) -> bytes:
    """Return the bytes of an encoded frame."""
    return b"".join(bytes(part) for part in parts)


def frame_body(parts: list[Any]) -> bytes:
    """Return what an encoded frame holds behind its length."""
    whole = joined(parts)
    assert int.from_bytes(whole[:4], "little") == len(whole) - 4
    return whole[4:]


def sent(codec: Codec, value: Any) -> Any:
    """Return what the peer of *codec* makes of *value*."""
    raw, fault = codec.decode(bytearray(frame_body(codec.encode({"return": value}, MAX_BYTES))))
    assert fault is None, fault
    return raw["return"]


def read_all(data: bytes, *, chunk: int | None = None, limits: Limits = LIMITS) -> list[Message]:
    """Return the messages in *data*, fed in pieces of *chunk* bytes."""
    reader = FrameReader(limits.max_message_bytes, limits.segment_bytes)
    codec = Codec(limits)
    found: list[Message] = []
    step = chunk or max(1, len(data))
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        for frame in reader:
            raw, fault = codec.decode(frame)
            found.append(parse_message(raw, fault, len(frame) + 4))
    return found


@contextmanager
def at_most_mib(count: int) -> Iterator[None]:
    """Fail a block that has more than *count* MiB allocated at any moment."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= count * MIB, f"{(peak - before) / MIB:.1f} MiB"


def client(
    key: bytes = KEY,
    *,
    uid: tuple[str, str] = ALICE,
    key_of: Callable[[tuple[str, str]], bytes | None] | None = None,
    limits: Limits = LIMITS,
) -> ClientHandshake:
    return ClientHandshake(Credentials(uid, key_of or {BOB: key}.get), limits)


def server(
    key: bytes = KEY,
    *,
    uid: tuple[str, str] = BOB,
    key_of: Callable[[tuple[str, str]], bytes | None] | None = None,
    limits: Limits = LIMITS,
) -> ServerHandshake:
    return ServerHandshake(Credentials(uid, key_of or {ALICE: key}.get), limits)
