"""What to do with each message that arrives: find its call, or make one.

Everything here runs in the reader's task, between two reads, and never waits.
"""

from __future__ import annotations

import functools
import logging
import types
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ..errors import (
    ChannelBroken,
    LimitExceeded,
    NotExposed,
    ProtocolError,
    RemoteProtocolError,
    retell,
)
from ..wire import Call, ErrorReply, Message
from ..wire.states import CALLEE_START
from .call import IncomingCall
from .exposure import RUNTIME_NS, Exposure, Target
from .heartbeat import PING
from .remote_errors import CANCELLED_KEY, unpack_error

if TYPE_CHECKING:
    from .channel import Channel

logger = logging.getLogger("actorsys.channel")

RuntimeFunction = Callable[["Channel", dict[str, Any]], Any]
RuntimeCall = Callable[..., Awaitable[Any]]
"""Takes the link and the keyword arguments of the call."""

Job = tuple[IncomingCall, Call, Target]
"""A call that was accepted and is to be run."""

NextJob = Callable[[], Awaitable[Job | None]]
"""Waits for a call that is to be run; None if there is none to come."""

RunCall = Callable[[NextJob], Awaitable[None]]
"""Runs the call that it is given so."""


class Service(NamedTuple):
    """What a link offers its peer: functions, and somebody to run them."""

    exposure: Exposure
    run_call: RunCall
    runtime_functions: Mapping[str, RuntimeFunction]
    """Functions of the runtime that are answered in the reader, at once."""
    notices: Mapping[str, RuntimeFunction] = types.MappingProxyType({})
    """Functions of the runtime that are not answered."""
    runtime_calls: Mapping[str, RuntimeCall] = types.MappingProxyType({})
    """Functions of the runtime that are run as calls: they may wait, and can be cancelled."""


class Dispatcher:
    """Hands the messages of one link to its calls."""

    def __init__(self, channel: Channel, service: Service) -> None:
        self._channel = channel
        self._table = channel.table
        self._calls = channel.table.calls
        self._service = service

    def __repr__(self) -> str:
        return f"<Dispatcher of {self._channel!r}>"

    def dispatch(self, message: Message) -> Job | None:
        """Take a message of the peer; return what is to be run for it, if anything.

        Raises:
          RemoteProtocolError: the peer may not send it.
        """
        if type(message) is Call:
            return self._on_call(message)
        call = self._calls.get(message.cid)
        if call is None:
            self._on_stray(message)
        elif not call.has_ended:
            call.on_message(message)
        return None

    def _on_stray(self, message: Message) -> None:
        """Drop a message of a call that has ended; refuse one of a call that never was."""
        if type(message) is ErrorReply and not message.cid:
            reason = unpack_error(message.error, self._channel.limits)
            raise ChannelBroken(f"the peer closed it, saying: {reason}")
        if not self._table.was_used(message.cid):
            raise RemoteProtocolError(f"{type(message).__name__} for a cid that was never used")
        if type(message) is ErrorReply and message.error.get(CANCELLED_KEY) is not True:
            # Its caller was cancelled and has gone; the error shall not vanish without a word.
            late = unpack_error(message.error, self._channel.limits)
            logger.warning("an error came too late for its caller: %r", late)

    def _on_call(self, message: Call) -> Job | None:
        if message.uid != self._channel.session.peer_uid:
            raise RemoteProtocolError("a call under a uid that is not the authenticated one")
        self._table.check_received_cid(message.cid)
        try:
            if message.ns == RUNTIME_NS and message.func not in self._service.runtime_calls:
                self._answer_runtime_call(message)
                return None
            return self._accept_call(message)
        except Exception as error:
            is_of_the_link = isinstance(error, (ProtocolError, trio.BrokenResourceError))
            if is_of_the_link and not isinstance(error, LimitExceeded):
                raise
            self._refuse_call(message.cid, error)
            return None

    def _accept_call(self, message: Call) -> Job:
        channel = self._channel
        limits = channel.limits
        if message.fault is not None:
            raise retell(message.fault, f"an argument of {message.ns}:{message.func}")
        if len(self._calls) >= limits.max_calls_per_link:
            raise LimitExceeded(
                f"{len(self._calls)} calls are in flight on this link "
                f"(limits.max_calls_per_link); wait for some to end"
            )
        target = self._find_target(message)
        call = IncomingCall(channel, message.cid, target.kind, CALLEE_START[target.kind])
        if message.deadline is not None:
            seconds = message.deadline + limits.deadline_slack_seconds
            call.deadline = trio.current_time() + seconds
        self._table.add(call)
        return call, message, target

    def _find_target(self, message: Call) -> Target:
        if message.ns != RUNTIME_NS:
            return self._service.exposure.resolve(message.ns, message.func)
        function = self._service.runtime_calls[message.func]
        return Target(functools.partial(function, self._channel), "asyncfunc", True)

    def _answer_runtime_call(self, message: Call) -> None:
        value = None
        if message.func in self._service.notices:
            if message.fault is None:
                self._service.notices[message.func](self._channel, message.kwargs)
            return
        if message.func == "cancel":
            self._cancel_call(message.kwargs)
        elif message.func != PING:
            function = self._service.runtime_functions.get(message.func)
            if function is None or message.fault is not None:
                raise NotExposed(f"the runtime has no function {message.func!r}")
            value = function(self._channel, message.kwargs)
        self._channel.send({"functype": "asyncfunc", "cid": message.cid})
        self._channel.send({"return": value, "cid": message.cid})

    def _cancel_call(self, kwargs: dict[str, Any]) -> None:
        """Cancel a call of the peer; one that has ended meanwhile needs no cancelling."""
        cid = kwargs.get("cid")
        call = self._calls.get(cid) if type(cid) is str else None
        if isinstance(call, IncomingCall):
            call.cancel(self._channel.session.peer_uid, "its caller cancelled it")

    def _refuse_call(self, cid: str, error: Exception) -> None:
        self._channel.send_error(self._channel.pack_error(error), cid)
