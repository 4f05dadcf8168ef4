"""The ring of bombs: each is refused, and finding that out costs little memory."""

from __future__ import annotations

import itertools

from actorsys.errors import LimitExceeded, RemoteProtocolError
from actorsys.limits import DEFAULT_LIMITS, MIB
from actorsys.testing.hostile import BOMBS, HEADER_BYTES, SAMPLE_TYPES, sound_frames
from actorsys.wire import Codec, FrameReader, parse_message

from .fuzz_memory import traced
from .fuzz_note import Note
from .fuzz_trial import CHUNKS, CRASH, MEMORY, REFUSED, Broken, Tally

MAX_BOMB_BYTES = 8 * MIB
_PIECE_BYTES = 1000
_MAX_REASON_CHARS = 1000


def run_bombs(seed: int, count: int, note: Note) -> Tally:
    """Set off the first *count* bombs. There is nothing to choose, so *seed* is not used."""
    tally = Tally()
    for frame in sound_frames():  # what is imported and kept once is no cost of a bomb
        outcome([frame])
    for name, build in itertools.islice(BOMBS.items(), count):
        note.write(tally.n, name.encode())
        try:
            _set_off(name, build(), tally)
        except Broken as broken:
            tally.add_failure(broken.kind, f"{name}: {broken}", b"")
        except Exception as error:
            tally.add_failure(CRASH, f"{name}: {type(error).__name__}: {error}", b"")
        tally.n += 1
    return tally


def _set_off(name: str, data: bytes, tally: Tally) -> None:
    pieces = [data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES)]
    told = []
    for way in ([data], pieces):
        with traced() as allocated:
            told.append(outcome(way))
        tally.add_memory(allocated.peak_bytes, name)
        if allocated.peak_bytes > MAX_BOMB_BYTES:
            raise Broken(MEMORY, f"{allocated.peak_bytes:,} bytes")
    if told[0] != told[1]:
        raise Broken(CHUNKS, f"whole: {told[0]}, in pieces: {told[1]}")
    if not told[0]:
        raise Broken(REFUSED, "it was taken, or waits for more")


def outcome(pieces: list[bytes]) -> str:
    """Return why a stream of one message is refused, or its value not delivered, or ""."""
    reader = FrameReader(DEFAULT_LIMITS.max_message_bytes, DEFAULT_LIMITS.segment_bytes)
    codec = Codec(DEFAULT_LIMITS, SAMPLE_TYPES)
    try:
        for piece in pieces:
            reader.feed(piece)
            for frame in reader:
                message = parse_message(*codec.decode(frame), len(frame) + HEADER_BYTES)
                reason = "" if message.fault is None else str(message.fault)
                if len(reason) > _MAX_REASON_CHARS:
                    raise Broken(REFUSED, f"with a reason of {len(reason):,} characters")
                return reason
    except (RemoteProtocolError, LimitExceeded) as error:
        if isinstance(error.__cause__, MemoryError):
            raise Broken(MEMORY, "it asked for more than there is") from error
        return f"{type(error).__name__}: {error}"
    return ""
