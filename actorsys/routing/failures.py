"""What an error of a route's function means for the message, and for the route."""

from __future__ import annotations

import enum
from collections.abc import Callable

import trio

from ..errors import (
    ActorUnavailable,
    EncodeError,
    LimitExceeded,
    MailboxFull,
    RemoteActorError,
)

IsTransient = Callable[[Exception], bool]


class NotAwaitable(TypeError):
    """The function of a route is not async. It has run: nobody knows what became of the message."""


class Failure(enum.Enum):
    """What kind of failure it was."""

    TRANSIENT = enum.auto()
    """The message was not taken, and the same route may take it later."""

    CLOSED = enum.auto()
    """The message was not taken, and this route will take none any more."""

    LOST = enum.auto()
    """Nobody knows whether the message was taken. The route goes on, unless it is a channel."""

    UNENCODABLE = enum.auto()
    """The message can travel over no route."""

    REJECTED = enum.auto()
    """Anything else: the message is at fault, and the next one may fare better."""


def is_transient(error: Exception) -> bool:
    """Tell whether *error* says that a message was not taken, but may be taken later.

    That is so for a full mailbox, a channel that is busy or would block, and an actor that is out
    of reach or has died, if the call has provably not started there: a portal outlives a restart of
    its actor. An error that came back from a function over there never is: the function has run.
    """
    if isinstance(error, RemoteActorError):
        return False
    if isinstance(error, ActorUnavailable):
        return not error.may_have_run
    return isinstance(error, (trio.BusyResourceError, trio.WouldBlock, MailboxFull))


def kind_of(error: Exception, is_transient: IsTransient, *, is_channel: bool) -> Failure:
    """Return what kind of failure *error* is, of a channel or of a function."""
    # A stream ends with its actor and does not come back; a portal does.
    is_over = is_channel and isinstance(error, ActorUnavailable)
    if not is_over and is_transient(error):
        return Failure.TRANSIENT
    if isinstance(error, RemoteActorError):  # whatever broke over there, the route has worked
        return Failure.REJECTED
    if isinstance(error, ActorUnavailable):
        return Failure.LOST if error.may_have_run else Failure.CLOSED
    if isinstance(error, (trio.ClosedResourceError, trio.BrokenResourceError)):
        return Failure.CLOSED
    if isinstance(error, (EncodeError, LimitExceeded)):
        return Failure.UNENCODABLE
    return Failure.REJECTED
