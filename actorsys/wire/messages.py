"""The messages: a class for each, and the one place that checks what a peer sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import msgpack

from ..errors import ActorsysError, RemoteProtocolError, Uid
from .codec import HEADER_BYTES

Kind = Literal["asyncfunc", "asyncgen", "context"]
_KINDS = frozenset(get_args(Kind))
_FIXSTR = 0xA0
_FUNCTYPE_START: dict[Kind, bytes] = {
    kind: msgpack.packb({"functype": kind, "cid": ""})[:-1] for kind in get_args(Kind)
}
_MAX_NAME_CHARS = 512
MAX_DEADLINE_SECONDS = 1e10  # three centuries; a float still counts milliseconds there
_MAX_CID_DIGITS = 16


class Message:
    """One message about one call.

    ``fault`` says why its value cannot be delivered, or None; ``size`` is that of its frame.
    """

    __slots__ = ("cid", "fault", "size")

    cid: str
    fault: ActorsysError | None
    size: int

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.cid}>"


class Call(Message):
    """Run a function: ``{"cmd": [ns, func, kwargs, uid, cid]}``.

    Beside it may stand ``args``, ``deadline`` (seconds left) and ``trace`` (W3C traceparent).
    """

    __slots__ = ("args", "deadline", "func", "kwargs", "ns", "trace", "uid")

    def __init__(self, ns: str, func: str, kwargs: dict[str, Any], uid: Uid, cid: str) -> None:
        self.ns = ns
        self.func = func
        self.kwargs = kwargs
        self.uid = uid
        self.cid = cid
        self.args: list[Any] = []
        self.deadline: float | None = None
        self.trace: str | None = None

    def __repr__(self) -> str:
        return f"<Call {self.cid}: {self.ns}:{self.func}>"


class Functype(Message):
    """The kind of the callee, its first answer."""

    __slots__ = ("kind",)

    def __init__(self, kind: Kind, cid: str) -> None:
        self.kind = kind
        self.cid = cid


class _ValueMessage(Message):
    __slots__ = ("value",)

    def __init__(self, value: Any, cid: str) -> None:
        self.value = value
        self.cid = cid


class Return(_ValueMessage):
    """The result of a call; its last message."""

    __slots__ = ()


class Started(_ValueMessage):
    """The handshake value of a context."""

    __slots__ = ()


class Item(_ValueMessage):
    """One item of a stream, on the wire ``yield``."""

    __slots__ = ()


class Stop(Message):
    """The sender's end of a stream; the last message of a one-way stream."""

    __slots__ = ()

    def __init__(self, cid: str) -> None:
        self.cid = cid


class Credit(Message):
    """The receiver of a stream grants bytes."""

    __slots__ = ("granted",)

    def __init__(self, granted: int, cid: str) -> None:
        self.granted = granted
        self.cid = cid


class ErrorReply(Message):
    """An exception, the last message of a call; with the cid ``""``, of the link itself."""

    __slots__ = ("error",)

    def __init__(self, error: dict[str, Any], cid: str) -> None:
        self.error = error
        self.cid = cid


def parse_message(raw: dict[Any, Any], fault: ActorsysError | None, size: int) -> Message:
    """Return the message in a decoded frame of *size* bytes.

    Raises:
      RemoteProtocolError: it is of no known kind, or a field has the wrong type.
    """
    for key in raw:
        parse = _PARSERS.get(key)
        if parse is not None:
            message = parse(raw)
            message.fault = fault
            message.size = size
            return message
    raise RemoteProtocolError("a message of no known kind")


def functype_frame(kind: Kind, cid: str) -> bytes:
    """Return the frame of a functype message.

    Every call is answered with one, and only the cid differs: it is put together, not packed.
    """
    body = _FUNCTYPE_START[kind] + bytes((_FIXSTR | len(cid),)) + cid.encode()
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def _cid(raw: dict[Any, Any]) -> str:
    cid = raw.get("cid")
    if type(cid) is str and 0 < len(cid) <= _MAX_CID_DIGITS:
        return cid
    return _checked_cid(cid)


