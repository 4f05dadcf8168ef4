"""Which message may follow which, as two tables: one for each end of a call.

A call is a dialog under one cid. Each end keeps the state of what *the other end* may still
send; a message that has no entry breaks the protocol. Two things stand outside the tables:

- After a call has ended here, what is still under way from there is dropped, not refused. So
  there is no entry that leads out of "ended", and nobody asks.
- Which cids exist: the channel knows that, because cids only grow.

The caller's view of the callee::

    asked --functype--> computing --return--> ended
                    \\--> producing --yield*, stop--> ended
                    \\--> greeting --started--> open --yield*, credit*--> open
                                                  \\--stop--> half --return--> ended
    anywhere --error--> ended

The callee's view of the caller: ``computing`` accepts nothing, ``producing`` credits and one
``stop``, ``open`` items and credits until its ``stop``.
"""

from __future__ import annotations

from enum import Enum

from ..errors import RemoteProtocolError
from .messages import Credit, ErrorReply, Functype, Item, Kind, Message, Return, Started, Stop


class CallState(Enum):
    """What the other end of a call may still send."""

    ASKED = "asked"
    COMPUTING = "computing"
    PRODUCING = "producing"
    GREETING = "greeting"
    OPEN = "open"
    HALF = "half"
    ENDED = "ended"

    __hash__ = object.__hash__  # members are compared by identity; Enum's own hash is slow


_S = CallState
_Table = dict[CallState, dict[type[Message], CallState]]

CALLER_TABLE: _Table = {
    _S.ASKED: {ErrorReply: _S.ENDED},
    _S.COMPUTING: {Return: _S.ENDED, ErrorReply: _S.ENDED},
    _S.PRODUCING: {Item: _S.PRODUCING, Stop: _S.ENDED, ErrorReply: _S.ENDED},
    _S.GREETING: {Started: _S.OPEN, ErrorReply: _S.ENDED},
    _S.OPEN: {
        Item: _S.OPEN,
        Credit: _S.OPEN,
        Stop: _S.HALF,
        Return: _S.ENDED,
        ErrorReply: _S.ENDED,
    },
    _S.HALF: {Credit: _S.HALF, Return: _S.ENDED, ErrorReply: _S.ENDED},
}
"""What a callee may send, by the state in which the caller holds it."""

AFTER_FUNCTYPE: dict[Kind, CallState] = {
    "asyncfunc": _S.COMPUTING,
    "asyncgen": _S.PRODUCING,
    "context": _S.GREETING,
}

CALLEE_TABLE: _Table = {
    _S.COMPUTING: {},
    _S.PRODUCING: {Credit: _S.PRODUCING, Stop: _S.HALF},
    _S.OPEN: {Item: _S.OPEN, Credit: _S.OPEN, Stop: _S.HALF},
    _S.HALF: {Credit: _S.HALF},
}
"""What a caller may send after its ``cmd``, by the state in which the callee holds it."""

WITH_ITEMS = frozenset([_S.PRODUCING, _S.OPEN])
"""The states in which an item may come; it changes nothing in them, in either table."""

CALLEE_START: dict[Kind, CallState] = {
    "asyncfunc": _S.COMPUTING,
    "asyncgen": _S.PRODUCING,
    "context": _S.OPEN,
}


def caller_step(state: CallState, message: Message) -> CallState:
    """Return the caller's state after *message* of the callee.

    Raises:
      RemoteProtocolError: the callee may not send it now.
    """
    if state is _S.ASKED and type(message) is Functype:
        return AFTER_FUNCTYPE[message.kind]
    return _step(CALLER_TABLE, state, message)


def callee_step(state: CallState, message: Message) -> CallState:
    """Return the callee's state after *message* of the caller.

    Raises:
      RemoteProtocolError: the caller may not send it now.
    """
    return _step(CALLEE_TABLE, state, message)


def _step(table: _Table, state: CallState, message: Message) -> CallState:
    following = table[state].get(type(message))
    if following is None:
        name = type(message).__name__
        raise RemoteProtocolError(f"{name} may not come while a call is {state.value}")
    return following
