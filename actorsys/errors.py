"""The whole error tree.

Two words are kept apart everywhere, as in trio: *closed* means that we did it, *broken* means
that the other side or the world did.
"""

from __future__ import annotations

from typing import Any

import trio

Uid = tuple[str, str]


class ActorsysError(Exception):
    """The root of every error that this package raises of its own."""


def retell(error: ActorsysError, where: str) -> ActorsysError:
    """Return an error of the same class that says as well where it was met."""
    return type(error)(f"{where}: {error}")


class RemoteActorError(ActorsysError):
    """An exception that left a function in another actor.

    What is raised is a subclass that is also an instance of the builtin or registered class
    that was raised over there, so ``except ValueError`` catches a remote ``ValueError``.

    Attributes:
      type_str: name of the class that was raised, with its module unless builtin.
      tb_str: the formatted traceback of the origin, then of each actor that relayed it.
      src_uid: uid of the actor where it was raised.
      relay_path: uids of the actors it went through, origin first.
      notes: the notes it carried over there.
    """

    type_str: str = ""
    tb_str: str = ""
    src_uid: Uid = ("", "")
    relay_path: tuple[Uid, ...] = ()
    notes: tuple[str, ...] = ()
    message: str = ""

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"RemoteActorError[{self.type_str}]({self.message!r})"


class ContextCancelled(ActorsysError):
    """The far side of a call was cancelled by somebody who is not us.

    ``canceller`` is the uid of the actor that asked for it.
    """

    def __init__(self, message: str = "", *, canceller: Uid | None = None) -> None:
        super().__init__(message)
        self.canceller = canceller


class ActorUnavailable(ActorsysError):
    """The actor cannot be reached.

    ``may_have_run`` is False only when the call provably never started.
    """

    def __init__(self, message: str = "", *, may_have_run: bool = True) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run


class ActorDied(ActorUnavailable):
    """The process of the actor has ended.

    ``uid`` and ``pid`` say whose. One of ``exit_code`` and ``signal`` is set; ``stderr_tail`` is
    the end of its stderr.
    """

    def __init__(
        self,
        message: str = "",
        *,
        uid: Uid = ("", ""),
        pid: int = 0,
        exit_code: int | None = None,
        signal: int | None = None,
        stderr_tail: str = "",
        may_have_run: bool = True,
    ) -> None:
        super().__init__(message, may_have_run=may_have_run)
        self.uid = uid
        self.pid = pid
        self.exit_code = exit_code
        self.signal = signal
        self.stderr_tail = stderr_tail


class SpawnError(ActorsysError):
    """An actor could not be started, or its process ended before it was ready."""

    def __init__(
        self,
        message: str = "",
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        stderr_tail: str = "",
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal
        self.stderr_tail = stderr_tail


class RestartIntensityExceeded(ActorsysError):
    """Children of a nursery ended too often within the window of its strategy.

    ``history`` holds the errors with which they ended, oldest first, the last one too many. Where
    this error has come from another actor, its notes tell them.
    """

    def __init__(self, message: str = "", *, history: tuple[Exception, ...] = ()) -> None:
        super().__init__(message)
        self.history = history


class NotExposed(ActorsysError):
    """The function that was named may not be called from outside."""


class ProtocolError(ActorsysError):
    """Somebody broke the rules of the wire."""


class LocalProtocolError(ProtocolError):
    """This side tried something that the protocol does not allow; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow; the link is closed."""


class LimitExceeded(ProtocolError):
    """Something is larger than ``actorsys.limits`` allows."""


class HandshakeError(ActorsysError):
    """A link could not be opened."""


class AuthenticationFailed(HandshakeError):
    """The peer could not prove who it is, or did not believe us."""


class VersionMismatch(HandshakeError):
    """The peer speaks another version of the protocol."""


class ChannelClosed(ActorsysError, trio.ClosedResourceError):
    """We closed it."""


class ChannelBroken(ActorsysError, trio.BrokenResourceError):
    """The other side, or the network, closed it."""


class BridgeClosed(ActorsysError, trio.ClosedResourceError):
    """The bridge between trio and asyncio is closed, or was while somebody waited behind it."""


class BridgeBroken(ActorsysError, trio.BrokenResourceError):
    """Asyncio code has ended its own loop, or would not end when it was cancelled."""


class AsyncioCancelled(ActorsysError):
    """Asyncio code cancelled a task that trio code waited for; nobody in trio had asked for it."""


class EncodeError(ActorsysError):
    """A value cannot travel. Raised at the sender; names the type and where it stands.

    ``field`` is the field of a dataclass that holds it, or None.
    """

    field: str | None = None


class NoRuntime(ActorsysError):
    """There is no actor runtime around this code."""


class NoBridge(NoRuntime):
    """No way leads from here to the other loop: there is none, or this is the wrong place."""


class MailboxFull(ActorsysError):
    """A mailbox has no room for a message, and its strategy is to refuse it."""


class SubscriberTooSlow(ActorsysError):
    """A subscription has ended because it was to, once more was waiting than it has room for."""


class ReceiveTimeout(ActorsysError, trio.TooSlowError, TimeoutError):
    """Nothing arrived in time."""


class BufferFault(ActorsysError):
    """A buffer cannot be had, used or handed over."""


class BufferReleased(BufferFault):
    """It was released here, and is not to be used any more."""


class StaleBuffer(BufferFault):
    """What was named is no buffer any more: its memory has been given back, or to another one."""


class BufferLost(BufferFault):
    """The process that the memory belongs to has ended."""


class NotShareable(BufferFault):
    """This memory cannot be shared; copy it into a buffer."""


class NotReachable(BufferFault):
    """The memory is on another machine, or belongs to another user; send a copy."""


class BufferPoolFull(BufferFault):
    """The pool has no room for another buffer of this size."""


class DeviceUnavailable(BufferFault):
    """There is no such device in this process; the error says what is missing."""


class DeviceOutOfMemory(BufferFault):
    """The device has no memory left."""


class NotRouted(ActorsysError, LookupError):
    """A dispatcher has no such route, or no such actor."""


class DeadLettered(ActorsysError):
    """A request was not delivered; ``letter``, a `DeadLetter`, says why and to whom."""

    def __init__(self, message: str = "", *, letter: Any = None) -> None:
        super().__init__(message)
        self.letter = letter


class DeadlineExceeded(DeadLettered, trio.TooSlowError, TimeoutError):
    """A request was not delivered in time."""


class CarrierError(ActorsysError):
    """Participants of a run cannot exchange messages as they were asked to."""


class UnknownParticipant(CarrierError, LookupError):
    """No participant has the address that a message was sent to; nothing was sent."""


class CarrierOverflow(CarrierError):
    """A participant sends faster than the others take it, and does not wait; nothing was sent."""


class BudgetExceeded(CarrierError):
    """A run has used up the messages or the seconds that it was given."""


class RunEnded(CarrierError):
    """The run has ended; nothing can be sent, and no reply will come."""
