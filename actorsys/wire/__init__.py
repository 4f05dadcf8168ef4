"""The wire: bytes in, messages out, and back.

This floor knows frames, values, messages, the handshake and which message may follow which. It
knows no socket, no clock and no trio, so it can be tested a byte at a time and fuzzed in
milliseconds.
"""

from .codec import Codec, EncodedFrame, undone_on_error
from .credit import ReceiveWindow, SendCredit
from .extensions import Undecodable
from .framing import FrameReader
from .handshake import (
    ClientHandshake,
    Credentials,
    Handshake,
    ServerHandshake,
    Session,
)
from .messages import (
    MAX_DEADLINE_SECONDS,
    Call,
    Credit,
    ErrorReply,
    Functype,
    Item,
    Kind,
    Message,
    Return,
    Started,
    Stop,
    parse_message,
)
from .states import CallState, callee_step, caller_step
from .text import cut
from .typetable import TYPES, TypeTable, canonical_module, register, register_error, register_type

__all__ = [
    "MAX_DEADLINE_SECONDS",
    "TYPES",
    "Call",
    "CallState",
    "ClientHandshake",
    "Codec",
    "Credentials",
    "Credit",
    "EncodedFrame",
    "ErrorReply",
    "FrameReader",
    "Functype",
    "Handshake",
    "Item",
    "Kind",
    "Message",
    "ReceiveWindow",
    "Return",
    "SendCredit",
    "ServerHandshake",
    "Session",
    "Started",
    "Stop",
    "TypeTable",
    "Undecodable",
    "callee_step",
    "caller_step",
    "canonical_module",
    "cut",
    "parse_message",
    "register",
    "register_error",
    "register_type",
    "undone_on_error",
]
