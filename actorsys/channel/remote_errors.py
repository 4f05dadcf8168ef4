"""Exceptions to messages and back.

What travels is text and, where they can travel, the exception's ``args`` and attributes; causes,
contexts, notes and the members of groups come along. What arrives is an instance of a class made
here, from tables of this process: the peer's words choose among them and nothing else. Text from
a peer is cut, and control characters are escaped, before anybody's terminal sees it.
"""

from __future__ import annotations

import builtins
import contextlib
import traceback
from collections.abc import Callable
from typing import Any

from .. import errors as own_errors
from ..errors import ActorsysError, ContextCancelled, RemoteActorError, Uid
from ..limits import Limits
from ..wire import TYPES, canonical_module

CanTravel = Callable[[Any], bool]
_OWN_MODULE = own_errors.__name__
_CUT = "\n... cut ...\n"
# Raised here, these would mean something to Python itself and not to `except` clauses.
_NOT_IMITATED = (StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit)
_RESERVED = frozenset(dir(RemoteActorError))
CANCELLED_KEY = "cancelled"
"""Set in the error of a call that was itself cancelled, which is not an error of its function."""


# --- packing --------------------------------------------------------------------------------


def pack_error(
    error: BaseException, own_uid: Uid, limits: Limits, can_travel: CanTravel
) -> dict[str, Any]:
    """Return *error*, raised in the actor *own_uid*, as the map of an error message."""
    return _Packer(own_uid, limits, can_travel).pack(error, 0)


class _Packer:
    def __init__(self, own_uid: Uid, limits: Limits, can_travel: CanTravel) -> None:
        self._own_uid = own_uid
        self._limits = limits
        self._can_travel = can_travel
        self._nodes_left = limits.max_error_nodes
        self._seen: set[int] = set()

    def pack(self, error: BaseException, depth: int) -> dict[str, Any]:
        self._nodes_left -= 1
        self._seen.add(id(error))
        limits = self._limits
        fields: dict[str, Any] = {
            "type_str": _type_name(error),
            "message": cut(_safe_str(error), limits.max_text_chars),
            "tb_str": cut(self._traceback_text(error), limits.max_traceback_chars),
            "notes": [cut(note, limits.max_text_chars) for note in _own_notes(error)[:16]],
            "src_uid": list(self._own_uid),
            "relay_path": [list(self._own_uid)],
        }
        if isinstance(error, RemoteActorError):
            fields["src_uid"] = list(error.src_uid)
            fields["relay_path"] = [*map(list, error.relay_path), list(self._own_uid)][:64]
        self._pack_state(error, fields)
        self._pack_relatives(error, fields, depth)
        return fields

    def _pack_state(self, error: BaseException, fields: dict[str, Any]) -> None:
        """Add what a class needs beyond its message, if it can travel."""
        args = [] if isinstance(error, BaseExceptionGroup) else list(error.args)
        if args and self._can_travel(args):
            fields["args"] = args
        state = {
            name: value
            for name, value in vars(error).items()
            if not name.startswith("_") and name not in _RESERVED
        }
        if state and self._can_travel(state):
            fields["state"] = state

    def _pack_relatives(self, error: BaseException, fields: dict[str, Any], depth: int) -> None:
        """Add the cause, the context and the members of a group, while there is room."""
        cause = error.__cause__
        context = None if error.__suppress_context__ else error.__context__
        for name, relative in (("cause", cause), ("context", context)):
            if relative is not None and self._has_room_for(relative, depth):
                fields[name] = self.pack(relative, depth + 1)
        if isinstance(error, BaseExceptionGroup):
            members = error.exceptions
            fields["message"] = cut(error.message, self._limits.max_text_chars)
            fields["group"] = [
                self.pack(member, depth + 1)
                for member in members
                if self._has_room_for(member, depth)
            ]

    def _has_room_for(self, error: BaseException, depth: int) -> bool:
        fits = self._nodes_left > 0 and depth < self._limits.max_error_depth
        return fits and id(error) not in self._seen

    def _traceback_text(self, error: BaseException) -> str:
        if isinstance(error, RemoteActorError):
            here = "".join(traceback.format_tb(error.__traceback__))
            return f"{error.tb_str}\nRelayed by actor {self._own_uid[0]!r}:\n{here}"
        return "".join(traceback.format_exception(error))


def _type_name(error: BaseException) -> str:
    if isinstance(error, RemoteActorError):
        return error.type_str
    cls = type(error)
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{canonical_module(cls.__module__)}:{cls.__qualname__}"


def _own_notes(error: BaseException) -> list[str]:
    if isinstance(error, RemoteActorError):
        return list(error.notes)
    return [str(note) for note in getattr(error, "__notes__", ())]


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"<str() of this error raised {type(broken).__name__}>"


def cut(text: str, max_chars: int) -> str:
    """Return *text* with its middle cut and its control characters escaped."""
    if len(text) > max_chars:
        half = (max_chars - len(_CUT)) // 2
        text = text[:half] + _CUT + text[-half:]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def pack_cancelled(
    canceller: Uid, reason: str, own_uid: Uid, limits: Limits, can_travel: CanTravel
) -> dict[str, Any]:
    """Return the error of a call that *canceller* has cancelled."""
    error = ContextCancelled(reason, canceller=canceller)
    fields = pack_error(error, own_uid, limits, can_travel)
    fields[CANCELLED_KEY] = True
    return fields


# --- unpacking ------------------------------------------------------------------------------


def unpack_error(fields: dict[Any, Any], limits: Limits) -> BaseException:
    """Return the exception in an error message: a `RemoteActorError`, or a `ContextCancelled`.

    It never fails: what a hostile peer leaves out or distorts is taken as empty.
    """
    return _Unpacker(limits).unpack(fields, 0)


