"""The value table: what travels beyond msgpack's own types, one extension code each.

Codes are part of the protocol and never reused. 0 to 31 belong to this table; floors above fill
the rest through `Codec.add_extension`.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import pathlib
import struct
import sys
import uuid
from typing import TYPE_CHECKING, Any

from ..errors import EncodeError
from .typetable import TypeTable

if TYPE_CHECKING:
    from .codec import Codec

TUPLE = 1
SET = 2
FROZENSET = 3
COMPLEX = 4
BIG_INT = 5
UUID = 6
DATETIME = 7
PATH = 8
ENUM = 9
DATACLASS = 10
NUMPY_ARRAY = 11
NUMPY_SCALAR = 12
SEGMENT = 13

_MAX_DTYPE_CHARS = 32  # "<M8[1000000000ns]" has 17

_COMPLEX = struct.Struct("<dd")


class Undecodable:
    """Stands for a value that arrived whole but means nothing here; says why.

    It never reaches user code: the call or stream item that carries it fails with the reason.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Undecodable: {self.reason}>"


class Segment:
    """A large ``bytes`` that travels outside the packed body."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def install(codec: Codec, types: TypeTable) -> None:
    """Fill *codec* with the whole table."""
    _install_containers(codec)
    _install_scalars(codec)
    _install_registered(codec, types)
    _install_numpy(codec)
    codec.add_extension(
        SEGMENT,
        Segment,
        lambda value: codec.pack_nested(codec.add_segment(value.data)),
        lambda data: codec.copy_segment(codec.unpack_nested(data)),
    )


def _install_containers(codec: Codec) -> None:
    pack = codec.pack_nested

    def unpack(data: bytes) -> list[Any]:
        # Not whatever can be iterated over: an array of no bytes may have any number of rows.
        values: list[Any] = _checked(codec.unpack_nested(data), list)
        return values

    codec.add_extension(TUPLE, tuple, lambda v: pack(list(v)), lambda d: tuple(unpack(d)))
    codec.add_extension(SET, set, lambda v: pack(list(v)), lambda d: set(unpack(d)))
    codec.add_extension(
        FROZENSET, frozenset, lambda v: pack(list(v)), lambda d: frozenset(unpack(d))
    )


def _checked(value: Any, cls: type) -> Any:
    if type(value) is not cls:
        raise TypeError(f"{cls.__name__} expected, not {type(value).__name__}")
    return value


def _install_scalars(codec: Codec) -> None:
    add = codec.add_extension
    add(COMPLEX, complex, lambda v: _COMPLEX.pack(v.real, v.imag), _unpack_complex)
    add(BIG_INT, int, _pack_int, lambda d: int.from_bytes(d, "little", signed=True))
    add(UUID, uuid.UUID, lambda v: v.bytes, lambda d: uuid.UUID(bytes=d))
    add(DATETIME, datetime.datetime, _datetime_packer(codec), _datetime_unpacker(codec))
    add(PATH, type(pathlib.Path()), lambda v: bytes(v), _unpack_path)


def _unpack_complex(data: bytes) -> complex:
    return complex(*_COMPLEX.unpack(data))


def _pack_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _unpack_path(data: bytes) -> pathlib.Path:
    return pathlib.Path(data.decode(sys.getfilesystemencoding(), "surrogateescape"))


def _datetime_packer(codec: Codec) -> Any:
    def pack(value: datetime.datetime) -> bytes:
        zone = getattr(value.tzinfo, "key", None)
        return codec.pack_nested([value.isoformat(), zone, value.fold])

    return pack


def _datetime_unpacker(codec: Codec) -> Any:
    def unpack(data: bytes) -> datetime.datetime:
        text, zone, fold = codec.unpack_nested(data)
        value = datetime.datetime.fromisoformat(text)
        if zone is not None:
            # A zone key is a name in the time zone database; zoneinfo refuses paths.
            from zoneinfo import ZoneInfo

            value = value.replace(tzinfo=ZoneInfo(zone))
        return value.replace(fold=fold)

    return unpack


# --- dataclasses and enums ------------------------------------------------------------------


def _install_registered(codec: Codec, types: TypeTable) -> None:
    """Add the two codes whose types are looked up in the type table at each use."""

    def pack_enum(value: enum.Enum) -> bytes:
        # A combination of flags has no member of its own, only a number.
        key = value.value if isinstance(value, enum.Flag) else value.name
        return codec.pack_nested([types.tag_for(type(value)), key])

    def unpack_enum(data: bytes) -> Any:
        tag, name = codec.unpack_nested(data)
        cls = types.values.get(tag)
        if cls is None or not issubclass(cls, enum.Enum):
            return codec.undecodable(_unregistered(tag))
        if issubclass(cls, enum.Flag) and type(name) is int:
            return cls(name)
        member = cls.__members__.get(name)
        if member is None:
            return codec.undecodable(f"{tag} has no member {str(name)[:200]!r} in this process")
        return member

    def pack_dataclass(value: Any) -> bytes:
        tag = types.tag_for(type(value))
        form = types.forms.get(type(value))
        fields = _fields_of(value, tag) if form is None else form.write(value)
        try:
            return codec.pack_nested([tag, fields])
        except EncodeError as error:
            raise _name_field(codec, tag, fields, error) from None

    def unpack_dataclass(data: bytes) -> Any:
        tag, fields = codec.unpack_nested(data)
        cls = types.values.get(tag)
        if cls is None or not dataclasses.is_dataclass(cls):
            return codec.undecodable(_unregistered(tag))
        form = types.forms.get(cls)
        return _restore_dataclass(codec, cls, fields) if form is None else form.read(fields)

    codec.add_extension(ENUM, None, pack_enum, unpack_enum)
    codec.add_extension(DATACLASS, None, pack_dataclass, unpack_dataclass)


def _fields_of(value: Any, tag: str | None) -> dict[str, Any]:
    try:
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    except AttributeError as error:
        raise EncodeError(f"an instance of {tag} lacks a field: {error}") from None


def _name_field(
    codec: Codec, tag: str | None, fields: dict[str, Any], error: EncodeError
) -> EncodeError:
    """Find the field that cannot travel and return an error that names it.

    Only the innermost dataclass does so: looking again on each level would take twice as long
    with each.
    """
    if error.field is not None:
        return error
    for name, content in fields.items():
        try:
            codec.pack_nested(content)
        except EncodeError as reason:
            named = EncodeError(f"field {name!r} of {tag}: {reason}")
            named.field = name
            return named
    return error


def _unregistered(tag: object) -> str:
    return (
        f"{str(tag)[:200]} is not registered in the receiving process; call register_type "
        f"there, or pass types=[...] to start_actor"
    )


def _restore_dataclass(codec: Codec, cls: type, fields: dict[str, Any]) -> Any:
    """Build an instance from its fields without running any code of the class."""
    value: Any = object.__new__(cls)
    for field in dataclasses.fields(cls):
        if field.name in fields:
            content = fields[field.name]
        elif field.default is not dataclasses.MISSING:
            content = field.default
        elif field.default_factory is not dataclasses.MISSING:
            content = field.default_factory()
        else:
            return codec.undecodable(f"{cls.__qualname__} arrived without {field.name!r}")
        object.__setattr__(value, field.name, content)
    return value


def registered_code(types: TypeTable, value: Any) -> int | None:
    """Return the code for an instance of a registered class, or None."""
    if types.tag_for(type(value)) is None:
        return None
    return ENUM if isinstance(value, enum.Enum) else DATACLASS


# --- NumPy ----------------------------------------------------------------------------------


def _install_numpy(codec: Codec) -> None:
    """Add arrays and scalars. NumPy is imported when the first one passes, not before."""

    def pack_array(value: Any) -> bytes:
        import numpy

        if value.dtype.hasobject:
            raise EncodeError(f"a NumPy array of dtype {value.dtype} holds Python objects")
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        flat = numpy.asarray(value, order=order)  # type: ignore[call-overload]
        raw = memoryview(flat.ravel(order="K").view(numpy.uint8)) if flat.nbytes else b""
        content = codec.add_segment(raw) if codec.is_large(flat.nbytes) else bytes(raw)
        return codec.pack_nested([describe_dtype(value.dtype), list(value.shape), order, content])

    def unpack_array(data: bytes) -> Any:
        import numpy

        dtype, shape, order, content = codec.unpack_nested(data)
        shape = _checked(shape, list)
        # A NumPy number for the content would be taken for a size by bytearray.
        raw = (
            codec.take_segment(content)
            if type(content) is int
            else bytearray(_checked(content, bytes))
        )
        if isinstance(raw, memoryview) and raw.readonly:
            raw = bytearray(raw)
        # An empty buffer is refused by frombuffer; an empty array reshapes to empty shapes only.
        flat = (
            numpy.frombuffer(raw, dtype=read_dtype(dtype))
            if raw
            else numpy.empty(0, dtype=read_dtype(dtype))
        )
        return flat.reshape(tuple(shape), order=order)

    def pack_scalar(value: Any) -> bytes:
        raw = value.tobytes()[: value.dtype.itemsize]  # a text of no length gives more
        return codec.pack_nested([describe_dtype(value.dtype), raw])

    def unpack_scalar(data: bytes) -> Any:
        import numpy

        dtype, raw = codec.unpack_nested(data)
        dtype = read_dtype(dtype)
        if len(raw) != dtype.itemsize:
            raise ValueError(f"a scalar of {dtype.itemsize} bytes has {len(raw)}")
        # A text of no length has no bytes to be read from.
        return numpy.frombuffer(raw, dtype=dtype)[0] if raw else dtype.type()

    codec.add_extension(NUMPY_ARRAY, None, pack_array, unpack_array)
    codec.add_extension(NUMPY_SCALAR, None, pack_scalar, unpack_scalar)


def describe_dtype(dtype: Any) -> Any:
    """Return a dtype as text, or as a list of fields; the format is that of .npy files."""
    from numpy.lib import format as npy

    return npy.dtype_to_descr(dtype)


def read_dtype(description: Any) -> Any:
    """Return the dtype that `describe_dtype` has described; whatever else it is, is refused."""
    from numpy.lib import format as npy

    _check_description(description)
    dtype = npy.descr_to_dtype(description)
    if dtype.hasobject:
        raise ValueError("an array of Python objects cannot come from the wire")
    return dtype


def _check_description(description: Any) -> None:
    """Refuse texts that no dtype writes: NumPy reads lists of types, and shapes, out of them."""
    if type(description) is str:
        if len(description) > _MAX_DTYPE_CHARS:
            raise ValueError("the text of a dtype is too long")
    elif type(description) is list:
        for field in description:
            _check_description(field[1])
    else:
        raise TypeError("a dtype is a text or an array of fields")


def numpy_code(value: Any) -> int | None:
    """Return the code for a NumPy array or scalar, or None; imports nothing."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value) is numpy.ndarray:
        return NUMPY_ARRAY
    if isinstance(value, numpy.generic) and not value.dtype.hasobject:
        return NUMPY_SCALAR
    return None
