"""A kernel in its own process: it takes messages, and hands out what it makes of them."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Context, current_actor
from ..actor.parcels import Parcel
from ..actor.serve import is_cancellation
from ..channel.waiters import Waiters
from ..errors import BufferFault, ReceiveTimeout, RemoteProtocolError
from .kernel_context import Idle, KernelContext
from .packing import pack_message, unpack_message
from .page import KernelPage
from .priority_queue import PriorityQueue
from .requests import OutgoingRequests
from .tally import Tally
from .wiring import ToKernel, ToRuntime, Wiring

logger = logging.getLogger("actorsys.kernels")

_MAX_ASKED = 10_000  # requests whose reply is still owed; an older one is forgotten
_CRASHED = 1  # the exit code


class _Arrived(NamedTuple):
    """A message that has come and is not taken."""

    number: int
    parcel: Parcel
    accepted_at: float
    is_asked: bool


class KernelHost:
    """The mailbox of a kernel at its own end, and what its context does."""

    def __init__(self, room: int, page: KernelPage | None, *, is_prefetching: bool) -> None:
        self.is_active = False
        self.wiring: Wiring | None = None
        self._queue: PriorityQueue[_Arrived] = PriorityQueue()
        self._is_prefetching = is_prefetching
        self._is_wanted = False
        self._is_ending = False
        self._is_watched = False
        self._is_looking_up = False
        self._page = page
        self._untold: int | None = None
        self._in_hand: list[float] = []
        self._asked: OrderedDict[bytes, None] = OrderedDict()
        self._room = room
        self._requests = OutgoingRequests(self._send)
        self._tally = Tally() if page is None else page.tally
        self._changed = Waiters()
        self._has_room = trio.lowlevel.ParkingLot()
        self._now = trio.lowlevel.current_clock().current_time  # in fewer steps than trio's own

    def __repr__(self) -> str:
        gate = "active" if self.is_active else "not active"
        return f"<KernelHost: {gate}, {len(self._queue)} messages>"

    @property
    def should_terminate(self) -> bool:
        """Whether the kernel was asked to end, and everything before that is taken."""
        return self._is_ending and not self._queue

    def look_up(self) -> bool:
        """Return `should_terminate`; who asks has done what there was to do for now."""
        self._is_looking_up = True
        self._tell_idle()
        return self.should_terminate

    def _tell_idle(self) -> None:
        """Tell the runtime, if it wants to know, that nothing is left to be processed."""
        is_idle = not self._queue and (self._is_looking_up or not self._in_hand)
        if self._is_watched and is_idle:
            self._is_watched = False
            self._send(ToRuntime.IDLE)

    def _send(self, kind: int, *rest: Any) -> None:
        assert self.wiring is not None
        taken, self._untold = self._untold, None
        try:
            self.wiring.send(kind, taken, *rest)
        except BaseException:
            self._untold = taken  # what cannot travel does not tell it either
            raise

    def end_tick(self) -> None:
        """Tell what was taken, if nothing else was told since."""
        if self._untold is not None:
            self._send(ToRuntime.TAKEN)

    async def _wait(self) -> None:
        """Wait for anything that the runtime sends."""
        assert self.wiring is not None
        await self.wiring.reader.wait(self._changed)

    # --- taking --------------------------------------------------------------------------

    @enable_ki_protection
    async def take(self, seconds: float, *, keeps_in_hand: bool = False) -> Any:
        """Return the next message, or None if the kernel shall end or the time is up.

        Whoever comes for the next one has processed those before, unless it *keeps_in_hand*.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not keeps_in_hand:
            self.put_down()
        while True:
            if self.is_active and self._queue:
                arrived = self._queue.pop()
                message = self._read(arrived)
                if message is not None:
                    await self._tell_taken(arrived.number)
                    return message
            elif self.should_terminate:
                return None
            elif not self.is_active:
                await self._wait()
            else:
                self._want_more()
                if seconds == math.inf:  # by far the most common, and a scope costs its time
                    await self._wait()
                    continue
                before = self._now()
                with trio.move_on_after(seconds) as patience:
                    await self._wait()
                if patience.cancelled_caught:
                    return None
                seconds -= self._now() - before

    def count_crash(self) -> None:
        """Count an exception that has left the function, and tell the runtime all counts."""
        self._tally.count_error()
        self.report_counts()
        assert self.wiring is not None
        self.wiring.flush()

    async def _tell_taken(self, number: int) -> None:
        """Return when the runtime will know of a message taken, even if this process dies next."""
        assert self.wiring is not None
        if self._page is None:
            self._untold = number
            await self._write_all()
        else:
            # What was sent for earlier messages must not be lost with this one.
            if self._untold is not None or self.wiring.is_behind:
                await self._write_all()
            self._page.note(number)
            self._untold = number
            self.wiring.remind(self)

    async def _write_all(self) -> None:
        """Return when all that there is to tell is with the kernel of the system."""
        assert self.wiring is not None
        self.end_tick()
        if self.wiring.is_behind:
            self.wiring.flush()
        if self.wiring.is_behind:
            with trio.CancelScope(shield=True):  # the message is in our hands already
                await self.wiring.wait_written()

    def put_down(self) -> None:
        """Count what was taken as processed."""
        if self._in_hand:
            now = self._now()
            for accepted_at in self._in_hand:
                self._tally.count_processed(now - accepted_at)
            self._in_hand.clear()
        self._tell_idle()

    def _read(self, arrived: _Arrived) -> Any:
        """Return a message that has arrived; None if it cannot be read, told and counted."""
        try:
            message = unpack_message(arrived.parcel)
        except (RemoteProtocolError, BufferFault) as error:
            self._tally.count_error()
            self._send(ToRuntime.UNREADABLE, arrived.number, str(error))
            logger.error("a message cannot be read: %s", error)
            return None
        self._in_hand.append(arrived.accepted_at)
        self._is_looking_up = False
        if arrived.is_asked:
            self._asked[message.message_id.bytes] = None
            if len(self._asked) > _MAX_ASKED:
                self._asked.popitem(last=False)
        return message

    def _want_more(self) -> None:
        if not (self._is_prefetching or self._is_wanted):
            self._is_wanted = True
            self._send(ToRuntime.WANTED, 1)

    async def wait_active(self) -> None:
        """Wait until messages may be taken, or the kernel shall end."""
        while not (self.is_active or self.should_terminate):
            await self._wait()

    # --- handing out ---------------------------------------------------------------------

    @enable_ki_protection
    async def put_out(self, message: Any) -> None:
        """Send a response; wait for room, unless somebody waits for it."""
        parcel = pack_message(message)
        correlation_id = message.correlation_id
        correlation = None if correlation_id is None else correlation_id.bytes
        await trio.lowlevel.checkpoint_if_cancelled()
        is_reply = correlation in self._asked
        while not (is_reply or self._room > 0):
            await self._has_room.park()
        self._send(ToRuntime.RESPONSE, parcel, message.priority, correlation)
        if is_reply:
            assert correlation is not None
            del self._asked[correlation]
        else:
            self._room -= 1

    @enable_ki_protection
    async def request(self, verb: str, name: str, message: Any, timeout: float | None) -> Any:
        """Have the runtime do something with *message*; else as `OutgoingRequests.make`."""
        return await self._requests.make(verb, name, message, timeout)

    # --- what the reader of the link does ------------------------------------------------

    def on_item(self, item: list[Any]) -> None:
        """Take what the runtime has sent."""
        kind, *rest = item
        if kind == ToKernel.MESSAGE:
            number, priority, parcel, age, is_asked = rest
            self._is_wanted = False
            arrived = _Arrived(number, parcel, self._now() - age, is_asked)
            self._queue.push(arrived, priority)
        elif kind == ToKernel.GATE:
            (self.is_active,) = rest
            self._send(ToRuntime.GATED, self.is_active)
        elif kind == ToKernel.TERMINATE:
            self._is_ending = True
            if not rest[0]:
                self._queue.clear()
        elif kind == ToKernel.ROOM:
            self._room += rest[0]
            self._has_room.unpark_all()
            return
        elif kind == ToKernel.ANSWER:
            self._requests.on_answer(*rest)
            return
        elif kind == ToKernel.COUNT:
            self.report_counts()
            return
        elif kind == ToKernel.WATCH:
            self._is_watched = True
            self._tell_idle()
            return
        self._changed.wake()

    def report_counts(self) -> None:
        """Tell the runtime what only this process knows."""
        self._send(ToRuntime.COUNTED, self._tally.numbers())

    # --- running -------------------------------------------------------------------------

    async def run(self, function: Callable[[KernelContext], Awaitable[None]], name: str) -> None:
        """Run the function of the kernel until it ends."""
        while True:
            try:
                await function(KernelContext(self, name))
                break
            except (ReceiveTimeout, trio.EndOfChannel, BaseExceptionGroup) as error:
                end = _end_of_receiving(error)
                if end is None:
                    raise
                if self.should_terminate:
                    break
                if not isinstance(end, Idle):
                    raise
                # Such a loop has no handler for a mailbox that is empty for a while.
                logger.info("kernel %r let a receive timeout out; its function starts anew", name)
        self.put_down()


