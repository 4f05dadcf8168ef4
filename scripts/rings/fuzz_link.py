"""The receiving end of a link without the link: bytes to frames to messages to states of calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actorsys.channel.call_table import CallTable
from actorsys.channel.remote_errors import unpack_error
from actorsys.errors import LimitExceeded, RemoteProtocolError
from actorsys.limits import Limits
from actorsys.testing.hostile import HEADER_BYTES, SAMPLE_TYPES
from actorsys.wire import (
    Call,
    CallState,
    Codec,
    Credit,
    ErrorReply,
    FrameReader,
    Item,
    Kind,
    Message,
    ReceiveWindow,
    SendCredit,
    callee_step,
    caller_step,
    parse_message,
)
from actorsys.wire.states import CALLEE_START

from .fuzz_trial import CRASH, Broken

Outcome = list[tuple[str, str]]
"""What became of a stream, step by step: one word each, and everything else there is to say."""

NEEDS_MORE = "more"
UNDELIVERABLE = "undeliverable"
DROPPED = "dropped"
CLOSED = "closed"

# The sound frames of `hostile` use these cids. This end is the server: its own calls are even.
_OWN_CALLS = {
    "2": CallState.ASKED,
    "4": CallState.COMPUTING,
    "6": CallState.PRODUCING,
    "8": CallState.GREETING,
    "a": CallState.OPEN,
    "c": CallState.HALF,
    "e": CallState.ENDED,
}
_PEER_CALLS = {
    "1": CallState.COMPUTING,
    "3": CallState.PRODUCING,
    "5": CallState.OPEN,
    "7": CallState.HALF,
    "9": CallState.ENDED,
}
_LAST_PEER_CID = "f"
_KINDS: dict[str, Kind] = {"count": "asyncgen", "chat": "context"}
"""What the functions are that the sound calls name; all others are plain."""


class Calls:
    """Calls in each state, and what a peer may do with them: the reader's half of a link."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._own = dict(_OWN_CALLS)
        self._peers = dict(_PEER_CALLS)
        self._table = CallTable(is_client=False)
        for _ in self._own:
            self._table.take_cid()
        self._table.check_received_cid(_LAST_PEER_CID)
        self._window = ReceiveWindow(limits.stream_window_bytes)
        self._credit = SendCredit(limits.stream_window_bytes)

    def take(self, message: Message) -> str:
        """Take the next message of the peer; return what it has done, in a word.

        Raises:
          RemoteProtocolError: the peer may not send it.
        """
        if type(message) is Call:
            self._table.check_received_cid(message.cid)
            self._peers[message.cid] = CALLEE_START[_KINDS.get(message.func, "asyncfunc")]
            return type(message).__name__
        is_own = message.cid in self._own
        states = self._own if is_own else self._peers
        state = states.get(message.cid)
        if state is None:
            return self._stray(message)
        if state is CallState.ENDED:
            return DROPPED
        step = caller_step if is_own else callee_step
        states[message.cid] = step(state, message)
        return self._use(message)

    def _stray(self, message: Message) -> str:
        if type(message) is ErrorReply and not message.cid:
            unpack_error(message.error, self._limits)
            return CLOSED
        if not self._table.was_used(message.cid):
            raise RemoteProtocolError(f"{type(message).__name__} for a cid that was never used")
        return DROPPED

    def _use(self, message: Message) -> str:
        if message.fault is not None:
            return UNDELIVERABLE
        if type(message) is Item:
            self._window.receive(message.size)
        elif type(message) is Credit:
            self._credit.grant(message.granted)
        elif type(message) is ErrorReply:
            str(unpack_error(message.error, self._limits))
        return type(message).__name__


class Receiver:
    """Feeds streams to a reader, a codec and the states of calls; the codec serves all streams."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._codec = Codec(limits, SAMPLE_TYPES)

    def outcome(self, pieces: Sequence[bytes]) -> Outcome:
        """Return what becomes of a stream that arrives in *pieces*.

        Every other piece of a large frame is received straight into the frame, as a link does it.

        Raises:
          Broken: the memory that the peer asked for was not to be had.
          Exception: the two errors for what a peer does wrong are no others; this is a crash.
        """
        limits = self._limits
        reader = FrameReader(limits.max_message_bytes, limits.segment_bytes)
        calls = Calls(limits)
        told: Outcome = []
        try:
            for number, piece in enumerate(pieces):
                rest = _receive_into(reader, piece) if number % 2 else piece
                if rest:
                    reader.feed(rest)
                for frame in reader:
                    told.append(self._take(frame, calls))
                    if told[-1][0] == CLOSED:
                        return told
                    if type(frame) is bytearray and not self._codec.frame_is_shared:
                        reader.recycle(frame)
            if reader.buffered_bytes or reader.large_rest() is not None:
                told.append((NEEDS_MORE, str(reader.buffered_bytes)))
        except (RemoteProtocolError, LimitExceeded) as error:
            if isinstance(error.__cause__, MemoryError):
                raise Broken(CRASH, "it asked for more memory than there is") from error
            told.append((type(error).__name__, str(error)))
        return told

    def _take(self, frame: bytes | bytearray, calls: Calls) -> tuple[str, str]:
        raw, fault = self._codec.decode(frame)
        message = parse_message(raw, fault, len(frame) + HEADER_BYTES)
        done = calls.take(message)
        # What stands for a value that cannot be delivered is not the same object twice.
        content = _shown(raw) if message.fault is None else message.fault
        return done, f"{message!r} {message.size} {content}"


def _receive_into(reader: FrameReader, piece: bytes) -> bytes:
    """Put *piece* where a large frame waits for it; return what is left of it."""
    memory = reader.large_rest()
    if memory is None:
        return piece
    count = min(len(memory), len(piece))
    memory[:count] = piece[:count]
    reader.fill(count)
    return piece[count:]


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python shows no integer of more than 4,300 digits
        return "a number too long to show"
    # A NaN is hashed by its address: in a set it stands in another place each time.
    return "".join(sorted(text)) if "nan" in text else text
