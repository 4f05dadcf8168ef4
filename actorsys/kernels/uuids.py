"""UUIDs in the time that a message has for one.

The ids of messages are random, and secret from nobody: a generator that the system has seeded makes
them, without a call of the system for each.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable

UUID_BYTES = 16

_chance = random.Random()
os.register_at_fork(after_in_child=_chance.seed)

_VARIANT_AND_VERSION = 0xF000_C000_0000_0000_0000
_RANDOM = 0x4000_8000_0000_0000_0000  # version 4, of the variant of RFC 9562
_KEPT = (1 << 128) - 1 - _VARIANT_AND_VERSION

# What UUID(int=...) does, in a third of the time: by its slots, since it refuses to be changed.
_new = object.__new__
_set_int: Callable[[uuid.UUID, int], None] = vars(uuid.UUID)["int"].__set__
_set_safety: Callable[[uuid.UUID, uuid.SafeUUID], None] = vars(uuid.UUID)["is_safe"].__set__
_UNKNOWN = uuid.SafeUUID.unknown


def new_uuid() -> uuid.UUID:
    """Return a new random UUID, version 4."""
    made = _new(uuid.UUID)
    _set_int(made, _chance.getrandbits(128) & _KEPT | _RANDOM)
    _set_safety(made, _UNKNOWN)
    return made


def is_uuid(data: object) -> bool:
    """Tell whether *data*, which has arrived, can be the bytes of a UUID."""
    return type(data) is bytes and len(data) == UUID_BYTES


def uuid_of(data: object) -> uuid.UUID:
    """Return the UUID of 16 bytes, which have arrived; one that is a UUID already, as it is.

    Raises:
      ValueError: it is neither.
    """
    if type(data) is not bytes or len(data) != UUID_BYTES:
        if type(data) is uuid.UUID:
            return data
        raise ValueError(f"a UUID travels as {UUID_BYTES} bytes")
    made = _new(uuid.UUID)
    _set_int(made, int.from_bytes(data, "big"))
    _set_safety(made, _UNKNOWN)
    return made
