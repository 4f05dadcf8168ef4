"""What becomes of a message when there is no room for it."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .protocol import Protocol


class Overflow(enum.Enum):
    """What is done with a message when too many wait for its actor, or are pending in all."""

    BLOCK = "block"
    """Its sender waits until there is room."""

    REJECT = "reject"
    """Its sender gets `MailboxFull`; it is not accepted."""

    DROP_OLDEST = "drop_oldest"
    """The oldest message for the same actor becomes a dead letter, and never one that comes
    before it."""

    DROP_NEW = "drop_new"
    """It becomes a dead letter itself."""

    COALESCE = "coalesce"
    """Of its kind, only the newest waits for an actor, full or not: right where a message makes
    the one before worthless. If there is none to replace, its sender waits."""


def checked_overflow(overflow: Overflow | Mapping[Protocol, Overflow]) -> dict[Protocol, Overflow]:
    """Return the rule for every kind; it is BLOCK for those that a mapping does not name.

    Raises:
      TypeError: it is neither a rule nor a mapping of kinds to rules.
    """
    if isinstance(overflow, Overflow):
        return dict.fromkeys(Protocol, overflow)
    if not isinstance(overflow, Mapping):
        raise TypeError(f"overflow is an Overflow or a mapping of them, not {overflow!r}")
    for kind, rule in overflow.items():
        if not isinstance(kind, Protocol) or not isinstance(rule, Overflow):
            raise TypeError(f"overflow maps a Protocol to an Overflow, not {kind!r} to {rule!r}")
    return {**dict.fromkeys(Protocol, Overflow.BLOCK), **overflow}
