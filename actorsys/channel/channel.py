"""One link: its reader, its calls in both directions, its end.

One task reads and hands each message to the call that it belongs to; it never waits for user
code, so cancellations and results overtake a stuck stream. Whatever is to be written goes through
the outbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Union

import trio

from ..errors import (
    ActorsysError,
    ActorUnavailable,
    ChannelBroken,
    ChannelClosed,
    EncodeError,
    LimitExceeded,
    NotExposed,
    ProtocolError,
    RemoteProtocolError,
)
from ..limits import Limits
from ..transport import Transport
from ..wire import (
    Call,
    Codec,
    EncodedFrame,
    ErrorReply,
    FrameReader,
    Kind,
    Message,
    Session,
    parse_message,
)
from ..wire.states import CALLEE_START
from .call import IncomingCall, OutgoingCall
from .exposure import Exposure, Target
from .outbox import Outbox
from .remote_errors import pack_error, unpack_error
from .tick import acquire_flusher, release_flusher

RUNTIME_NS = "self"
"""The namespace of the runtime's own functions, a fixed table."""

RuntimeFunction = Callable[["Channel", dict[str, Any]], Any]
RunCall = Callable[[IncomingCall, Call, Target], Awaitable[None]]
MakeError = Callable[[bool], Exception]
"""Makes the error of a call on a lost link, given whether the call may have run."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Counts of one link since it was opened."""

    calls_made: int
    calls_received: int
    calls_in_flight: int
    bytes_sent: int
    bytes_queued: int


@dataclass(frozen=True, slots=True)
class Service:
    """What a link offers its peer: functions, and somebody to run them."""

    exposure: Exposure
    run_call: RunCall
    runtime_functions: Mapping[str, RuntimeFunction]


