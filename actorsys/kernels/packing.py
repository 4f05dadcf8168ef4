"""Messages as they travel: parcels of their fields, under the tag of their class."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from ..actor.parcels import Parcel, bytes_of, pack_with, parcel_codec
from ..errors import ActorsysError, BufferFault, EncodeError, RemoteProtocolError
from ..wire import TYPES, Codec
from .schema import TAG_KEY, Schema, schema_of


class Envelope(NamedTuple):
    """A message as it is passed on: whoever does so need not know its class."""

    parcel: Parcel
    priority: int
    message_id: uuid.UUID


def enveloped(value: Any) -> Envelope:
    """Return a message ready to be passed on; else as `encode_message`."""
    return Envelope(pack_message(value), value.priority, value.message_id)


def pack_message(value: Any) -> Parcel:
    """Return a message ready to travel; else as `encode_message`.

    Its buffers stay good until it has arrived, whatever its sender does with them.
    """
    return pack_with(encode_message, value)


def unpack_message(parcel: Parcel) -> Any:
    """Return the message that `pack_message` has packed; else as `decode_message`."""
    return decode_message(bytes_of(parcel))


def encode_message(value: Any) -> bytes:
    """Return a message as bytes; they say which class it is of.

    Raises:
      TypeError: *value* is no message.
      EncodeError: a field cannot travel; class and field are named.
      BufferFault: a buffer in it is not to be used any more; a note names class and field.
    """
    schema = schema_of(type(value))
    if schema is None:
        raise TypeError(f"{type(value).__qualname__} is no message; put @message above the class")
    fields = schema.write(value)
    fields[TAG_KEY] = schema.tag
    codec = parcel_codec()
    try:
        return codec.pack_nested(fields)
    except (EncodeError, TypeError, ValueError, OverflowError) as error:
        raise _name_unpackable(codec, schema, fields, error) from None
    except ActorsysError as error:
        _note_field(codec, schema, fields, error)
        raise


def decode_message(data: bytes) -> Any:
    """Return the message that `encode_message` has made *data* of.

    Raises:
      RemoteProtocolError: the bytes are none, or of a class that this process does not know.
      BufferFault: a buffer in it is not to be had any more.
    """
    codec = parcel_codec()
    try:
        fields = codec.unpack_alone(data)
        tag = fields.pop(TAG_KEY)
        schema = TYPES.forms.get(TYPES.values.get(tag, object))
        if schema is not None:
            return schema.read(fields)
    except BufferFault:
        raise
    except Exception as error:
        # Whatever the parser and the fields make of such bytes, they are not a message.
        raise RemoteProtocolError(f"these bytes are no message: {error!r}") from error
    raise RemoteProtocolError(
        f"{str(tag)[:200]!r} is no message class in this process; import the module that defines it"
    )


def _name_unpackable(
    codec: Codec, schema: Schema, fields: dict[str, Any], error: Exception
) -> EncodeError:
    """Return an error that names the field of *fields* which cannot be packed."""
    for name, value in fields.items():
        try:
            codec.pack_nested(value)
        except EncodeError as reason:
            return schema.name_field(name, _innermost(codec, value, reason))
        except (TypeError, ValueError, OverflowError) as reason:
            return schema.name_field(name, EncodeError(str(reason)))
    return EncodeError(str(error))


def _innermost(codec: Codec, value: Any, error: EncodeError) -> EncodeError:
    """Return *error*, with the field of the innermost message in *value* that it is about."""
    if type(value) is dict:
        tag = value.get(TAG_KEY)
        inner = schema_of(TYPES.values.get(tag, object)) if type(tag) is str else None
        if inner is not None:
            return _name_unpackable(codec, inner, value, error)
    for item in value.values() if type(value) is dict else value if type(value) is list else ():
        try:
            codec.pack_nested(item)
        except EncodeError as reason:
            return _innermost(codec, item, reason)
    return error


def _note_field(codec: Codec, schema: Schema, fields: dict[str, Any], error: ActorsysError) -> None:
    """Note which field of *fields* an error comes from that keeps its class."""
    for name, value in fields.items():
        try:
            codec.pack_nested(value)
        except ActorsysError:
            error.add_note(f"field {name!r} of {schema.tag}")
            return
