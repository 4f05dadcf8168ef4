"""A call, seen from its caller and from its callee.

The two classes hold the state of one cid. The reader task of the link moves them with
`on_message` and never waits; the task that made, or runs, the call waits in here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import (
    ContextCancelled,
    LocalProtocolError,
    Uid,
    retell,
)
from ..wire import (
    CallState,
    Credit,
    ErrorReply,
    Functype,
    Item,
    Kind,
    Message,
    Return,
    Started,
    Stop,
    callee_step,
    caller_step,
)
from ..wire.codec import undone_on_error
from ..wire.messages import functype_frame
from ..wire.states import WITH_ITEMS
from .flow import Flow
from .remote_errors import unpack_error
from .waiters import Waiters

if TYPE_CHECKING:
    from .channel import Channel

_HOW_TO_CALL: dict[Kind, str] = {
    "asyncfunc": "portal.run",
    "asyncgen": "portal.open_stream_from",
    "context": "portal.open_context",
}


class OutgoingCall:
    """A call that we made. Owned by the task that made it, until `forget`."""

    __slots__ = (
        "_changed",
        "_kind",
        "_name",
        "_start_position",
        "_state",
        "channel",
        "cid",
        "error",
        "first",
        "flow",
        "has_ended",
        "on_error",
        "value",
    )

    def __init__(self, channel: Channel, cid: str, kind: Kind, name: tuple[str, str]) -> None:
        self.cid = cid
        self.flow: Flow | None = None
        self.first: Any = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.has_ended = False
        self.on_error: trio.CancelScope | None = None
        self.channel = channel
        self._kind = kind
        self._name = name
        self._state = CallState.ASKED
        self._changed = Waiters()
        self._start_position = channel.outbox.enqueued

    def __repr__(self) -> str:
        return f"<OutgoingCall {self.cid} of {':'.join(self._name)}: {self._state.value}>"

    @property
    def may_have_run(self) -> bool:
        """False only while no byte of the call has left this process."""
        return self.channel.outbox.written > self._start_position

    @property
    def is_awaited(self) -> bool:
        """Whether somebody will be told how it ends: who waits, or who holds its stream."""
        return self.flow is not None or bool(self._changed)

    # --- what the calling task does ------------------------------------------------------

    @enable_ki_protection
    async def result(self) -> Any:
        """Wait for the end of the call and return its value.

        If cancelled, the far side is cancelled too and gets `cancel_ack_seconds` to clean up; an
        error of its clean-up is raised in place of the cancellation.
        """
        try:
            while not self.has_ended:
                await self.channel.reader.wait(self._changed)
        except BaseException as reason:
            await self.abandon(reason)
            raise
        finally:
            self.forget()
        if self.error is not None:
            raise self.error
        return self.value

    @enable_ki_protection
    async def wait_started(self) -> Any:
        """Wait for a context's handshake value, or a stream's acceptance, and return it."""
        try:
            while self._state in (CallState.ASKED, CallState.GREETING):
                await self.channel.reader.wait(self._changed)
        except BaseException as reason:
            await self.abandon(reason)
            self.forget()
            raise
        # A generator that failed at once has been accepted: its items come first.
        if self.error is not None and (self.flow is None or self._kind == "context"):
            self.forget()
            raise self.error
        return self.first

    @enable_ki_protection
    async def wait_ended(self) -> None:
        """Wait for the end of the call, whatever it is; raises nothing of it."""
        while not self.has_ended:
            await self.channel.reader.wait(self._changed)

    @enable_ki_protection
    async def abandon(self, reason: BaseException) -> None:
        """Cancel the far side and wait, briefly, until it has cleaned up.

        Raises:
          RemoteActorError: the clean-up failed; it takes the place of *reason*.
        """
        if self.has_ended:
            return
        self.cancel()
        if isinstance(reason, KeyboardInterrupt):
            return
        with self.channel.being_patient():
            await self.wait_ended()
        self.forget()
        if self.error is not None and not isinstance(self.error, ContextCancelled):
            raise self.error

    @enable_ki_protection
    def cancel(self) -> None:
        """Ask the far side to cancel it. Returns at once."""
        if not self.has_ended and self.channel.is_open:
            self.channel.send_cancel(self.cid)

    def forget(self) -> None:
        """Give up the cid; what still comes for it is dropped."""
        self.channel.table.forget(self.cid)

    # --- what the reader task does -------------------------------------------------------

    def on_message(self, message: Message) -> None:
        """Take the next message of the callee."""
        if type(message) is Item and self._state in WITH_ITEMS:
            assert self.flow is not None
            if self.flow.on_item(message):
                return
        self._state = caller_step(self._state, message)
        if type(message) is ErrorReply:
            self._on_error(message)
        elif message.fault is not None:
            self.channel.send_cancel(self.cid)
            self.end(None, retell(message.fault, f"an answer of {self._label}"))
        elif type(message) is Return:
            self.end(message.value, None)
        elif type(message) is Functype:
            if message.kind != self._kind or message.kind != "asyncfunc":
                self._on_functype(message.kind)
        elif type(message) is Started:
            self.first = message.value
            self._changed.wake()
        else:
            self._on_stream_message(message)

    def _on_error(self, message: ErrorReply) -> None:
        fields = message.error
        if message.fault is not None:
            # What cannot be read of it is left out; the error itself is told all the same.
            fields = {name: fields[name] for name in fields.keys() - {"args", "state"}}
        self.end(None, unpack_error(fields, self.channel.limits))

    def _on_functype(self, kind: Kind) -> None:
        if kind != self._kind:
            self.channel.send_cancel(self.cid)
            error = LocalProtocolError(
                f"{self._label} is called with {_HOW_TO_CALL[kind]}, not {_HOW_TO_CALL[self._kind]}"
            )
            self.end(None, error)
        elif kind != "asyncfunc":
            self.flow = Flow(self.channel, self.cid)
            self._changed.wake()

    def _on_stream_message(self, message: Message) -> None:
        assert self.flow is not None
        if type(message) is Credit:
            self.flow.on_credit(message.granted)
        elif self._state is CallState.ENDED:
            self.end(None, None)
        else:
            self.flow.on_stop()

    def end(self, value: Any, error: BaseException | None) -> None:
        """End the call, once; whoever waits for it is woken."""
        if self.has_ended:
            return
        self.has_ended = True
        self._state = CallState.ENDED
        self.value = value
        self.error = error
        if error is not None and self.on_error is not None and not self._is_being_told():
            self.on_error.cancel()
        if self.flow is not None:
            self.flow.finish(error)
        self._changed.wake()

    def _is_being_told(self) -> bool:
        """Tell whether somebody waits in here, and will have the error raised to them."""
        return bool(self._changed) or (self.flow is not None and self.flow.is_awaited)

    @property
    def _label(self) -> str:
        return ":".join(self._name)


class IncomingCall:
    """A call that a peer made. Owned by the task that runs it. It ends at ``deadline``."""

    __slots__ = (
        "_is_cancelled",
        "_scope",
        "_state",
        "cancel_reason",
        "canceller",
        "channel",
        "cid",
        "deadline",
        "flow",
        "has_ended",
        "kind",
        "started",
    )

    def __init__(self, channel: Channel, cid: str, kind: Kind, state: CallState) -> None:
        self.cid = cid
        self.kind = kind
        self.flow = Flow(channel, cid) if kind != "asyncfunc" else None
        self.deadline = math.inf
        self.canceller: Uid | None = None
        self.cancel_reason = ""
        self.has_ended = False
        self.started = False
        self.channel = channel
        self._scope: trio.CancelScope | None = None
        self._is_cancelled = False
        self._state = state

    def __repr__(self) -> str:
        return f"<IncomingCall {self.cid}: {self.kind}, {self._state.value}>"

    def cancel(self, canceller: Uid, reason: str) -> None:
        """Cancel the task that runs it; the first to ask is named as the canceller."""
        if self.canceller is None:
            self.canceller = canceller
            self.cancel_reason = reason
        self._cancel()

    def _cancel(self) -> None:
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    # --- what the reader task does -------------------------------------------------------

    def on_message(self, message: Message) -> None:
        """Take the next message of the caller."""
        flow = self.flow
        self._state = callee_step(self._state, message)
        assert flow is not None, "the table has no entry for a plain call"
        if type(message) is Item and flow.on_item(message):
            return
        if message.fault is not None:
            flow.finish(retell(message.fault, "a stream item"))
        elif type(message) is Credit:
            flow.on_credit(message.granted)
        elif type(message) is Stop:
            if self.kind == "asyncgen":
                self._cancel()
            else:
                flow.on_stop()

    @property
    def is_stopped_by_caller(self) -> bool:
        """Whether the caller has sent its end of the stream."""
        return self._state is CallState.HALF

    # --- what the running task does ------------------------------------------------------

    def enter(self, scope: trio.CancelScope) -> None:
        """Be run inside *scope*, which is cancelled with the call, and when its time is up."""
        self._scope = scope
        if self.deadline < math.inf:
            scope.deadline = self.deadline
        if self._is_cancelled:
            scope.cancel()

    def send_functype(self) -> None:
        """Tell the caller the kind of its callee, the first answer.

        For a plain call, `send_return` does so.
        """
        if self.channel.is_open:
            self.channel.outbox.put([functype_frame(self.kind, self.cid)])

    async def send_started(self, value: Any) -> None:
        """Send the handshake value of a context.

        Raises:
          EncodeError, LimitExceeded: it cannot travel; nothing was sent.
        """
        self._send({"started": self.channel.codec.wrap_large(value), "cid": self.cid})
        self.started = True
        await self.channel.outbox.give_back(self.channel.outbox.enqueued)

    async def send_return(self, value: Any) -> None:
        """Send the result, the last message, together with the functype.

        Raises:
          EncodeError, LimitExceeded: it cannot travel; the call has not ended.
        """
        channel = self.channel
        frame = channel.encode({"return": channel.codec.wrap_large(value), "cid": self.cid})
        if channel.outbox.is_full:
            with undone_on_error(frame):
                await channel.outbox.wait_room()
        if self.kind == "asyncfunc":
            frame[0] = functype_frame(self.kind, self.cid) + frame[0]
        self._end()
        if channel.is_open:
            channel.outbox.put(frame)
            if len(frame) > 1:
                await channel.outbox.give_back(channel.outbox.enqueued)

    def send_stop(self) -> None:
        """Send the end of a one-way stream, the last message."""
        if not self.has_ended:
            self._send({"stop": True, "cid": self.cid})
            self._end()

    def send_error(self, fields: dict[str, Any]) -> None:
        """Send an error, the last message."""
        if not self.has_ended:
            if self.channel.is_open:
                self.channel.send_error(fields, self.cid)
            self._end()

    def _send(self, message: dict[str, Any]) -> None:
        if self.channel.is_open:
            self.channel.send(message)

    def _end(self) -> None:
        self.has_ended = True
        if self.flow is not None:
            self.flow.finish(None)
