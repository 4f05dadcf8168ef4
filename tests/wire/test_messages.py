"""Messages: every field of every message is checked, and what is unknown is ignored."""

from __future__ import annotations

import math
from typing import Any, get_args

import msgpack
import pytest
from wire_helpers import LIMITS, frame_body, framed, joined, pack, read_all

from actorsys.errors import RemoteProtocolError
from actorsys.wire import (
    Call,
    Codec,
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
from actorsys.wire.messages import functype_frame

UID = ["alice", "a-1"]


def parse(raw: dict[Any, Any]) -> Message:
    return parse_message(raw, None, 10)


def a_call(**changes: Any) -> dict[str, Any]:
    """Return a sound call with some of its parts changed."""
    parts = {"ns": "mod", "func": "fn", "kwargs": {"x": 1}, "uid": UID, "cid": "1", **changes}
    return {"cmd": [parts[name] for name in ("ns", "func", "kwargs", "uid", "cid")]}


def test_a_call_has_its_five_parts() -> None:
    call = parse(a_call())
    assert isinstance(call, Call)
    assert (call.ns, call.func, call.kwargs) == ("mod", "fn", {"x": 1})
    assert (call.uid, call.cid) == (("alice", "a-1"), "1")
    assert (call.args, call.deadline, call.trace, call.fault) == ([], None, None, None)


def test_arguments_deadline_and_trace_stand_beside_it() -> None:
    call = parse({**a_call(), "args": [1, 2], "deadline": 5, "trace": "00-ab"})
    assert isinstance(call, Call)
    assert (call.args, call.deadline, call.trace) == ([1, 2], 5.0, "00-ab")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_functype_has_a_kind(kind: Kind) -> None:
    message = parse({"functype": kind, "cid": "1"})
    assert isinstance(message, Functype)
    assert message.kind == kind


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("cid", ["1", "f" * 16])
def test_the_ready_made_functype_frame_is_what_packing_gives(kind: Kind, cid: str) -> None:
    packed = Codec(LIMITS).encode({"functype": kind, "cid": cid}, 1000)
    assert functype_frame(kind, cid) == joined(packed)


@pytest.mark.parametrize(
    ("key", "cls"), [("return", Return), ("started", Started), ("yield", Item)]
)
@pytest.mark.parametrize("value", [None, False, [1], {"cmd": 1}])
def test_a_value_message_has_a_value(key: str, cls: type[Message], value: Any) -> None:
    message = parse({key: value, "cid": "1"})
    assert type(message) is cls
    assert message.value == value  # type: ignore[attr-defined]
    assert message.cid == "1"


def test_a_message_knows_the_size_of_its_frame_and_its_fault() -> None:
    message = parse_message({"yield": 1, "cid": "1"}, "broken", 123)
    assert (message.size, message.fault) == (123, "broken")


def test_a_stop_has_a_cid() -> None:
    assert isinstance(parse({"stop": True, "cid": "1"}), Stop)


def test_a_credit_grants_bytes() -> None:
    message = parse({"credit": 4096, "cid": "1"})
    assert isinstance(message, Credit)
    assert message.granted == 4096


def test_an_error_without_a_cid_is_one_of_the_link() -> None:
    of_call, of_link = parse({"error": {}, "cid": "1"}), parse({"error": {"message": "x"}})
    assert isinstance(of_call, ErrorReply)
    assert isinstance(of_link, ErrorReply)
    assert (of_call.cid, of_link.cid) == ("1", "")
    assert of_link.error == {"message": "x"}


@pytest.mark.parametrize(
    "raw",
    [
        a_call(),
        {"functype": "asyncfunc", "cid": "1"},
        {"return": 1, "cid": "1"},
        {"yield": 1, "cid": "1"},
        {"started": 1, "cid": "1"},
        {"stop": True, "cid": "1"},
        {"credit": 1, "cid": "1"},
        {"error": {}, "cid": "1"},
    ],
    ids=lambda raw: next(iter(raw)),
)
def test_unknown_keys_are_ignored_wherever_they_stand(raw: dict[Any, Any]) -> None:
    plain = parse(raw)
    assert type(parse({**raw, "later": 1, 5: None})) is type(plain)
    assert type(parse({"later": [1], None: 2, **raw})) is type(plain)


# --- what is refused -------------------------------------------------------------------------

BAD_CALLS: dict[str, dict[Any, Any]] = {
    "no list": {"cmd": {"ns": "mod"}},
    "no parts": {"cmd": []},
    "four parts": {"cmd": ["mod", "fn", {}, UID]},
    "six parts": {"cmd": ["mod", "fn", {}, UID, "1", 1]},
    "a tuple": {"cmd": ("mod", "fn", {}, UID, "1")},
    "ns of bytes": a_call(ns=b"mod"),
    "ns of None": a_call(ns=None),
    "ns too long": a_call(ns="x" * 513),
    "func of int": a_call(func=5),
    "func too long": a_call(func="x" * 513),
    "kwargs a list": a_call(kwargs=[]),
    "kwargs None": a_call(kwargs=None),
    "kwargs with int keys": a_call(kwargs={1: 1}),
    "kwargs with bytes keys": a_call(kwargs={b"x": 1}),
    "uid of one": a_call(uid=["a"]),
    "uid of three": a_call(uid=["a", "b", "c"]),
    "uid of ints": a_call(uid=[1, 2]),
    "uid a string": a_call(uid="ab"),
    "uid None": a_call(uid=None),
    "cid None": a_call(cid=None),
    "cid of int": a_call(cid=1),
    "cid empty": a_call(cid=""),
    "cid too long": a_call(cid="1" * 17),
    "args a map": {**a_call(), "args": {}},
    "args None": {**a_call(), "args": None},
    "deadline text": {**a_call(), "deadline": "soon"},
    "deadline below zero": {**a_call(), "deadline": -0.1},
    "deadline nan": {**a_call(), "deadline": math.nan},
    "deadline a bool": {**a_call(), "deadline": True},
    "deadline beyond floats": {**a_call(), "deadline": 10**400},
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_distorted_call_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(BAD_CALLS[name])


@pytest.mark.parametrize("trace", [5, None, [], b"x", "x" * 10_000])
def test_a_trace_that_makes_no_sense_is_left_out(trace: Any) -> None:
    call = parse({**a_call(), "trace": trace})
    assert isinstance(call, Call)
    assert call.trace is None


@pytest.mark.parametrize(
    "raw",
    [
        {"functype": "coroutine", "cid": "1"},
        {"functype": None, "cid": "1"},
        {"functype": [], "cid": "1"},
        {"credit": 0, "cid": "1"},
        {"credit": -1, "cid": "1"},
        {"credit": 2**48, "cid": "1"},
        {"credit": True, "cid": "1"},
        {"credit": 1.5, "cid": "1"},
        {"credit": "1", "cid": "1"},
        {"error": "text", "cid": "1"},
        {"error": None, "cid": "1"},
        {"error": {}, "cid": ""},
        {"error": {}, "cid": None},
    ],
    ids=ascii,
)
def test_a_distorted_field_is_refused(raw: dict[Any, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(raw)


@pytest.mark.parametrize("key", ["functype", "return", "yield", "started", "stop", "credit"])
@pytest.mark.parametrize("cid", [None, 1, b"1", "", "1" * 17, ["1"]], ids=ascii)
def test_a_message_of_a_call_needs_a_cid(key: str, cid: Any) -> None:
    value: Any = {"functype": "asyncfunc", "credit": 1}.get(key, True)
    with pytest.raises(RemoteProtocolError, match="cid"):
        parse({key: value, "cid": cid})
    with pytest.raises(RemoteProtocolError, match="cid"):
        parse({key: value})


@pytest.mark.parametrize("raw", [{}, {"cid": "1"}, {"CMD": 1}, {b"stop": 1}, {1: 2}], ids=ascii)
def test_a_message_of_no_known_kind_is_refused(raw: dict[Any, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="no known kind"):
        parse(raw)


def test_a_value_that_cannot_be_understood_leaves_the_message_readable() -> None:
    (message,) = read_all(framed(pack({"return": msgpack.ExtType(99, b""), "cid": "1"})))
    assert isinstance(message, Return)
    assert message.fault is not None


def test_what_is_encoded_is_what_is_parsed() -> None:
    frame = Codec(LIMITS).encode({**a_call(), "args": [b"x"], "deadline": 1.5}, 1000)
    (call,) = read_all(framed(frame_body(frame)))
    assert isinstance(call, Call)
    assert (call.args, call.deadline) == ([b"x"], 1.5)
