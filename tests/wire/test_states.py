"""The tables of what may follow what, each cell of them."""

from __future__ import annotations

import pytest

from actorsys.errors import RemoteProtocolError
from actorsys.wire import (
    Call,
    CallState,
    Credit,
    ErrorReply,
    Functype,
    Item,
    Message,
    Return,
    Started,
    Stop,
    callee_step,
    caller_step,
)
from actorsys.wire.states import CALLEE_START

ASKED, COMPUTING, PRODUCING, GREETING, OPEN, HALF, ENDED = CallState

MESSAGES: dict[str, Message] = {
    "functype": Functype("asyncfunc", "1"),
    "asyncgen": Functype("asyncgen", "1"),
    "context": Functype("context", "1"),
    "started": Started(1, "1"),
    "yield": Item(1, "1"),
    "credit": Credit(1, "1"),
    "stop": Stop("1"),
    "return": Return(1, "1"),
    "error": ErrorReply({}, "1"),
    "cmd": Call("ns", "fn", {}, ("a", "b"), "1"),
}

CALLER = {
    (ASKED, "functype"): COMPUTING,
    (ASKED, "asyncgen"): PRODUCING,
    (ASKED, "context"): GREETING,
    (ASKED, "error"): ENDED,
    (COMPUTING, "return"): ENDED,
    (COMPUTING, "error"): ENDED,
    (PRODUCING, "yield"): PRODUCING,
    (PRODUCING, "stop"): ENDED,
    (PRODUCING, "error"): ENDED,
    (GREETING, "started"): OPEN,
    (GREETING, "error"): ENDED,
    (OPEN, "yield"): OPEN,
    (OPEN, "credit"): OPEN,
    (OPEN, "stop"): HALF,
    (OPEN, "return"): ENDED,
    (OPEN, "error"): ENDED,
    (HALF, "credit"): HALF,
    (HALF, "return"): ENDED,
    (HALF, "error"): ENDED,
}
"""What the callee may send, as the specification has it."""

CALLEE = {
    (PRODUCING, "credit"): PRODUCING,
    (PRODUCING, "stop"): HALF,
    (OPEN, "yield"): OPEN,
    (OPEN, "credit"): OPEN,
    (OPEN, "stop"): HALF,
    (HALF, "credit"): HALF,
}
"""What the caller may send."""

CALLER_STATES = [ASKED, COMPUTING, PRODUCING, GREETING, OPEN, HALF]
CALLEE_STATES = [COMPUTING, PRODUCING, OPEN, HALF]


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("state", CALLER_STATES, ids=lambda state: state.value)
def test_a_caller_accepts_what_the_table_says_and_nothing_else(state: CallState, name: str) -> None:
    following = CALLER.get((state, name))
    if following is not None:
        assert caller_step(state, MESSAGES[name]) is following
        return
    with pytest.raises(RemoteProtocolError, match=f"may not come while a call is {state.value}"):
        caller_step(state, MESSAGES[name])


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("state", CALLEE_STATES, ids=lambda state: state.value)
def test_a_callee_accepts_what_the_table_says_and_nothing_else(state: CallState, name: str) -> None:
    following = CALLEE.get((state, name))
    if following is not None:
        assert callee_step(state, MESSAGES[name]) is following
        return
    with pytest.raises(RemoteProtocolError, match=f"may not come while a call is {state.value}"):
        callee_step(state, MESSAGES[name])


@pytest.mark.parametrize(
    ("kind", "state"), [("asyncfunc", COMPUTING), ("asyncgen", PRODUCING), ("context", OPEN)]
)
def test_a_callee_starts_by_its_kind(kind: str, state: CallState) -> None:
    assert CALLEE_START[kind] is state  # type: ignore[index]
