"""The rings of sound bytes gone wrong: frames on an open link, and both sides of a handshake.

Any bytes give a message, "need more", or one of the errors for what a peer does wrong; and it
does not matter in which pieces they come. So each input is fed whole and in pieces, and what
becomes of it is compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from actorsys.errors import HandshakeError
from actorsys.limits import DEFAULT_LIMITS
from actorsys.testing.hostile import BOMBS, SAMPLE_LIMITS, Mutator, sound_frames
from actorsys.wire import Handshake, Session

from .fuzz_ends import Ends, Recorded, is_genuine, open_ends, record
from .fuzz_link import Receiver
from .fuzz_note import Note
from .fuzz_trial import ACCEPTED, BUFFERED, CHUNKS, Broken, Tally, run_share

_MAX_SHOWN_CHARS = 300
_RECORDED_COUNT = 16
_BOMB_BYTES = 4096


# --- frames ----------------------------------------------------------------------------------


class FramesTrial:
    """Mutated frames of every kind of message, fed to the receiving end of a link."""

    def __init__(self, seed: int) -> None:
        self._mutator = Mutator(seed)
        self._small = Receiver(SAMPLE_LIMITS)
        self._default = Receiver(DEFAULT_LIMITS)
        for frame in sound_frames():  # what is imported and kept once is no cost of an input
            self._small.outcome([frame])
            self._default.outcome([frame])

    def draw(self) -> bytes:
        return next(self._mutator)

    def judge(self, data: bytes) -> list[str]:
        # The last byte chooses, so that the same bytes go to the same limits again.
        receiver = self._small if data[-1:] < b"\xc0" else self._default
        whole = receiver.outcome([data])
        in_pieces = receiver.outcome(self._mutator.pieces(data))
        if whole != in_pieces:
            raise Broken(CHUNKS, _difference(whole, in_pieces))
        return [word for word, _ in whole]


@contextmanager
def open_frames(seed: int) -> Iterator[FramesTrial]:
    """Open a trial of mutated frames."""
    yield FramesTrial(seed)


def run_frames(seed: int, count: int, note: Note) -> Tally:
    """Feed *count* mutated frames."""
    with open_frames(seed) as trial:
        return run_share(trial, count, note)


def _difference(whole: Sequence[object], in_pieces: Sequence[object]) -> str:
    pairs = itertools.zip_longest(whole, in_pieces, fillvalue="nothing")
    left, right = next(pair for pair in pairs if pair[0] != pair[1])
    return f"whole: {left!r:.{_MAX_SHOWN_CHARS}}, in pieces: {right!r:.{_MAX_SHOWN_CHARS}}"


# --- handshakes ------------------------------------------------------------------------------


class End(NamedTuple):
    """What has become of one end of a handshake."""

    answers: bytes
    error: str
    session: Session | None
    rest: bytes


class HandshakeTrial:
    """Mutated handshakes, fed to a server and to a client."""

    def __init__(self, seed: int, ends: Ends) -> None:
        self._ends = ends
        self._genuine = _genuine(ends)
        recorded = [record(ends.client(), ends.server()) for _ in range(_RECORDED_COUNT)]
        frames = [frame for handshake in (self._genuine, *recorded) for frame in handshake]
        self._mutator = Mutator(seed, frames)
        self._inputs = itertools.chain(_bombs(), self._mutants())

    def draw(self) -> bytes:
        return next(self._inputs)

    def judge(self, data: bytes) -> list[str]:
        whole = self._outcome([data])
        in_pieces = self._outcome(self._mutator.pieces(data))
        if not all(map(_are_alike, whole, in_pieces)):
            raise Broken(CHUNKS, _difference(whole, in_pieces))
        self._check_sessions(data, whole)
        return [end.error.partition(":")[0] or ("open" if end.session else "more") for end in whole]

    def _mutants(self) -> Iterator[bytes]:
        """Yield both directions of the genuine handshake, one frame or both of them wrong."""
        genuine = self._genuine
        while True:
            for first, second in (genuine.to_server, genuine.to_client):
                yield first + self._mutator.mutate(second)
                yield self._mutator.mutate(first) + second
                yield next(self._mutator)

    def _outcome(self, pieces: Sequence[bytes]) -> list[End]:
        return [_feed(victim, pieces) for victim in self._ends.victims()]

    def _check_sessions(self, data: bytes, ends: Sequence[End]) -> None:
        expected = (self._genuine.to_server, self._genuine.to_client)
        for end, (hello, proof) in zip(ends, expected, strict=True):
            if end.session is not None and not is_genuine(data, hello, proof):
                raise Broken(ACCEPTED, f"{end.session} from bytes that nobody genuine sent")


@contextmanager
def open_handshakes(seed: int) -> Iterator[HandshakeTrial]:
    """Open a trial of mutated handshakes."""
    with open_ends(seed) as ends:
        yield HandshakeTrial(seed, ends)


def run_handshakes(seed: int, count: int, note: Note) -> Tally:
    """Feed *count* mutated handshakes."""
    with open_handshakes(seed) as trial:
        return run_share(trial, count, note)


def _bombs() -> list[bytes]:
    """Return how the bombs for links begin; before the handshake they are just too much."""
    return [build()[:_BOMB_BYTES] for build in BOMBS.values()]


def _genuine(ends: Ends) -> Recorded:
    """Return the handshake that the victims would make with each other."""
    server, client = ends.victims()
    return record(client, server)


def _feed(victim: Handshake, pieces: Sequence[bytes]) -> End:
    """Feed a stream to one end, up to its error or its success."""
    answers = b""
    most = DEFAULT_LIMITS.handshake_bytes
    for number, piece in enumerate(pieces):
        try:
            answers += victim.receive(piece)
        except HandshakeError as error:
            return End(answers, f"{type(error).__name__}: {error}", victim.session, b"")
        if victim.session is not None:
            rest = victim.leftover + b"".join(pieces[number + 1 :])
            return End(answers, "", victim.session, rest)
        if victim._frames.buffered_bytes > most:
            raise Broken(BUFFERED, f"{victim._frames.buffered_bytes} bytes, not {most}")
    return End(answers, "", None, b"")


def _are_alike(whole: End, in_pieces: End) -> bool:
    """Compare; an end that refuses a whole stream has not sent what it answered to its start."""
    if whole.error:
        return whole[1:] == in_pieces[1:]
    return whole == in_pieces