def _end_of_receiving(error: BaseException) -> BaseException | None:
    """Return what `KernelContext.receive` has raised, if *error* is that and nothing else.

    A nursery in the kernel makes a group of it.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, (ReceiveTimeout, trio.EndOfChannel)) else None


async def host_kernel(
    ctx: Context,
    function: Callable[[KernelContext], Awaitable[None]],
    name: str,
    room: int,
    is_prefetching: bool,
    is_permanent: bool,
    page_address: list[int] | None,
) -> None:
    """Be the kernel *name*, linked by *ctx* to its runtime, until it ends or crashes.

    A crash ends the process: its supervisor decides what follows. So does an end that nobody has
    asked for, where it *is_permanent*.
    """
    with KernelPage.opened(page_address) as page:
        host = KernelHost(room, page, is_prefetching=is_prefetching)
        await ctx.started()
        async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
            host.wiring = Wiring(stream.flow, host.on_item)
            host.wiring.listen()
            tasks.start_soon(host.wiring.run)
            await _run_or_crash(host, function, name)
            host.report_counts()
            await host.wiring.wait_taken()
            if is_permanent and not host.should_terminate:
                await host.wiring.wait_written()
                await _exit(0)
            tasks.cancel_scope.cancel()


async def _run_or_crash(
    host: KernelHost, function: Callable[[KernelContext], Awaitable[None]], name: str
) -> None:
    try:
        await host.run(function, name)
    except BaseException as error:
        if is_cancellation(error):
            host.report_counts()  # it is ended by force: what it has done shall be known
            raise
        logger.exception("kernel %r has crashed", name)
        host.count_crash()
        await _exit(_CRASHED)


async def _exit(code: int) -> None:
    """End this process; in a simulation, its task is cancelled soon."""
    current_actor().host.exit(code)
    await trio.sleep_forever()
