"""`@message`: typed, immutable values with an identity, a priority and a correlation."""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
import types
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, dataclass_transform, overload

from ..errors import RemoteProtocolError
from ..wire import TYPES
from ..wire.typetable import tag_of
from .packing import decode_message, encode_message
from .schema import FIRST_VERSION, SCHEMA_ATTRIBUTE, Schema, Upgrade, schema_of
from .sealing import delete_while_open, is_own, sealing_init, set_while_open
from .uuids import new_uuid

T = TypeVar("T")


class Priority(enum.IntEnum):
    """Named levels; every whole number from 0 to 255 is a priority, and higher comes first."""

    LOW = 32
    BELOW_NORMAL = 96
    NORMAL = 128
    ABOVE_NORMAL = 160
    HIGH = 224


if TYPE_CHECKING:

    @dataclass_transform(field_specifiers=(dataclasses.field,))
    class _Fields(abc.ABCMeta):
        """Has type checkers take what `Message` declares for fields of what derives from it."""

else:
    _Fields = type


class Message(metaclass=_Fields):
    """What `@message` adds to a class, for type checkers, which do not see what a decorator adds.

    Deriving from it changes nothing else: neither fields nor methods come from here.
    """

    if TYPE_CHECKING:
        message_id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4, kw_only=True)
        priority: int = dataclasses.field(default=128, kw_only=True)
        correlation_id: uuid.UUID | None = dataclasses.field(default=None, kw_only=True)

        def replace(self, **changes: Any) -> Self:
            """Return a copy with some fields changed; it keeps its ``message_id``."""

        def reply(self, response_class: Callable[..., T], /, *args: Any, **fields: Any) -> T:
            """Return a response to this message: correlated with it, and of its priority."""

        def serialize(self) -> bytes:
            """Return it as msgpack."""

        @classmethod
        def deserialize(cls, data: bytes) -> Self:
            """Return the message of this class that `serialize` has made *data* of."""

        @classmethod
        def upgrade(cls, *, from_version: int) -> Callable[[Upgrade], Upgrade]:
            """Register a function that turns the fields of *from_version* into the next ones."""


@dataclasses.dataclass(kw_only=True)
class _Envelope:
    """The fields that every message has; a class that declares one itself keeps its own."""

    message_id: uuid.UUID = dataclasses.field(default_factory=new_uuid)
    priority: int = int(Priority.NORMAL)
    correlation_id: uuid.UUID | None = None


_ENVELOPE = {field.name: field for field in dataclasses.fields(_Envelope)}
_ENVELOPE_TYPES: dict[str, Any] = {
    "message_id": uuid.UUID,
    "priority": int,
    "correlation_id": uuid.UUID | None,
}


@overload
def message(cls: type[T], /) -> type[T]: ...
@overload
def message(*, version: int = FIRST_VERSION) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(field_specifiers=(dataclasses.field,))
def message(cls: type[Any] | None = None, /, *, version: int = FIRST_VERSION) -> Any:
    """Make a class a message: above ``@dataclass``, or alone.

    It gets three keyword-only fields, unless it declares them itself: ``message_id``, a new UUID;
    ``priority``, 0 to 255, 128 by default; ``correlation_id``, None. Instances cannot be changed.
    The class is registered, so its instances travel wherever a value does. Type checkers know
    what is added if it derives from `Message`.

    *version* counts the changes of its fields. Unknown fields are ignored and missing ones get
    their defaults; what that does not solve, ``@cls.upgrade(from_version=...)`` does.

    Raises:
      TypeError: another class with the same module and name is a message already.
      ValueError: *version* is no number above 0.
    """
    if cls is None:
        return functools.partial(_make_message, version=version)
    return _make_message(cls, version)


def _make_message(cls: type[Any], version: int) -> type[Any]:
    if not isinstance(cls, type) or issubclass(cls, (enum.Enum, tuple)):
        raise TypeError(f"@message is for classes that can be dataclasses, not {cls!r}")
    if type(version) is not int or version < FIRST_VERSION:
        raise ValueError(f"a version is a whole number from {FIRST_VERSION}, not {version!r}")
    if is_own(cls, "__init__"):
        raise TypeError(
            f"{cls.__qualname__} has an __init__ of its own, and @message makes one; use "
            f"__post_init__"
        )
    if "__dataclass_fields__" not in vars(cls):
        cls = dataclasses.dataclass(cls)
    elif not cls.__dataclass_params__.init:
        raise TypeError(f"{cls.__qualname__} is a dataclass with init=False; @message needs one")
    made = _with_envelope(cls)
    _add_methods(made, cls)
    schema = Schema(made, tag_of(made), version)
    setattr(made, SCHEMA_ATTRIBUTE, schema)
    TYPES.add_value(made, schema)
    return made


