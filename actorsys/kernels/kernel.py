"""One launched kernel, as its runtime sees it: its mailbox, its process, its responses."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Portal
from ..actor.parcels import Parcel, is_parcel
from ..actor.runtime import open_services
from ..channel import Channel
from ..channel.waiters import Waiters
from ..errors import (
    ActorsysError,
    ActorUnavailable,
    ContextCancelled,
    EncodeError,
    MailboxFull,
    ReceiveTimeout,
)
from ..limits import Limits
from ..supervise.strategies import Restart
from .asks import Asks
from .delivery import Accepted, Delivery
from .life import Life
from .packing import Envelope
from .requests import IncomingRequests, OnRequest
from .responses import Responses
from .ring_kernels import KernelState, MailboxOptions
from .statistics import KernelStatistics
from .tally import Counted, counted_in
from .uuids import is_uuid
from .wiring import ToKernel, ToRuntime, Wiring

logger = logging.getLogger("actorsys.kernels")

_COUNT_SECONDS = 0.5  # for a process to tell its counts


class Kernel:
    """A kernel that was launched, and its link to its process. Owned by its `RingKernelRuntime`.

    Messages to it wait in its `Delivery`; what comes back goes to one of its `Asks`, or waits in
    its `Responses`. ``life`` tells what state it is in.
    """

    def __init__(
        self,
        name: str,
        entry: Callable[..., Any],
        portal: Portal,
        options: MailboxOptions,
        restart: Restart,
        on_request: OnRequest,
        limits: Limits,
    ) -> None:
        self.name = name
        self.portal = portal
        self.life = Life(name)
        self._entry = entry
        self._restart = restart
        self._limits = limits
        self._delivery = Delivery(
            options, self._on_overflow, self._on_unsendable, self.life.note_change
        )
        self._responses = Responses(name, options.output_queue_size, self._wait)
        self._asks = Asks(self._wait)
        self._requests = IncomingRequests(on_request, limits.max_text_chars)
        self._channel: Channel | None = None
        self._tasks: trio.Nursery | None = None
        self._gate_as_told: bool | None = None
        self._is_quiet = False
        self._counting = trio.lowlevel.ParkingLot()
        self._now = trio.lowlevel.current_clock().current_time  # in fewer steps than trio's own
        self._statistics = KernelStatistics()
        self._of_process = Counted()

    def __repr__(self) -> str:
        return f"<Kernel {self.name!r}: {self.life.state.value}, {self._delivery.mailbox!r}>"

    @property
    def _wiring(self) -> Wiring | None:
        """The link to its process, None while there is none."""
        return self._delivery.wiring

    async def _wait(self, waiters: Waiters) -> None:
        """Wait as `Waiters.wait` does, for something that its process sends."""
        wiring = self._delivery.wiring
        await (waiters.wait() if wiring is None else wiring.reader.wait(waiters))

    # --- sending to it -------------------------------------------------------------------

    @enable_ki_protection
    async def send(self, envelope: Envelope, *, is_asked: bool = False) -> None:
        """Put a message into its mailbox, as its backpressure strategy says.

        Raises:
          MailboxFull: there is no room, and the strategy is to refuse.
          ActorUnavailable: the kernel does not accept messages any more.
        """
        self.life.check_intake()
        accepted = Accepted(envelope, self._now(), is_asked)
        await self._delivery.put(accepted)
        self._statistics.received += 1

    @enable_ki_protection
    async def ask(self, envelope: Envelope, seconds: float) -> Parcel:
        """Send a message and return the reply to it, packed.

        Raises:
          ReceiveTimeout: it has not come in time; if it comes later it is dropped and counted.
          ValueError: somebody waits for a reply to this very message already.
          ActorUnavailable: the kernel has ended, or does so meanwhile.
        """
        if math.isnan(seconds):
            raise ValueError("a timeout is a number of seconds, not NaN")
        ask = self._asks.open(envelope.message_id.bytes)
        try:
            with trio.move_on_after(seconds) if seconds < math.inf else contextlib.nullcontext():
                await self.send(envelope, is_asked=True)
                ask.is_sent = True
                return await ask.wait()
        finally:
            self._asks.close(ask)
        raise ReceiveTimeout(f"kernel {self.name!r} has not replied within {seconds:g} s")

    def _on_overflow(self, accepted: Accepted) -> None:
        self._drop([accepted], "overflow")

    def _on_unsendable(self, accepted: Accepted, error: ActorsysError) -> None:
        """Tell the log, and who waits for a reply, of a message that cannot travel any more."""
        logger.error("a message to kernel %r is dropped: %s", self.name, error)
        self._statistics.drop("unreadable")
        if accepted.is_asked:
            self._asks.answer(accepted.envelope.message_id.bytes, error)

    def _drop(self, dropped: Iterable[Accepted], reason: str) -> None:
        """Count messages that the kernel will never see, and tell who waits for a reply."""
        for accepted in dropped:
            self._statistics.drop(reason)
            if accepted.is_asked:
                error = MailboxFull(f"the message was dropped: {reason}")
                self._asks.answer(accepted.envelope.message_id.bytes, error)

    # --- what its process sends ----------------------------------------------------------

    @enable_ki_protection
    def _on_item(self, item: list[Any]) -> None:
        """Take what its process has sent; called by the reader of the link."""
        kind, taken, *rest = item
        if taken is not None:
            self._delivery.on_taken(taken)
        if kind == ToRuntime.RESPONSE:
            self._on_response(*rest)
        elif kind == ToRuntime.WANTED:
            self._delivery.on_wanted(rest[0])
        elif kind == ToRuntime.IDLE:
            self._is_quiet = True
            self.life.note_change()
        elif kind == ToRuntime.GATED:
            (self._gate_as_told,) = rest
            self.life.note_change()
        elif kind == ToRuntime.REQUEST:
            assert self._tasks is not None
            assert self._wiring is not None
            self._requests.start(self._tasks, self._wiring, rest)
        elif kind == ToRuntime.GIVEN_UP:
            self._requests.give_up(rest[0])
        elif kind == ToRuntime.UNREADABLE:
            self._on_unreadable(*rest)
        elif kind == ToRuntime.COUNTED:
            self._of_process = counted_in(*rest)
            self._counting.unpark_all()

    def _on_unreadable(self, number: int, reason: str) -> None:
        error = EncodeError(f"kernel {self.name!r} cannot read the message: {reason}")
        key = self._delivery.find(number).envelope.message_id.bytes
        self._asks.answer(key, error)
        self._statistics.drop("unreadable")
        self._delivery.on_taken(number)

    def _on_response(self, parcel: Parcel, priority: int, correlation: bytes | None) -> None:
        if not is_parcel(parcel):
            raise TypeError("a response is a packed message")
        if correlation is not None:
            if not is_uuid(correlation):
                raise TypeError("what a response is correlated with is a UUID")
            if self._asks.answer(correlation, parcel):
                return
            if self._asks.forget_late(correlation):
                self._statistics.drop("late")
                return
        self._responses.add(parcel, priority)

    # --- receiving from it ---------------------------------------------------------------

    @enable_ki_protection
    async def receive(self, seconds: float) -> Parcel:
        """Return the next response that nobody asked for, packed.

        Raises:
          ReceiveTimeout: there is none within *seconds*.
          ActorUnavailable: there is none, and there will be none: the kernel has ended.
        """
        parcel = await self._responses.receive(seconds)
        wiring = self._delivery.wiring
        if wiring is not None and (freed := self._responses.take_freed()):
            wiring.send(ToKernel.ROOM, freed)
        return parcel

    # --- its life ------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay linked with its process, through all its incarnations, until it has ended."""
        try:
            await self._run()
            await self.portal.cancel_actor()
        finally:
            self._delivery.close()

    async def _run(self) -> None:
        async with open_services() as self._tasks:
            while not self.life.is_over:
                try:
                    await self._run_linked()
                    self._end(KernelState.TERMINATED, None)
                except ActorUnavailable as death:
                    await self._follow_restart(death)
                except ContextCancelled:
                    self._end(KernelState.TERMINATED, None)  # somebody has stopped its actor
                except ActorsysError as error:
                    if await self._is_dying():
                        unreadable = f"kernel {self.name!r} has died; of its last words: {error}"
                        await self._follow_restart(ActorUnavailable(unreadable, may_have_run=True))
                    else:
                        self._end(KernelState.FAILED, error)

    async def _is_dying(self) -> bool:
        """Tell whether what cannot be read of it is but a sign of its death."""
        if self._channel is None:
            return False
        with trio.move_on_after(self._limits.link_loss_seconds):
            await self._channel.lost.wait()
        return self._channel.lost.is_set()

    async def _run_linked(self) -> None:
        """Be linked with one incarnation until its function has ended."""
        room = self._responses.room
        delivery = self._delivery
        is_permanent = self._restart == "permanent"
        start = (self.name, room, delivery.is_prefetching, is_permanent, delivery.page_address)
        async with self.portal.open_context(self._entry, *start) as (ctx, _):
            self._channel = await self.portal.peer.channel()
            async with ctx.open_stream() as stream, open_services() as services:
                wiring = Wiring(stream.flow, self._on_item)
                services.start_soon(wiring.run)
                more = self._responses.freed_since(room)
                if more > 0:  # received while the link was being opened
                    wiring.send(ToKernel.ROOM, more)
                delivery.link(wiring)
                wiring.listen()
                self.life.note_change()
                await ctx.result()

    async def _follow_restart(self, death: ActorUnavailable) -> None:
        """Take back what the process had at hand, and wait for the next incarnation."""
        self._unlink()
        waiting = self._delivery.take_back()
        self._asks.end_all(lambda: copy.copy(death), but=waiting)
        if self.life.state is KernelState.TERMINATING and self._delivery.is_drained:
            self._end(KernelState.TERMINATED, None)  # there is nothing to come back for
            return
        try:
            await self.portal.peer.channel()
        except ActorUnavailable as gone:
            was_asked = self.life.state is KernelState.TERMINATING
            self._end(
                KernelState.TERMINATED if was_asked else KernelState.FAILED,
                None if was_asked else gone,
            )
        else:
            self._statistics.restarts += 1

    def _unlink(self) -> None:
        self._delivery.unlink()
        self._requests.give_up_all()
        self._gate_as_told = None
        self._statistics.add_process(self._counted())
        self._of_process = Counted()
        self._delivery.forget_counted()
        self.life.note_change()
        self._counting.unpark_all()

    def _end(self, state: KernelState, failure: Exception | None) -> None:
        """Have it ended, in whatever way; whoever waits for anything of it is told."""
        self.life.enter(state, failure)
        if self._wiring is not None:
            self._unlink()
        self._asks.end_all(self.life.gone)
        left = self._delivery.clear()
        self._drop(left, "terminated" if failure is None else "crashed")
        if left:
            logger.warning(
                "kernel %r is %s; %d messages that it has not taken are dropped",
                self.name,
                state.value,
                len(left),
            )
        self._delivery.mailbox.refuse(self.life.gone)
        self._responses.end(self.life.gone)

    # --- through its states ----------------------------------------------------------------------

    async def wait_launched(self) -> None:
        """Wait until its process is up and linked, or has ended."""
        while self._wiring is None and self.life.has_intake:
            await self.life.wait_change()

    @enable_ki_protection
    async def set_gate(self, is_open: bool, state: KernelState) -> None:
        """Let messages through or not; return when its process does so."""
        self.life.check_intake()
        self.life.enter(state)
        self._set_gate(is_open)
        while self._gate_as_told is not is_open and self._delivery.is_gate_open is is_open:
            self.life.check_intake()
            await self.life.wait_change()

    def _set_gate(self, is_open: bool) -> None:
        if self._delivery.set_gate(is_open):
            self._gate_as_told = None

    @enable_ki_protection
    async def terminate(self, *, drain: bool, seconds: float) -> None:
        """End it: after what was accepted is handled, or at once; by force when the time is up."""
        with trio.move_on_after(seconds):
            await self._terminate_in_order(drain)
        with trio.CancelScope(shield=True):
            await self.portal.cancel_actor(self._limits.kill_after_seconds)
            await self.life.wait_over()

    async def _terminate_in_order(self, drain: bool) -> None:
        if self.life.has_intake:
            self.life.enter(KernelState.TERMINATING)
            self._delivery.mailbox.refuse(self.life.gone)
            if drain:
                self._set_gate(True)
            else:
                self._drop(self._delivery.mailbox.queue.clear(), "terminated")
        told: Wiring | None = None
        while not self.life.is_over:
            # After a crash it is told again, once what is left is given out.
            if self._delivery.is_drained and self._wiring is not None and self._wiring is not told:
                told = self._wiring
                told.send(ToKernel.TERMINATE, drain)
            await self.life.wait_change()

    @enable_ki_protection
    async def wait_quiet(self) -> None:
        """Let it handle what it was sent; return when nothing is left, or it has ended."""
        watched: Wiring | None = None
        self._is_quiet = False
        self._set_gate(True)
        while not self.life.is_over and not (self._is_quiet and self._delivery.is_drained):
            if self._is_quiet or self._wiring is not watched:
                self._is_quiet, watched = False, None
            if self._delivery.is_drained and self._wiring is not None and watched is None:
                watched = self._wiring
                watched.send(ToKernel.WATCH)
            await self.life.wait_change()

    @property
    def accepted_count(self) -> int:
        """How many messages it has accepted so far."""
        return self._statistics.received

    async def statistics(self) -> KernelStatistics:
        """Return its counts; its process is asked for those that only it knows.

        So they fit each other. If it is too busy to answer, some may be of a moment later: they are
        read where it counts.
        """
        counted = self._of_process
        if self._wiring is not None:
            self._wiring.send(ToKernel.COUNT)
            with trio.move_on_after(_COUNT_SECONDS) as patience:
                await self._counting.park()
            counted = self._counted() if patience.cancelled_caught else self._of_process
        return self._statistics.with_process(counted, len(self._delivery.mailbox))

    def _counted(self) -> Counted:
        """Return what its process has counted, whether or not it has told."""
        # Where it shares no memory, that is what it has told last.
        return max(self._delivery.counted(), self._of_process)