def _checked_cid(cid: Any) -> str:
    if type(cid) is not str or not 0 < len(cid) <= _MAX_CID_DIGITS:
        raise RemoteProtocolError("a cid is a string of 1 to 16 hexadecimal digits")
    return cid


def _parse_call(raw: dict[Any, Any]) -> Call:
    command = raw["cmd"]
    if type(command) is not list or len(command) != 5:
        raise RemoteProtocolError("cmd has five parts: ns, func, kwargs, uid, cid")
    ns, func, kwargs, uid, cid = command
    if type(ns) is not str or type(func) is not str:
        raise RemoteProtocolError("ns and func are strings")
    if len(ns) > _MAX_NAME_CHARS or len(func) > _MAX_NAME_CHARS:
        raise RemoteProtocolError("the name of a function is too long")
    if type(kwargs) is not dict or (kwargs and not all(type(name) is str for name in kwargs)):
        raise RemoteProtocolError("kwargs is a map with strings for keys")
    call = Call(ns, func, kwargs, parse_uid(uid), _checked_cid(cid))
    _parse_extras(call, raw)
    return call


def _parse_extras(call: Call, raw: dict[Any, Any]) -> None:
    """Read the keys that may stand beside ``cmd``; unknown ones are ignored."""
    if len(raw) == 1:
        return
    call.args = raw.get("args", call.args)
    if type(call.args) is not list:
        raise RemoteProtocolError("args is an array")
    deadline = raw.get("deadline")
    if deadline is not None:
        call.deadline = _seconds(deadline)
    trace = raw.get("trace")
    if type(trace) is str and len(trace) <= _MAX_NAME_CHARS:
        call.trace = trace


def _seconds(deadline: Any) -> float | None:
    """Return a deadline, or None for one that is too far away to matter."""
    is_number = type(deadline) is float or (type(deadline) is int and deadline < 2**64)
    if not is_number or not deadline >= 0:  # the comparison also refuses NaN
        raise RemoteProtocolError("deadline is a number of seconds that are left")
    return float(deadline) if deadline <= MAX_DEADLINE_SECONDS else None


def parse_uid(raw: Any) -> Uid:
    """Return the uid in *raw*, an array of two strings.

    Raises:
      RemoteProtocolError: it is something else.
    """
    if type(raw) is list and len(raw) == 2:
        name, unique = raw
        if type(name) is str and type(unique) is str:
            return name, unique
    raise RemoteProtocolError("a uid is an array of two strings")


def _parse_functype(raw: dict[Any, Any]) -> Functype:
    kind = raw["functype"]
    if type(kind) is not str or kind not in _KINDS:
        raise RemoteProtocolError("an unknown functype")
    return Functype(kind, _cid(raw))  # type: ignore[arg-type]


def _parse_item(raw: dict[Any, Any]) -> Item:
    return Item(raw["yield"], _cid(raw))


def _parse_stop(raw: dict[Any, Any]) -> Stop:
    return Stop(_cid(raw))


def _parse_credit(raw: dict[Any, Any]) -> Credit:
    size = raw["credit"]
    if type(size) is not int or not 0 < size < 2**48:
        raise RemoteProtocolError("a credit is a positive number of bytes")
    return Credit(size, _cid(raw))


def _parse_error(raw: dict[Any, Any]) -> ErrorReply:
    error = raw["error"]
    if type(error) is not dict:
        raise RemoteProtocolError("an error is a map")
    return ErrorReply(error, _cid(raw) if "cid" in raw else "")


_PARSERS: dict[Any, Callable[[dict[Any, Any]], Message]] = {
    "cmd": _parse_call,
    "functype": _parse_functype,
    "return": lambda raw: Return(raw["return"], _cid(raw)),
    "yield": _parse_item,
    "started": lambda raw: Started(raw["started"], _cid(raw)),
    "stop": _parse_stop,
    "credit": _parse_credit,
    "error": _parse_error,
}