class _Unpacker:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes_left = limits.max_error_nodes

    def unpack(self, fields: dict[Any, Any], depth: int) -> BaseException:
        self._nodes_left -= 1
        error: BaseException = self._build(fields, depth)
        if isinstance(error, RemoteActorError):
            self._describe(error, fields)
        error.__cause__ = self._relative(fields.get("cause"), depth)
        context = self._relative(fields.get("context"), depth)
        if context is not None:
            error.__context__ = context
        return error

    def _build(self, fields: dict[Any, Any], depth: int) -> Any:
        type_str, message = self._text(fields, "type_str"), self._text(fields, "message")
        state = fields.get("state")
        state = state if type(state) is dict else {}
        if fields.get(CANCELLED_KEY) is True:
            return ContextCancelled(message, canceller=_uid(state.get("canceller")))
        members = self._members(fields.get("group"), depth)
        cls = _class_for(type_str, is_group=bool(members))
        args = fields.get("args")
        error = _instantiate(cls, message, args if type(args) is list else [message], members)
        for name, value in state.items():
            if type(name) is str and not name.startswith("_") and name not in _RESERVED:
                with contextlib.suppress(AttributeError, TypeError):  # a property without setter
                    setattr(error, name, value)
        return error

    def _members(self, group: Any, depth: int) -> list[Exception]:
        if type(group) is not list:
            return []
        members = [self._relative(member, depth) for member in group]
        return [member for member in members if isinstance(member, Exception)]

    def _relative(self, fields: Any, depth: int) -> BaseException | None:
        has_room = self._nodes_left > 0 and depth < self._limits.max_error_depth
        return self.unpack(fields, depth + 1) if type(fields) is dict and has_room else None

    def _describe(self, error: RemoteActorError, fields: dict[Any, Any]) -> None:
        error.message = self._text(fields, "message")
        error.type_str = self._text(fields, "type_str")
        tb_str = fields.get("tb_str")
        error.tb_str = cut(tb_str, self._limits.max_traceback_chars) if type(tb_str) is str else ""
        error.src_uid = _uid(fields.get("src_uid")) or ("", "")
        path, notes = fields.get("relay_path"), fields.get("notes")
        uids = [_uid(uid) for uid in path[:64]] if type(path) is list else []
        error.relay_path = tuple(uid for uid in uids if uid)
        texts = [note for note in notes[:16] if type(note) is str] if type(notes) is list else []
        error.notes = tuple(cut(note, self._limits.max_text_chars) for note in texts)
        for note in error.notes:
            error.add_note(note)
        error.add_note(_provenance(error))

    def _text(self, fields: dict[Any, Any], name: str) -> str:
        text = fields.get(name)
        return cut(text, self._limits.max_text_chars) if type(text) is str else ""


def _provenance(error: RemoteActorError) -> str:
    """Return the note that a traceback printed here ends with."""
    path = " -> ".join(name for name, _ in error.relay_path)
    lines = error.tb_str.rstrip().splitlines()
    remote = "\n".join(f"  | {line}" for line in lines)
    return f"raised in actor {error.src_uid[0]!r} (path: {path})\n{remote}"


def _uid(raw: Any) -> Uid | None:
    if type(raw) not in (list, tuple) or len(raw) != 2:
        return None
    name, unique = raw
    if type(name) is not str or type(unique) is not str:
        return None
    return cut(name, 128), cut(unique, 128)


def _instantiate(
    cls: type[RemoteActorError], message: str, args: list[Any], members: list[Exception]
) -> RemoteActorError:
    if members:
        return cls.__new__(cls, message or "remote errors", members)
    base = cls.__bases__[-1]
    try:
        error = cls.__new__(cls, *args)
        if base.__module__ == "builtins":
            base.__init__(error, *args)  # type: ignore[misc]
    except Exception:
        # The args of this class mean something that these values do not fit.
        error = cls.__new__(cls)
    error.args = tuple(args)
    return error


_imitations: dict[type, type[RemoteActorError]] = {}
"""A cache: a class made once is the same class each time."""


def _imitation(base: type[BaseException]) -> type[RemoteActorError]:
    """Return the class that is both a `RemoteActorError` and a *base*."""
    if base not in _imitations:
        bases = (RemoteActorError,) if base is RemoteActorError else (RemoteActorError, base)
        body = {"__module__": "actorsys", "__init__": lambda self, *args, **kwargs: None}
        _imitations[base] = type(f"RemoteActorError[{base.__name__}]", bases, body)
    return _imitations[base]


def _class_for(type_str: str, is_group: bool) -> type[RemoteActorError]:
    if is_group:
        return _imitation(ExceptionGroup)
    base = _base_for(type_str)
    if base is None or issubclass(base, (*_NOT_IMITATED, BaseExceptionGroup, RemoteActorError)):
        return _imitation(RemoteActorError)
    try:
        return _imitation(base)
    except TypeError:
        # Two base classes whose instances are laid out differently cannot be joined.
        return _imitation(RemoteActorError)


def _base_for(type_str: str) -> type[BaseException] | None:
    """Look *type_str* up among the builtins, our own errors and the registered ones."""
    module, colon, name = type_str.rpartition(":")
    if not colon:
        found = vars(builtins).get(name)
    elif module == _OWN_MODULE:
        found = vars(own_errors).get(name)
        found = found if isinstance(found, type) and issubclass(found, ActorsysError) else None
    else:
        found = TYPES.errors.get(type_str)
    return found if isinstance(found, type) and issubclass(found, Exception) else None
