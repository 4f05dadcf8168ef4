"""One link: what it sends, what it runs, its end.

Whatever is to be written goes through the outbox, and whatever arrives through the reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import (
    ActorsysError,
    ActorUnavailable,
    ChannelBroken,
    ChannelClosed,
    EncodeError,
    LimitExceeded,
    ProtocolError,
    Uid,
    retell,
)
from ..limits import Limits
from ..transport import Transport
from ..wire import Codec, EncodedFrame, Kind, Session
from .call import OutgoingCall
from .call_table import CallTable
from .crew import Crew
from .dispatch import Dispatcher, Service
from .exposure import RUNTIME_NS
from .heartbeat import wait_silent
from .outbox import Outbox
from .reader import Reader
from .remote_errors import pack_error
from .tick import Flushable, acquire_flusher, release_flusher

_BRIEF_CHARS = 100  # what fits into the smallest message that a peer may announce
MakeError = Callable[[bool], Exception]
"""Makes the error of a call on a lost link, given whether the call may have run."""


class ChannelStatistics(NamedTuple):
    """Counts of one link since it was opened."""

    calls_made: int
    calls_received: int
    calls_in_flight: int
    bytes_sent: int
    bytes_queued: int


class Channel:
    """An authenticated link to one peer. It owns *transport*.

    `run` must run for as long as it is used. ``lost`` is set when the link has ended for whatever
    reason, which is then in ``reason``; calls in flight end when `fail_calls` is told why.

    With *is_remote*, the peer is on another machine: it is given up when it falls silent, or does
    not read.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        service: Service,
        limits: Limits,
        leftover: bytes = b"",
        *,
        is_remote: bool = False,
    ) -> None:
        self.session = session
        self.limits = limits
        self.codec = Codec(limits)
        self.lost = trio.Event()
        self.reason: Exception | None = None
        self.flusher = acquire_flusher()
        patience = limits.write_deadline_seconds if is_remote else math.inf
        self.outbox = Outbox(transport, self.flusher, limits, patience)
        self._unheard_at = -1
        self._patience: set[trio.CancelScope] = set()
        self._has_lost_patience = False
        self.is_remote = is_remote
        self._transport = transport
        self.table = CallTable(is_client=session.is_client)
        dispatcher = Dispatcher(self, service)
        self.reader = Reader(transport, self.flusher, self.codec, dispatcher, limits, leftover)
        self._crew = Crew(self.reader, service.run_call, self._on_end_of_reading)
        self._make_error: MakeError | None = None
        self._tasks: trio.Nursery | None = None

    def __repr__(self) -> str:
        state = "open" if self.is_open else "lost"
        return f"<Channel to {self.session.peer_uid[0]!r}: {state}, {len(self.table.calls)} calls>"

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self.reason is None and self.outbox.broken is None

    def statistics(self) -> ChannelStatistics:
        """Return the counts of this link."""
        return ChannelStatistics(
            calls_made=self.table.made_count,
            calls_received=self.table.received_count,
            calls_in_flight=len(self.table.calls),
            bytes_sent=self.outbox.written,
            bytes_queued=self.outbox.size,
        )

    # --- its life ------------------------------------------------------------------------

    @enable_ki_protection
    async def run(self) -> None:
        """Serve the link until it is lost or this is cancelled; nothing the peer does raises.

        Calls of the peer are cancelled when it is lost. Cancel this to close the link.
        """
        try:
            async with trio.open_nursery() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._write)
                if self.is_remote:
                    tasks.start_soon(self._watch_for_silence)
                self._crew.start(tasks)
        finally:
            self._lose(ChannelClosed("this link was closed"))
            self.outbox.close()
            release_flusher(self.flusher)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._transport)

    @contextmanager
    def being_patient(self) -> Iterator[None]:
        """Let what is inside the block, shielded, wait for the answer to a cancellation; not long.

        A peer that has let the last one pass, and has said nothing since, is not waited for again:
        calls inside each other would add up.
        """
        is_in_vain = self._has_lost_patience or self._unheard_at == self.reads
        seconds = 0.0 if is_in_vain else self.limits.cancel_ack_seconds
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds) as patience:
            self._patience.add(patience)
            try:
                yield
            finally:
                self._patience.discard(patience)
        if patience.cancelled_caught:
            self._unheard_at = self.reads

    def lose_patience(self) -> None:
        """Wait for no answers to cancellations any more, those under way included."""
        self._has_lost_patience = True
        for patience in self._patience:
            patience.cancel()

    def join_next_write(self, item: Flushable) -> None:
        """Ask *item* what it has to send when something else is sent; soon, if nothing is."""
        self.outbox.companions.append(item)
        self.flusher.queue_late(item)

    async def wait_flushed(self) -> None:
        """Wait until everything that was queued so far is with the kernel."""
        await self.outbox.wait_written(self.outbox.enqueued)

    @enable_ki_protection
    def fail_calls(self, make_error: MakeError) -> int:
        """End every call that we made; return how many were being waited for.

        Calls made later fail at once with the same error.
        """
        self._make_error = make_error
        awaited = 0
        for call in self.table.outgoing():
            awaited += call.is_awaited
            call.end(None, make_error(call.may_have_run))
        return awaited

    def cancel_incoming(self, canceller: Uid, reason: str) -> None:
        """Cancel every call of the peer."""
        for call in self.table.incoming():
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

    @enable_ki_protection
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

    @enable_ki_protection
    def send_runtime_call(self, func: str, kwargs: dict[str, Any]) -> None:
        """Call a function of the peer's runtime; the answer is not awaited."""
        if self.is_open:
            self.send({"cmd": [RUNTIME_NS, func, kwargs, self._own_uid, self.table.take_cid()]})

    @enable_ki_protection
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
        cid = self.table.take_cid()
        packed = {key: wrap(value) for key, value in kwargs.items()} if kwargs else kwargs
        message: dict[str, Any] = {"cmd": [*name, packed, self._own_uid, cid]}
        if args:
            message["args"] = [wrap(value) for value in args]
        if extras:
            message.update(extras)
        try:
            frame = self.encode(message)
        except LimitExceeded:
            raise
        except ActorsysError as error:
            raise self._name_argument(name, args, kwargs, error) from error.__cause__
        call = OutgoingCall(self, cid, kind, name)
        self.table.add(call)
        self.outbox.put(frame)
        if len(frame) > 1:
            await self.outbox.give_back(self.outbox.enqueued)
        return call

    @property
    def _own_uid(self) -> list[str]:
        return list(self.session.own_uid)

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
        error: ActorsysError,
    ) -> ActorsysError:
        """Find the argument that cannot travel and return an error that names it."""
        places = [(f"argument {index}", value) for index, value in enumerate(args, 1)]
        places += [(f"argument {key!r}", value) for key, value in kwargs.items()]
        for place, value in places:
            try:
                self.codec.measure({"return": value}, self.session.peer_max_frame_bytes)
            except LimitExceeded:
                continue
            except ActorsysError as reason:
                return retell(reason, f"{place} of {':'.join(name)}")
        return error

    @enable_ki_protection
    async def _write(self) -> None:
        await self.outbox.run()
        # What the peer had sent before it closed can still be read; its end cancels this.
        await trio.sleep(self.limits.link_loss_seconds)
        assert self._tasks is not None
        self._lose(self.outbox.broken or ChannelClosed("this link was closed"))
        self._tasks.cancel_scope.cancel()

    @enable_ki_protection
    async def _watch_for_silence(self) -> None:
        self._lose(await wait_silent(self))
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()

    # --- receiving -----------------------------------------------------------------------

    @property
    def reads(self) -> int:
        """How often something was received."""
        return self.reader.reads

    def _on_end_of_reading(self) -> None:
        assert self.reader.end is not None
        assert self._tasks is not None
        self._lose(self.reader.end)
        if isinstance(self.reader.end, ProtocolError):
            self._tell_peer(self.reader.end)
        self._tasks.cancel_scope.cancel()

    def _tell_peer(self, error: Exception) -> None:
        """Tell the peer why the link is about to be closed, if that can be done at once."""
        if self.outbox.broken is None:
            self.send_error(self.pack_error(error), None)
            self.outbox.flush()

    # --- errors --------------------------------------------------------------------------

    @enable_ki_protection
    def send_error(self, fields: dict[str, Any], cid: str | None) -> None:
        """Send an error, of a call or of the link; if it does not fit, its first words."""
        place = {} if cid is None else {"cid": cid}
        try:
            self.send({"error": fields, **place})
        except (EncodeError, LimitExceeded):
            brief = {name: fields[name][:_BRIEF_CHARS] for name in ("type_str", "message")}
            self.send({"error": brief, **place})

    def pack_error(self, error: BaseException) -> dict[str, Any]:
        """Return *error*, raised in this process, as it travels."""
        return pack_error(error, self.session.own_uid, self.limits, self.measure)

    def measure(self, value: Any) -> int | None:
        """Return how many bytes *value* takes in an error, or None if it cannot travel.

        It is measured inside containers: in an error, it stands deeper than in a result.
        """
        depth = self.limits.max_error_depth
        nested = value
        for _ in range(2 * depth):
            nested = [nested]
        try:
            return self.codec.measure({"return": nested}, self.session.peer_max_frame_bytes)
        except (EncodeError, LimitExceeded):
            return None
