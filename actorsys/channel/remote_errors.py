"""Exceptions to messages and back.

What travels is text and, where they can travel, the exception's ``args`` and attributes; causes,
contexts, notes and the members of groups come along. What arrives is an instance of a class made
here, from tables of this process: the peer's words choose among them and nothing else. Text from
a peer is cut, and control characters are escaped, before anybody's terminal sees it.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import traceback
import types
from collections.abc import Callable
from typing import Any

from .. import errors as own_errors
from ..errors import ActorsysError, ContextCancelled, RemoteActorError, Uid
from ..limits import Limits
from ..wire import TYPES, canonical_module, cut
from ..wire.typetable import CHILD_MAIN_MODULE, MAIN_MODULE

Measure = Callable[[Any], "int | None"]
"""Tells how many bytes a value takes on the wire, or None when it cannot travel."""

_OWN_MODULE = own_errors.__name__
# Raised here, these would mean something to Python itself and not to `except` clauses.
_NOT_IMITATED = (StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit)
_PACKAGE_FOLDER = os.path.dirname(own_errors.__file__) + os.sep
_RESERVED = frozenset(dir(RemoteActorError))
CANCELLED_KEY = "cancelled"
"""Set in the error of a call that was itself cancelled, which is not an error of its function."""


# --- packing --------------------------------------------------------------------------------


def pack_error(
    error: BaseException, own_uid: Uid, limits: Limits, measure: Measure
) -> dict[str, Any]:
    """Return *error*, raised in the actor *own_uid*, as the map of an error message."""
    return _Packer(own_uid, limits, measure).pack(error, 0)


class _Packer:
    def __init__(self, own_uid: Uid, limits: Limits, measure: Measure) -> None:
        self._own_uid = own_uid
        self._limits = limits
        self._measure = measure
        self._nodes_left = limits.max_error_nodes
        self._bytes_left = limits.max_error_values_bytes
        self._seen: set[int] = set()

    def pack(self, error: BaseException, depth: int) -> dict[str, Any]:
        self._nodes_left -= 1
        self._seen.add(id(error))
        limits = self._limits
        fields: dict[str, Any] = {
            "type_str": _type_name(error),
            "base_str": _builtin_name(error),
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
        args = _args_of(error)
        if args is not None and self._has_bytes_for(args):
            fields["args"] = args
        state = {
            name: value
            for name, value in vars(error).items()
            if not name.startswith("_") and name not in _RESERVED
        }
        state = {name: value for name, value in state.items() if self._has_bytes_for(value)}
        if state:
            fields["state"] = state

    def _has_bytes_for(self, value: Any) -> bool:
        size = self._measure(value)
        if size is None or size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True

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
            here = "".join(traceback.format_tb(_without_own_frames(error.__traceback__)))
            return f"{error.tb_str}\nRelayed by actor {self._own_uid[0]!r}:\n{here}"
        try:
            tb = _without_own_frames(error.__traceback__)
            text = "".join(traceback.format_exception(type(error), error, tb))
            return text.replace(CHILD_MAIN_MODULE, MAIN_MODULE)
        except Exception as broken:
            # An error with odd fields may be one that the standard library cannot print.
            return f"{_type_name(error)}: <printing it raised {type(broken).__name__}>"


def _without_own_frames(tb: types.TracebackType | None) -> types.TracebackType | None:
    """Drop the frames of this package from the top: the function that was called comes first."""
    first = tb
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_PACKAGE_FOLDER):
        first = first.tb_next
    return first or tb


def _type_name(error: BaseException) -> str:
    if isinstance(error, RemoteActorError):
        return error.type_str
    cls = type(error)
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{canonical_module(cls.__module__)}:{cls.__qualname__}"


def _builtin_name(error: BaseException) -> str:
    """Return the name of the nearest builtin class of *error*."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins")


def _args_of(error: BaseException) -> list[Any] | None:
    if isinstance(error, BaseExceptionGroup):
        return None
    if isinstance(error, OSError) and not isinstance(error, ActorsysError):
        # The file name is not among its args, but it is among what builds it again.
        rebuilt = error.__reduce__()[1]
        return list(rebuilt) if isinstance(rebuilt, tuple) else list(error.args)
    return list(error.args)


def _own_notes(error: BaseException) -> list[str]:
    """Return the notes of *error*, without the one that was added on its arrival here."""
    notes = getattr(error, "__notes__", None)
    if not isinstance(notes, (list, tuple)):
        return []
    arrival = getattr(error, "_provenance", None)
    return [note for note in notes if isinstance(note, str) and note is not arrival]


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"<str() of this error raised {type(broken).__name__}>"


