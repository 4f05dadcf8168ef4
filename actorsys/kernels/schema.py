"""How the fields of a message class travel: as its annotations say.

A field annotated with a plain type is passed to msgpack as it is. The others are written as plain
values as well, which the annotation turns back on arrival: a UUID as 16 bytes, a datetime as ISO
text, a tuple as an array, a nested message as a map. What no annotation tells, as in a field of
type ``Any``, travels with its type, as any value in a call does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import types
import typing
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple, Union
from uuid import UUID

from ..errors import EncodeError, RemoteProtocolError
from .uuids import UUID_BYTES, uuid_of

TAG_KEY = "@"
VERSION_KEY = "@version"
FIRST_VERSION = 1

_new = object.__new__
_set_attribute = object.__setattr__  # messages refuse to be changed in any other way

Convert = Callable[[Any], Any]
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


_NO_VALUE: Any = object()


class Form(NamedTuple):
    """How values of one annotated type are written, and how they are read back.

    ``unchanged`` is a value that travels as it is: None, where the type says that it may be.
    """

    write: Convert
    read: Convert
    unchanged: Any = _NO_VALUE


class Schema:
    """The fields of one message class, and how they travel. The class itself owns it."""

    def __init__(self, cls: type, tag: str, version: int) -> None:
        self.tag = tag
        self.version = version
        self._cls = cls
        self._upgrades: dict[int, Upgrade] = {}
        self._fields = dataclasses.fields(cls)
        self._names = [field.name for field in self._fields]
        self._get_all = attrgetter(*self._names)
        self._name_set = frozenset(self._names)
        self._has_slots = any("__slots__" in vars(base) for base in cls.__mro__[1:-1])
        self._forms: list[tuple[str, Convert, Convert, Any]] | None = None

    def __repr__(self) -> str:
        return f"<Schema of {self.tag}: {', '.join(self._names)}>"

    def add_upgrade(self, from_version: int, upgrade: Upgrade) -> None:
        """Let *upgrade* turn the fields of *from_version* into those of the next version.

        Raises:
          ValueError: there is no such earlier version, or it has its upgrade already.
        """
        if not FIRST_VERSION <= from_version < self.version:
            raise ValueError(
                f"{self.tag} has version {self.version}; there is no upgrade from {from_version!r}"
            )
        if from_version in self._upgrades:
            raise ValueError(f"{self.tag} has an upgrade from version {from_version} already")
        self._upgrades[from_version] = upgrade

    # --- writing -------------------------------------------------------------------------

    def write(self, message: Any) -> dict[str, Any]:
        """Return the fields of *message* as they travel.

        Raises:
          EncodeError: a value is not what its annotation says; it is named.
        """
        # Both paths of a message work on plain dicts, in as few steps as there can be.
        fields = self._fields_of(message) if self._has_slots else message.__dict__.copy()
        if len(fields) != len(self._names):
            fields = self._fields_of(message)
        name = ""
        try:
            for name, write, _, unchanged in self._forms or self.forms:
                value = fields[name]
                if value is not unchanged:
                    fields[name] = write(value)
        except EncodeError as error:
            raise self.name_field(name, error) from None
        except (KeyError, ValueError) as error:
            raise self.name_field(name, EncodeError(str(error))) from None
        except RecursionError:
            raise self.name_field(name, EncodeError("messages nest too deeply")) from None
        if self.version != FIRST_VERSION:
            fields[VERSION_KEY] = self.version
        return fields

    def _fields_of(self, message: Any) -> dict[str, Any]:
        """Return the fields of *message*, without what else its attributes hold."""
        try:
            return dict(zip(self._names, self._get_all(message), strict=True))
        except AttributeError as error:
            raise EncodeError(f"an instance of {self.tag} lacks a field: {error}") from None

    def name_field(self, name: str, error: EncodeError) -> EncodeError:
        """Return *error* with the field that it is about; the innermost one stays named."""
        if error.field is not None:
            return error
        named = EncodeError(f"field {name!r} of {self.tag}: {error}")
        named.field = name
        return named

    # --- reading -------------------------------------------------------------------------

    def read(self, fields: dict[Any, Any]) -> Any:
        """Return the message of *fields*, as they have arrived; no code of its class runs.

        Unknown fields are ignored, missing ones get their defaults.

        Raises:
          ValueError: a field is missing that has no default, or is not what it should be.
        """
        version = fields.pop(VERSION_KEY, FIRST_VERSION)
        if version != self.version:
            fields = self._upgraded(fields, version)
        if [*fields] != self._names and fields.keys() != self._name_set:
            fields = self._completed(fields)
        for name, _, read, unchanged in self._forms or self.forms:
            value = fields[name]
            if value is not unchanged:
                fields[name] = read(value)
        made: Any = _new(self._cls)
        if not self._has_slots:
            _set_attribute(made, "__dict__", fields)
            return made
        for name, value in fields.items():
            _set_attribute(made, name, value)
        return made

    def _upgraded(self, fields: dict[str, Any], version: object) -> dict[str, Any]:
        """Bring the fields of an earlier version up to date, one version after the other."""
        if isinstance(version, int):
            for step in range(version, self.version):
                upgrade = self._upgrades.get(step)
                if upgrade is not None:
                    fields = upgrade(fields)
        return fields

    def _completed(self, fields: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for field in self._fields:
            if field.name in fields:
                found[field.name] = fields[field.name]
            elif field.default is not dataclasses.MISSING:
                found[field.name] = self._written(field.name, field.default)
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = self._written(field.name, field.default_factory())
            else:
                raise ValueError(f"{self.tag} arrived without its field {field.name!r}")
        return found

    def _written(self, name: str, default: Any) -> Any:
        """Return *default* as if it had arrived."""
        for formed, write, _, unchanged in self.forms:
            if formed == name and default is not unchanged:
                return write(default)
        return default

    # --- forms ---------------------------------------------------------------------------

    @property
    def forms(self) -> list[tuple[str, Convert, Convert, Any]]:
        """The fields that are not passed on as they are: each its name, and what its form says.

        They are found at the first use: only then all classes that annotations name exist.
        """
        if self._forms is None:
            hints = _hints_of(self._cls)
            found = [(name, form_of(hints.get(name, Any))) for name in self._names]
            self._forms = [(name, *form) for name, form in found if form is not None]
        return self._forms


def _hints_of(cls: type) -> Mapping[str, Any]:
    """Return the annotations of *cls*; where they cannot be resolved, those that are no text.

    A class inside a function may be annotated with another one in there, which nobody else finds.
    """
    with contextlib.suppress(NameError, TypeError):
        return typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get("__annotations__", {}))
    return {name: hint for name, hint in found.items() if not isinstance(hint, str)}


# --- annotations ----------------------------------------------------------------------------


def form_of(hint: Any) -> Form | None:
    """Return how values annotated with *hint* travel; None if they are passed on as they are."""
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _form_of_class(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if not args:  # such as typing.List without brackets
        return _form_of_class(origin) if origin is not None else None
    if origin in (Union, types.UnionType):
        return _form_of_optional(args)
    if origin is tuple:
        return _form_of_tuple(args)
    if origin is list:
        return _form_of_list(args)
    if origin is dict:
        return _form_of_dict(args)
    return None


def _form_of_class(cls: type) -> Form | None:
    if cls is tuple:
        return _form_of_tuple((Any, ...))
    if issubclass(cls, UUID):
        return Form(_write_uuid, uuid_of)
    if issubclass(cls, datetime.datetime):
        return Form(_write_datetime, _read_datetime)
    if hasattr(cls, SCHEMA_ATTRIBUTE):
        return _form_of_message(cls)
    return None


SCHEMA_ATTRIBUTE = "__message_schema__"


def schema_of(cls: type) -> Schema | None:
    """Return the schema of a message class, or None if it is none, but only derived from one."""
    return cls.__dict__.get(SCHEMA_ATTRIBUTE)


def _write_uuid(value: Any) -> bytes:
    if type(value) is not UUID:
        raise _unfitting("UUID", value)
    return value.int.to_bytes(UUID_BYTES, "big")  # as its property does, in a call less


def _write_datetime(value: Any) -> str:
    if type(value) is not datetime.datetime:
        raise _unfitting("datetime", value)
    return value.isoformat()


def _read_datetime(value: Any) -> datetime.datetime:
    return datetime.datetime.fromisoformat(value)


def _form_of_message(cls: type) -> Form:
    def write(value: Any) -> dict[str, Any]:
        schema = schema_of(type(value))
        if schema is None or not isinstance(value, cls):
            raise _unfitting(cls.__qualname__, value)
        return {TAG_KEY: schema.tag, **schema.write(value)}

    def read(value: Any) -> Any:
        return read_tagged(value, cls)

    return Form(write, read)


def read_tagged(fields: Any, cls: type) -> Any:
    """Return the message in a map that names its class, which is *cls* or one derived from it.

    Raises:
      RemoteProtocolError: it is no such map.
    """
    tag = fields.pop(TAG_KEY, None) if type(fields) is dict else None
    for candidate in (cls, *_subclasses_of(cls)):
        schema = schema_of(candidate)
        if schema is not None and schema.tag == tag:
            return schema.read(fields)
    raise RemoteProtocolError(f"expected a message of class {cls.__qualname__}, not {tag!r}")


def _subclasses_of(cls: type) -> list[type]:
    found: list[type] = cls.__subclasses__()
    return found + [deeper for one in found for deeper in _subclasses_of(one)]


def _form_of_optional(args: tuple[Any, ...]) -> Form | None:
    """Return the form of a type that may be None as well; other unions carry their types."""
    rest = [arg for arg in args if arg is not types.NoneType]
    form = form_of(rest[0]) if len(rest) == 1 else None
    if form is None:
        return None
    return Form(form.write, form.read, unchanged=None)


def _in_one_step(form: Form) -> tuple[Convert, Convert]:
    """Return how to write and to read any value of *form*, also the one that does not change."""
    write, read, unchanged = form
    if unchanged is _NO_VALUE:
        return write, read
    return (
        lambda value: value if value is unchanged else write(value),
        lambda value: value if value is unchanged else read(value),
    )


def _form_of_tuple(args: tuple[Any, ...]) -> Form:
    if len(args) == 2 and args[1] is Ellipsis:
        inner = form_of(args[0])
        if inner is None:
            return Form(_write_tuple, tuple)
        write, read = _in_one_step(inner)
        return Form(
            lambda value: [write(item) for item in _write_tuple(value)],
            lambda value: tuple([read(item) for item in value]),
        )
    if any(typing.get_origin(arg) is typing.Unpack for arg in args) or any(
        getattr(arg, "__unpacked__", False) for arg in args
    ):
        return Form(_write_tuple, tuple)
    forms = [_in_one_step(form_of(arg) or _AS_IT_IS) for arg in args]

    def check(value: Any) -> Any:
        if len(value) != len(forms):
            raise EncodeError(f"it is annotated with {len(forms)} members, and holds {len(value)}")
        return value

    return Form(
        lambda value: [w(v) for (w, _), v in zip(forms, check(_write_tuple(value)), strict=True)],
        lambda value: tuple([r(v) for (_, r), v in zip(forms, value, strict=True)]),
    )


_AS_IT_IS = Form(lambda value: value, lambda value: value)


def _write_tuple(value: Any) -> list[Any]:
    if not isinstance(value, (tuple, list)):
        raise _unfitting("tuple", value)
    return list(value)


def _form_of_list(args: tuple[Any, ...]) -> Form | None:
    inner = form_of(args[0])
    if inner is None:
        return None
    write, read = _in_one_step(inner)

    def write_list(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise _unfitting("list", value)
        return [write(item) for item in value]

    return Form(write_list, lambda value: [read(item) for item in value])


def _form_of_dict(args: tuple[Any, ...]) -> Form | None:
    key_hint, value_hint = args
    # A tuple that travels as an array could not be a key; with its type it can.
    hints = (key_hint, *typing.get_args(key_hint))
    is_tuple = any(tuple in (hint, typing.get_origin(hint)) for hint in hints)
    key_form, value_form = None if is_tuple else form_of(key_hint), form_of(value_hint)
    if key_form is None and value_form is None:
        return None
    write_key, read_key = _in_one_step(key_form or _AS_IT_IS)
    write_value, read_value = _in_one_step(value_form or _AS_IT_IS)

    def write(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _unfitting("dict", value)
        return {write_key(k): write_value(v) for k, v in value.items()}

    return Form(write, lambda value: {read_key(k): read_value(v) for k, v in value.items()})


def _unfitting(expected: str, value: object) -> EncodeError:
    return EncodeError(f"it is annotated as {expected}, and holds a {type(value).__qualname__}")
