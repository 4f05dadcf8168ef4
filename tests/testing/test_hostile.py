"""Hostile bytes are hostile in every way that is meant, and the same for the same seed."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from actorsys.errors import LimitExceeded, RemoteProtocolError
from actorsys.testing.hostile import (
    BOMBS,
    HEADER_BYTES,
    SAMPLE_LIMITS,
    SAMPLE_TYPES,
    Mutator,
    framed,
    sound_frames,
    sound_messages,
)
from actorsys.wire import Codec, FrameReader, Message, parse_message
from actorsys.wire.messages import _PARSERS

SEED = random.SystemRandom().getrandbits(32)
MUTANTS = 2000


def read(data: bytes) -> list[Message]:
    """Return the messages in *data*; short frames take the paths of long ones."""
    reader = FrameReader(SAMPLE_LIMITS.max_message_bytes, SAMPLE_LIMITS.segment_bytes)
    codec = Codec(SAMPLE_LIMITS, SAMPLE_TYPES)
    reader.feed(data)
    return [parse_message(*codec.decode(frame), len(frame) + HEADER_BYTES) for frame in reader]


def fate(data: bytes) -> str:
    """Say in a word what becomes of *data*."""
    try:
        found = read(data)
    except (RemoteProtocolError, LimitExceeded) as error:
        return type(error).__name__
    if any(message.fault is not None for message in found):
        return "fault"
    return type(found[0]).__name__ if found else "more"


def mutants(seed: int, count: int = MUTANTS) -> list[bytes]:
    return list(itertools.islice(Mutator(seed), count))


# --- sound frames ----------------------------------------------------------------------------


def test_there_are_sound_messages_of_every_kind() -> None:
    kinds = {next(iter(message)) for message in sound_messages()}
    assert kinds == _PARSERS.keys()


def test_every_sound_frame_is_one_message_without_fault() -> None:
    frames = sound_frames()
    assert len(frames) == len(sound_messages())
    for frame in frames:
        (message,) = read(frame)
        assert message.fault is None
        assert message.size == len(frame)


def test_every_extension_is_in_a_sound_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    decode = Codec._decode_extension
    monkeypatch.setattr(
        Codec,
        "_decode_extension",
        lambda self, code, data: seen.add(code) or decode(self, code, data),
    )
    for frame in sound_frames():
        read(frame)
    assert seen == Codec()._decoders.keys()


# --- mutants ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert mutants(SEED, 300) == mutants(SEED, 300)
    assert mutants(SEED, 300) != mutants(SEED + 1, 300)


def test_hardly_a_mutant_is_sound_and_few_come_twice() -> None:
    print("seed", SEED)
    made = mutants(SEED)
    assert len(set(made)) > 0.8 * len(made)
    assert len(set(made) & set(sound_frames())) < 0.02 * len(made)


def test_mutants_meet_every_fate() -> None:
    print("seed", SEED)
    fates = Counter(map(fate, mutants(SEED)))
    kinds = {"Call", "Functype", "Return", "Started", "Item", "Stop", "Credit", "ErrorReply"}
    assert fates.keys() == kinds | {"RemoteProtocolError", "LimitExceeded", "fault", "more"}


def test_mutants_can_be_made_of_other_frames() -> None:
    print("seed", SEED)
    frame = framed(b"\x81\xa5hello\xa8actorsys")
    made = list(itertools.islice(Mutator(SEED, [frame]), 200))
    assert any(b"hello" in data for data in made)
    assert not any(b"functype" in data and b"asyncgen" in data for data in made)


def test_pieces_are_the_whole() -> None:
    print("seed", SEED)
    mutator = Mutator(SEED)
    counts = set()
    for data in itertools.islice(mutator, 300):
        pieces = mutator.pieces(data)
        assert b"".join(pieces) == data
        counts.add(len(pieces))
    assert {2, 3, 4, 5} < counts
    assert max(counts) > 20


# --- bombs -----------------------------------------------------------------------------------


def test_bombs_are_small_and_no_two_are_the_same() -> None:
    built = {name: build() for name, build in BOMBS.items()}
    assert len(set(built.values())) == len(built)
    assert max(map(len, built.values())) < 1_100_000


def test_bombs_reach_every_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each decoder sees at least one payload that it refuses, or leads to one."""
    seen: set[int] = set()
    decode = Codec._decode_extension
    monkeypatch.setattr(
        Codec,
        "_decode_extension",
        lambda self, code, data: seen.add(code) or decode(self, code, data),
    )
    for build in BOMBS.values():
        fate(build())
    assert seen >= Codec()._decoders.keys()