def pack_cancelled(
    canceller: Uid, reason: str, own_uid: Uid, limits: Limits, measure: Measure
) -> dict[str, Any]:
    """Return the error of a call that *canceller* has cancelled."""
    error = ContextCancelled(reason, canceller=canceller)
    fields = pack_error(error, own_uid, limits, measure)
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
        error = self._build(fields, depth)
        error.__cause__ = self._relative(fields.get("cause"), depth)
        error.__context__ = self._relative(fields.get("context"), depth)
        error.__suppress_context__ = error.__context__ is None
        return error

    def _build(self, fields: dict[Any, Any], depth: int) -> BaseException:
        message = self._text(fields, "message")
        state = fields.get("state")
        state = self._clean(state) if type(state) is dict else {}
        if fields.get(CANCELLED_KEY) is True:
            return ContextCancelled(message, canceller=_uid(state.get("canceller")))
        members = self._members(fields.get("group"), depth)
        type_str, base_str = self._text(fields, "type_str"), self._text(fields, "base_str")
        cls = _class_for(type_str, base_str, is_group=bool(members))
        args = fields.get("args")
        args = list(self._clean(dict(enumerate(args))).values()) if type(args) is list else None
        error = _instantiate(cls, message, [message] if args is None else args, members)
        _set_state(error, state)
        self._describe(error, fields)
        return error

    def _clean(self, values: dict[Any, Any]) -> dict[Any, Any]:
        """Make the strings among *values* fit to be shown."""
        max_chars = self._limits.max_text_chars
        return {
            name: cut(value, max_chars) if type(value) is str else value
            for name, value in values.items()
        }

    def _members(self, group: Any, depth: int) -> list[Exception]:
        if type(group) is not list:
            return []
        members = [self._relative(member, depth) for member in group]
        return [member for member in members if isinstance(member, Exception)]

    def _relative(self, fields: Any, depth: int) -> BaseException | None:
        has_room = self._nodes_left > 0 and depth < self._limits.max_error_depth
        return self.unpack(fields, depth + 1) if type(fields) is dict and has_room else None

    def _describe(self, error: RemoteActorError, fields: dict[Any, Any]) -> None:
        limits = self._limits
        tb_str, path, notes = fields.get("tb_str"), fields.get("relay_path"), fields.get("notes")
        uids = [_uid(uid) for uid in path[:64]] if type(path) is list else []
        texts = [note for note in notes[:16] if type(note) is str] if type(notes) is list else []
        description = {
            "message": self._text(fields, "message"),
            "type_str": self._text(fields, "type_str"),
            "tb_str": cut(tb_str, limits.max_traceback_chars) if type(tb_str) is str else "",
            "src_uid": _uid(fields.get("src_uid")) or ("", ""),
            "relay_path": tuple(uid for uid in uids if uid),
            "notes": tuple(cut(note, limits.max_text_chars) for note in texts),
        }
        for name, value in description.items():
            # Not setattr: a registered class may refuse it, as a frozen dataclass does.
            vars(error)[name] = value
        provenance = _provenance(error)
        vars(error).update(_provenance=provenance, __notes__=[*error.notes, provenance])

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


def _set_state(error: RemoteActorError, state: dict[Any, Any]) -> None:
    """Set attributes, but none that the builtin class behind *error* has itself."""
    cls, builtin = type(error), _builtin_base(type(error))
    for name, value in state.items():
        if type(name) is not str or name.startswith("_") or name in _RESERVED:
            continue
        if not (hasattr(builtin, name) or callable(getattr(cls, name, None))):
            # Not setattr: it would run code of a registered class.
            vars(error)[name] = value


def _builtin_base(cls: type) -> type[BaseException]:
    """Return the class in the standard library whose memory layout instances of *cls* have."""
    bases = [base for base in cls.__mro__ if base.__module__ == "builtins"]
    return next(base for base in bases if issubclass(base, BaseException))


def _instantiate(
    cls: type[RemoteActorError], message: str, args: list[Any], members: list[Exception]
) -> RemoteActorError:
    """Make an instance of *cls*; no code of a registered class runs."""
    if members:
        return cls.__new__(cls, message or "remote errors", members)
    builtin = _builtin_base(cls)
    if _fits(builtin, args):
        with contextlib.suppress(Exception):  # values that this class does not take
            error = builtin.__new__(cls, *args)
            builtin.__init__(error, *args)
            return error
    error = Exception.__new__(cls) if builtin is MemoryError else builtin.__new__(cls)
    error.args = tuple(args)
    return error


def _fits(cls: type, args: list[Any]) -> bool:
    """Tell whether *args* are safe to build *cls* from.

    A SyntaxError takes anything for a position, and then cannot be printed.
    """
    if not issubclass(cls, SyntaxError) or len(args) < 2:
        return True
    place = args[1]
    if type(place) not in (list, tuple) or not 4 <= len(place) <= 6:
        return False
    wanted = (str, int, int, str, int, int)
    pairs = zip(place, wanted, strict=False)
    return all(value is None or type(value) is kind for value, kind in pairs)


_imitations: dict[type, type[RemoteActorError]] = {}
"""A cache: a class made once is the same class each time."""


def _imitation(base: type[BaseException]) -> type[RemoteActorError]:
    """Return the class that is both a `RemoteActorError` and a *base*."""
    if base not in _imitations:
        bases = (RemoteActorError,) if base is RemoteActorError else (RemoteActorError, base)
        body = {
            "__module__": "actorsys",
            "__init__": lambda self, *args, **kwargs: None,
            "__str__": RemoteActorError.__str__,
            "__repr__": RemoteActorError.__repr__,
        }
        _imitations[base] = type(f"RemoteActorError[{base.__name__}]", bases, body)
    return _imitations[base]


def _class_for(type_str: str, base_str: str, is_group: bool) -> type[RemoteActorError]:
    if is_group:
        return _imitation(ExceptionGroup)
    # A class that is not known here is at least the builtin one that it was made from.
    base = _base_for(type_str) or _base_for(base_str.rpartition(":")[2])
    if base is None or issubclass(base, (*_NOT_IMITATED, BaseExceptionGroup, RemoteActorError)):
        return _imitation(RemoteActorError)
    with contextlib.suppress(TypeError):  # instances of two bases may be laid out differently
        return _imitation(base)
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