class Channel:
    """An authenticated link to one peer. It owns *transport*.

    `run` must run for as long as it is used. ``lost`` is set when the link has ended for whatever
    reason, which is then in ``reason``; calls in flight end when `fail_calls` is told why.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        service: Service,
        limits: Limits,
        leftover: bytes = b"",
    ) -> None:
        self.session = session
        self.limits = limits
        self.codec = Codec(limits)
        self.lost = trio.Event()
        self.reason: Exception | None = None
        self._flusher = acquire_flusher()
        self.outbox = Outbox(transport, self._flusher, limits)
        self._transport = transport
        self._service = service
        self._frames = FrameReader(limits.max_message_bytes, limits.segment_bytes)
        self._leftover = leftover
        self._calls: dict[str, Union[OutgoingCall, IncomingCall]] = {}
        self._next_cid = 1 if session.is_client else 2
        self._last_peer_cid = 0 if session.is_client else -1
        self._make_error: MakeError | None = None
        self._tasks: trio.Nursery | None = None
        self._calls_received = 0
        self._incoming = 0
        self._idle = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "lost"
        return f"<Channel to {self.session.peer_uid[0]!r}: {state}, {len(self._calls)} calls>"

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self.reason is None and self.outbox.broken is None

    def statistics(self) -> ChannelStatistics:
        """Return the counts of this link."""
        return ChannelStatistics(
            calls_made=self._next_cid // 2,
            calls_received=self._calls_received,
            calls_in_flight=len(self._calls),
            bytes_sent=self.outbox.written,
            bytes_queued=self.outbox.size,
        )

    # --- its life ------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the link until it is lost or this is cancelled; nothing the peer does raises.

        Calls of the peer are cancelled when it is lost. Cancel this to close the link.
        """
        try:
            async with trio.open_nursery() as tasks:
                self._tasks = tasks
                tasks.start_soon(self.outbox.run)
                self._lose(await self._read_until_lost())
                tasks.cancel_scope.cancel()
        finally:
            self._lose(ChannelClosed("this link was closed"))
            self.outbox.close()
            release_flusher(self._flusher)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._transport)

    async def wait_idle(self) -> None:
        """Wait until no call of the peer is running."""
        while self._incoming:
            await self._idle.park()

    async def wait_flushed(self) -> None:
        """Wait until everything that was queued so far is with the kernel."""
        await self.outbox.wait_written(self.outbox.enqueued)

    def fail_calls(self, make_error: MakeError) -> int:
        """End every call that we made; return how many were being waited for.

        Calls made later fail at once with the same error.
        """
        self._make_error = make_error
        calls = [call for call in self._calls.values() if isinstance(call, OutgoingCall)]
        awaited = 0
        for call in calls:
            awaited += call.is_awaited
            call.end(None, make_error(call.may_have_run))
        return awaited

    def cancel_incoming(self, canceller: tuple[str, str], reason: str) -> None:
        """Cancel every call of the peer."""
        for call in list(self._calls.values()):
            if isinstance(call, IncomingCall):
                call.cancel(canceller, reason)

    def _lose(self, reason: Exception) -> None:
        if self.reason is None:
            self.reason = reason
            self.lost.set()

    # --- sending -------------------------------------------------------------------------

    def encode(self, message: dict[str, Any]) -> EncodedFrame:
        """Encode *message* within what the peer accepts.

        Raises:
          EncodeError, LimitExceeded: it cannot travel.
        """
        return self.codec.encode(message, self.session.peer_max_frame_bytes)

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message that the peer cannot hold up; it never waits.

        A peer that reads none of them is cut off.
        """
        self.outbox.put(self.encode(message))
        if self.outbox.size > self.limits.outbox_overflow_bytes + self.limits.max_message_bytes:
            self.outbox.fail(ChannelBroken("the peer does not read; the link was cut"))

    def send_cancel(self, cid: str) -> None:
        """Ask the peer's runtime to cancel a call that we made; the answer is not awaited."""
        self.send_runtime_call("cancel", {"cid": cid})

    def send_runtime_call(self, func: str, kwargs: dict[str, Any]) -> None:
        """Call a function of the peer's runtime; the answer is not awaited."""
        if self.is_open:
            self.send({"cmd": [RUNTIME_NS, func, kwargs, self._own_uid, self._take_cid()]})

    async def start_call(
        self,
        kind: Kind,
        name: tuple[str, str],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        extras: dict[str, Any] | None = None,
    ) -> OutgoingCall:
        """Send a call; waits only while too much is queued already.

        Raises:
          EncodeError, LimitExceeded: an argument cannot travel; it is named.
          ActorUnavailable: the link is lost; the call has not run.
        """
        if self.outbox.is_full:
            await self.outbox.wait_room()
        if not self.is_open:
            raise self._unavailable()
        wrap = self.codec.wrap_large
        cid = self._take_cid()
        packed = {key: wrap(value) for key, value in kwargs.items()} if kwargs else kwargs
        message: dict[str, Any] = {"cmd": [*name, packed, self._own_uid, cid]}
        if args:
            message["args"] = [wrap(value) for value in args]
        if extras:
            message.update(extras)
        try:
            frame = self.encode(message)
        except EncodeError as error:
            raise self._name_argument(name, args, kwargs, error) from error.__cause__
        call = OutgoingCall(self, cid, kind, name)
        self._calls[cid] = call
        self.outbox.put(frame)
        if len(frame) > 1:
            call.sent()
            await self._give_back_memory(call)
        return call

    def forget(self, cid: str) -> None:
        """Drop what may still come for *cid*."""
        if isinstance(self._calls.pop(cid, None), IncomingCall):
            self._incoming -= 1
            if not self._incoming:
                self._idle.unpark_all()

    async def _give_back_memory(self, call: OutgoingCall) -> None:
        try:
            await call.wait_written()
        except BaseException as reason:
            await call.abandon(reason)
            call.forget()
            raise

    @property
    def _own_uid(self) -> list[str]:
        return list(self.session.own_uid)

    def _take_cid(self) -> str:
        number = self._next_cid
        self._next_cid = number + 2
        return f"{number:x}"

    def _unavailable(self) -> Exception:
        if self._make_error is not None:
            return self._make_error(False)
        peer = self.session.peer_uid[0]
        return ActorUnavailable(f"the link to actor {peer!r} is lost", may_have_run=False)

    def _name_argument(
        self,
        name: tuple[str, str],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        error: EncodeError,
    ) -> EncodeError:
        """Find the argument that cannot travel and return an error that names it."""
        places = [(f"argument {index}", value) for index, value in enumerate(args)]
        places += [(f"argument {key!r}", value) for key, value in kwargs.items()]
        for place, value in places:
            try:
                self.codec.encode({"return": value}, self.session.peer_max_frame_bytes)
            except EncodeError as reason:
                return EncodeError(f"{place} of {':'.join(name)}: {reason}")
            except LimitExceeded:
                continue
        return error

    # --- receiving -----------------------------------------------------------------------

    async def _read_until_lost(self) -> Exception:
        """Read and dispatch; return why there is nothing more to read."""
        try:
            await self._read()
            return ChannelBroken("the peer closed the link")
        except ProtocolError as error:
            self._tell_peer(error)
            return error
        except trio.BrokenResourceError as error:
            return ChannelBroken(f"the link broke: {error}")
        except trio.ClosedResourceError:
            return ChannelClosed("this link was closed")

    async def _read(self) -> None:
        frames = self._frames
        frames.feed(self._leftover)
        self._dispatch_frames()
        while True:
            memory = frames.large_rest()
            if memory is not None:
                count = await self._transport.receive_into(memory)
                frames.fill(count)
            else:
                data = await self._transport.receive_some(self.limits.receive_chunk_bytes)
                count = len(data)
                frames.feed(bytes(data))
            if not count:
                return
            self._dispatch_frames()

    def _dispatch_frames(self) -> None:
        decode, calls = self.codec.decode, self._calls
        for frame in self._frames:
            raw, fault = decode(frame)
            message = parse_message(raw, fault, len(frame) + 4)
            if type(message) is Call:
                self._on_call(message)
                continue
            call = calls.get(message.cid)
            if call is not None:
                call.on_message(message)
            else:
                self._on_stray(message)

    def _on_stray(self, message: Message) -> None:
        """Drop a message of a call that has ended; refuse one of a call that never was.

        Raises:
          RemoteProtocolError: the cid was never used, or the peer reports an error of the link.
        """
        if type(message) is ErrorReply and not message.cid:
            raise RemoteProtocolError(f"the peer says: {unpack_error(message.error, self.limits)}")
        number = _cid_number(message.cid)
        if number % 2 == self._next_cid % 2:
            known = number < self._next_cid
        else:
            known = number <= self._last_peer_cid
        if not known:
            raise RemoteProtocolError(f"{type(message).__name__} for a cid that was never used")

    def _on_call(self, message: Call) -> None:
        if message.uid != self.session.peer_uid:
            raise RemoteProtocolError("a call under a uid that is not the authenticated one")
        number = _cid_number(message.cid)
        if number % 2 == self._next_cid % 2 or number <= self._last_peer_cid:
            raise RemoteProtocolError("a cid was used twice, or belongs to the other side")
        self._last_peer_cid = number
        self._calls_received += 1
        try:
            if message.ns == RUNTIME_NS:
                self._answer_runtime_call(message)
            else:
                self._accept_call(message)
        except ActorsysError as error:
            if isinstance(error, ProtocolError) and not isinstance(error, LimitExceeded):
                raise
            self._refuse_call(message.cid, error)

    def _accept_call(self, message: Call) -> None:
        if message.fault is not None:
            raise EncodeError(f"an argument of {message.ns}:{message.func}: {message.fault}")
        if len(self._calls) >= self.limits.max_calls_per_link:
            raise LimitExceeded(
                f"{len(self._calls)} calls are in flight on this link "
                f"(limits.max_calls_per_link); wait for some to end"
            )
        target = self._service.exposure.resolve(message.ns, message.func)
        call = IncomingCall(self, message.cid, target.kind, CALLEE_START[target.kind])
        if message.deadline is not None:
            call.scope.deadline = (
                trio.current_time() + message.deadline + self.limits.deadline_slack_seconds
            )
        self._calls[message.cid] = call
        self._incoming += 1
        assert self._tasks is not None
        self._tasks.start_soon(self._service.run_call, call, message, target)

    def _answer_runtime_call(self, message: Call) -> None:
        if message.func == "cancel":
            self._cancel_call(message.kwargs)
            value = None
        else:
            function = self._service.runtime_functions.get(message.func)
            if function is None or message.fault is not None:
                raise NotExposed(f"the runtime has no function {message.func!r}")
            value = function(self, message.kwargs)
        self.send({"functype": "asyncfunc", "cid": message.cid})
        self.send({"return": value, "cid": message.cid})

    def _cancel_call(self, kwargs: dict[str, Any]) -> None:
        call = self._calls.get(str(kwargs.get("cid")))
        if isinstance(call, IncomingCall):
            call.cancel(self.session.peer_uid, "its caller cancelled it")

    def _refuse_call(self, cid: str, error: Exception) -> None:
        self.send({"error": self.pack_error(error), "cid": cid})

    def _tell_peer(self, error: Exception) -> None:
        """Tell the peer why the link is about to be closed, if that can be done at once."""
        if self.is_open:
            self.send({"error": self.pack_error(error)})
            self.outbox.flush()

    # --- errors --------------------------------------------------------------------------

    def pack_error(self, error: BaseException) -> dict[str, Any]:
        """Return *error*, raised in this process, as it travels."""
        return pack_error(error, self.session.own_uid, self.limits, self.can_travel)

    def can_travel(self, value: Any) -> bool:
        """Tell whether *value* can be encoded within a modest size."""
        try:
            self.codec.encode({"return": value}, self.limits.stream_window_bytes)
        except (EncodeError, LimitExceeded):
            return False
        return True


def _cid_number(cid: str) -> int:
    """Return the number that *cid* is.

    Raises:
      RemoteProtocolError: it is none, or not in its only spelling.
    """
    try:
        number = int(cid, 16)
    except ValueError:
        number = -1
    if f"{number:x}" != cid:
        raise RemoteProtocolError("a cid is a number in lower-case hexadecimal")
    return number