def _with_envelope(cls: type[Any]) -> type[Any]:
    """Return a class like *cls* that has the fields of the envelope as well.

    It is derived: making the same class a dataclass twice would keep its first ``__init__``.
    """
    declared = {field.name for field in dataclasses.fields(cls)}
    added = [name for name in _ENVELOPE if name not in declared]
    namespace: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__annotations__": {name: _ENVELOPE_TYPES[name] for name in added},
    }
    for name in added:
        template = _ENVELOPE[name]
        namespace[name] = dataclasses.field(
            default=template.default, default_factory=template.default_factory, kw_only=True
        )
    parameters = getattr(cls, "__parameters__", ())
    base = cls[parameters] if parameters else cls
    made = types.new_class(cls.__name__, (base,), exec_body=lambda body: body.update(namespace))
    params = cls.__dataclass_params__
    decorate = dataclasses.dataclass(
        frozen=params.frozen,
        eq=params.eq and not is_own(cls, "__eq__"),
        order=params.order,
        repr=params.repr and not is_own(cls, "__repr__"),
    )
    return decorate(made)


def _add_methods(made: type[Any], original: type[Any]) -> None:
    """Give *made* the methods of a message, where *original* has no fields of these names."""
    made.__init__ = sealing_init(made)
    own: dict[str, Any] = {"__setattr__": set_while_open, "__delattr__": delete_while_open}
    own["__reduce__"] = _reduce
    own["__hash__"] = original.__hash__ if is_own(original, "__hash__") else _hash
    for name, special in own.items():
        setattr(made, name, special)
    taken = {field.name for field in dataclasses.fields(made)} | vars(original).keys()
    methods = {
        "replace": _replace,
        "reply": _reply,
        "serialize": _serialize,
        "deserialize": classmethod(_deserialize),
        "upgrade": classmethod(_upgrade),
    }
    for name, method in methods.items():
        if name not in taken:
            setattr(made, name, method)


def _reduce(self: Any) -> tuple[Any, ...]:
    """Say how it is copied: field by field, since it cannot be changed afterwards."""
    fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    return _restored, (type(self), fields)


def _restored(cls: type[Any], fields: dict[str, Any]) -> Any:
    made = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _hash(self: Any) -> int:
    return hash(self.message_id)


# --- the methods ----------------------------------------------------------------------------


def _replace(self: Any, /, **changes: Any) -> Any:
    """Return a copy with some fields changed; it keeps its ``message_id``."""
    return dataclasses.replace(self, **changes)


def _reply(self: Any, response_class: Callable[..., Any], /, *args: Any, **fields: Any) -> Any:
    """Return a response to this message: correlated with it, and of its priority."""
    fields.setdefault("priority", self.priority)
    return response_class(*args, correlation_id=self.message_id, **fields)


def correlated(response: Any, request: Any) -> Any:
    """Return *response* as the one to *request*; a copy, field by field, if it is not that yet."""
    if response.correlation_id == request.message_id:
        return response
    fields = {field.name: getattr(response, field.name) for field in dataclasses.fields(response)}
    fields["correlation_id"] = request.message_id
    return _restored(type(response), fields)


def _serialize(self: Any) -> bytes:
    """Return it as msgpack: a map of its fields, and of the name of its class.

    Raises:
      EncodeError: a field cannot travel; class and field are named.
    """
    return encode_message(self)


def _deserialize(cls: Any, data: bytes) -> Any:
    """Return the message of this class that `serialize` has made *data* of.

    Raises:
      RemoteProtocolError: the bytes are none.
    """
    found = decode_message(bytes(data) if isinstance(data, memoryview) else data)
    if not isinstance(found, cls):
        raise RemoteProtocolError(f"these bytes are a {type(found).__qualname__}, no {cls!r}")
    return found


def _upgrade(cls: Any, *, from_version: int) -> Callable[[Upgrade], Upgrade]:
    """Register a function that turns the fields of *from_version* into those of the next one.

    It is given the fields by name, as they travel, and returns them.
    """

    def register(upgrade: Upgrade) -> Upgrade:
        schema = schema_of(cls)
        assert schema is not None
        schema.add_upgrade(from_version, upgrade)
        return upgrade

    return register
