"""One launched kernel, as its runtime sees it: its mailbox, its process, its responses."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Portal
from ..actor.runtime import open_services
from ..channel import Channel
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
from ..wire import cut
from .at_hand import AtHand
from .mailbox import BackpressureStrategy, Mailbox
from .messages import Envelope, Packed, checked_priority, is_packed
from .priority_queue import PriorityQueue
from .ring_kernels import KernelState, MailboxOptions
from .statistics import Counted, KernelStatistics, checked_counts
from .taken import TakenPage
from .wiring import ToKernel, ToRuntime, Wiring

logger = logging.getLogger("actorsys.kernels")

_PREFETCHED = 16  # messages that a kernel has at hand, so that it need not wait for the next one
_MAX_UNOWED = 256  # replies beside the responses: to asks that are forgotten
_COUNT_SECONDS = 0.5  # for a process to tell its counts
_MAX_LATE = 10_000  # replies that are owed to nobody any more; an older one would be a response

OnRequest = Callable[[str, str, Envelope, "float | None"], Awaitable["Packed | None"]]
"""Does what a kernel asks of its runtime: verb, name, message, timeout."""

INTAKE_STATES = (KernelState.LAUNCHED, KernelState.ACTIVE, KernelState.DEACTIVATED)


class _Accepted(NamedTuple):
    """A message that was accepted and is not taken."""

    envelope: Envelope
    accepted_at: float
    is_asked: bool


def _checked_request(
    number: Any, verb: str, name: str, envelope: list[Any], timeout: float | None
) -> tuple[str, str, Envelope, float | None]:
    """Return what a kernel asks for, if it makes sense.

    Raises:
      ValueError, TypeError: it does not.
    """
    packed, priority, key = envelope
    if not is_packed(packed) or not isinstance(name, str):
        raise TypeError("a request has a name and a packed message")
    return verb, name, Envelope(packed, checked_priority(priority), uuid.UUID(bytes=key)), timeout


class _Ask:
    """Somebody who waits for a reply."""

    def __init__(self) -> None:
        self.has_ended = False
        self._reply: Packed | Exception = b""
        self._done = trio.Event()

    async def wait(self) -> Packed:
        """Return the reply, packed, or raise why there is none."""
        await self._done.wait()
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply

    def end(self, reply: Packed | Exception) -> None:
        """Take the reply, or why there will be none; the first one counts."""
        if not self.has_ended:
            self.has_ended = True
            self._reply = reply
            self._done.set()


class Kernel:
    """A kernel that was launched. Owned by its `RingKernelRuntime`.

    Messages wait here, not in the process: a crash loses none but those that were taken. The
    process has a few at hand, and never one while a better one waits here.
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
        self.state = KernelState.LAUNCHED
        self.failure: Exception | None = None
        self._entry = entry
        self._options = options
        self._restart = restart
        self._on_request = on_request
        self._limits = limits
        self._mailbox: Mailbox[_Accepted] = Mailbox(
            options.queue_size, options.backpressure, self._pump, self._on_overflow
        )
        # Where the oldest shall make room, none may have left already.
        keeps_back = options.backpressure is BackpressureStrategy.DROP_OLDEST
        self._prefetched = 0 if keeps_back else min(_PREFETCHED, options.queue_size)
        self._at_hand: AtHand[_Accepted] = AtHand()
        self._page = TakenPage.create()
        self._credits = 0
        self._is_gate_open = False
        self._is_quiet = False
        self._gate_as_told: bool | None = None
        self._wiring: Wiring | None = None
        self._channel: Channel | None = None
        self._tasks: trio.Nursery | None = None
        self._responses: PriorityQueue[Packed] = PriorityQueue()
        self._freed = 0
        self._asks: dict[uuid.UUID, _Ask] = {}
        self._late: OrderedDict[uuid.UUID, None] = OrderedDict()
        self._requests: dict[int, trio.CancelScope] = {}
        self._counting = trio.lowlevel.ParkingLot()
        self._statistics = KernelStatistics()
        self._of_process = Counted()
        self._changed = trio.lowlevel.ParkingLot()
        self._has_response = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Kernel {self.name!r}: {self.state.value}, {self._mailbox!r}>"

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.state not in (KernelState.TERMINATED, KernelState.FAILED)

    # --- sending to it -------------------------------------------------------------------

    @enable_ki_protection
    async def send(self, envelope: Envelope, *, is_asked: bool = False) -> None:
        """Put a message into its mailbox, as its backpressure strategy says.

        Raises:
          MailboxFull: there is no room, and the strategy is to refuse.
          ActorUnavailable: the kernel does not accept messages any more.
        """
        self._check_intake()
        accepted = _Accepted(envelope, trio.current_time(), is_asked)
        await self._mailbox.put(accepted, envelope.priority)
        self._statistics.received += 1

    @enable_ki_protection
    async def ask(self, envelope: Envelope, seconds: float) -> Packed:
        """Send a message and return the reply to it, packed.

        Raises:
          ReceiveTimeout: it has not come in time; if it comes later it is dropped and counted.
          ValueError: somebody waits for a reply to this very message already.
          ActorUnavailable: the kernel has ended, or does so meanwhile.
        """
        if math.isnan(seconds):
            raise ValueError("a timeout is a number of seconds, not NaN")
        key = envelope.message_id
        if key in self._asks:
            raise ValueError(f"somebody waits for the reply to message {key} already")
        ask = self._asks[key] = _Ask()
        is_sent = False
        try:
            with trio.move_on_after(seconds) if seconds < math.inf else contextlib.nullcontext():
                await self.send(envelope, is_asked=True)
                is_sent = True
                return await ask.wait()
        finally:
            del self._asks[key]
            if is_sent and not ask.has_ended:
                self._late[key] = None
                if len(self._late) > _MAX_LATE:
                    self._late.popitem(last=False)
        raise ReceiveTimeout(f"kernel {self.name!r} has not replied within {seconds:g} s")

    def _check_intake(self) -> None:
        if self.state not in INTAKE_STATES:
            raise self._gone()

    def _gone(self) -> Exception:
        """Return why messages are not accepted."""
        if isinstance(self.failure, ActorUnavailable):
            return copy.copy(self.failure)
        why = f": {self.failure}" if self.failure is not None else ""
        return ActorUnavailable(
            f"kernel {self.name!r} is {self.state.value}, it takes no messages and sends none{why}",
            may_have_run=False,
        )

    def _on_overflow(self, accepted: _Accepted) -> None:
        self._drop([accepted], "overflow")

    def _drop(self, dropped: Iterable[_Accepted], reason: str) -> None:
        """Count messages that the kernel will never see, and tell who waits for a reply."""
        for accepted in dropped:
            self._statistics.drop(reason)
            ask = self._asks.get(accepted.envelope.message_id) if accepted.is_asked else None
            if ask is not None:
                ask.end(MailboxFull(f"the message was dropped: {reason}"))

    # --- the way to its process ----------------------------------------------------------

    def _pump(self) -> None:
        """Give the process what it has credit for, and whatever is better than all it has."""
        wiring, queue = self._wiring, self._mailbox.queue
        if wiring is None or not self._is_gate_open:
            return
        while queue and (self._credits > 0 or queue.best > self._at_hand.least):
            accepted = queue.pop()
            if self._prefetched:
                self._mailbox.held += 1
            self._credits -= 1
            number = self._at_hand.add(accepted, accepted.envelope.priority)
            packed, priority, _ = accepted.envelope
            age = trio.current_time() - accepted.accepted_at
            wiring.send(ToKernel.MESSAGE, number, priority, packed, age, accepted.is_asked)
        if self._is_drained:
            self._changed.unpark_all()

    def _on_taken(self, number: int) -> None:
        self._at_hand.remove(number)
        if self._prefetched:
            self._mailbox.held -= 1
            self._credits += 1
        self._mailbox.make_room()
        if self._is_drained:
            self._changed.unpark_all()

    @property
    def _is_drained(self) -> bool:
        return not self._mailbox.queue

    @enable_ki_protection
    def _on_item(self, item: list[Any]) -> None:
        """Take what its process has sent; called by the reader of the link."""
        kind, taken, *rest = item
        if taken is not None:
            self._on_taken(taken)
        if kind == ToRuntime.RESPONSE:
            self._on_response(*rest)
        elif kind == ToRuntime.WANTED:
            self._credits = max(0, self._credits) + rest[0]
            self._pump()
        elif kind == ToRuntime.IDLE:
            self._is_quiet = True
            self._changed.unpark_all()
        elif kind == ToRuntime.GATED:
            (self._gate_as_told,) = rest
            self._changed.unpark_all()
        elif kind == ToRuntime.REQUEST:
            assert self._tasks is not None
            assert self._wiring is not None
            if type(rest[0]) is not int or rest[0] in self._requests:
                raise ValueError("a request has a number of its own")
            scope = self._requests[rest[0]] = trio.CancelScope()
            self._tasks.start_soon(self._do_request, self._wiring, scope, rest)
        elif kind == ToRuntime.GIVEN_UP:
            given_up = self._requests.get(rest[0])
            if given_up is not None:
                given_up.cancel()
        elif kind == ToRuntime.UNREADABLE:
            number, reason = rest
            self._on_unreadable(self._at_hand.find(number), reason)
            self._on_taken(number)
        elif kind == ToRuntime.COUNTED:
            self._of_process = checked_counts(*rest)
            self._counting.unpark_all()

    def _on_unreadable(self, accepted: _Accepted, reason: str) -> None:
        self._statistics.drop("unreadable")
        ask = self._asks.get(accepted.envelope.message_id)
        if ask is not None:
            ask.end(EncodeError(f"kernel {self.name!r} cannot read the message: {reason}"))

    def _on_response(self, packed: Packed, priority: int, correlation: bytes | None) -> None:
        if not is_packed(packed):
            raise TypeError("a response is a packed message")
        key = uuid.UUID(bytes=correlation) if correlation is not None else None
        ask = self._asks.get(key) if key is not None else None
        if ask is not None and not ask.has_ended:
            ask.end(packed)
        elif key is not None and key in self._late:
            del self._late[key]
            self._statistics.drop("late")
        elif len(self._responses) >= self._options.output_queue_size + _MAX_UNOWED:
            raise ValueError("more responses than there is room for")
        else:
            self._responses.push(packed, priority)
            self._has_response.unpark()

    async def _do_request(
        self, wiring: Wiring, scope: trio.CancelScope, request: list[Any]
    ) -> None:
        """Do what the kernel has asked for, and answer; unless it has given up, or is gone."""
        number = request[0]
        error: list[str] | None = None
        answer: Packed | None = None
        with scope:
            try:
                # A request that was given up just before is let go first: it may be the same one.
                await trio.lowlevel.checkpoint()
                answer = await self._on_request(*_checked_request(*request))
            except Exception as reason:
                # Whatever it is, it is the answer: the kernel waits for it.
                error = [type(reason).__name__, cut(str(reason), self._limits.max_text_chars)]
        if self._requests.get(number) is scope:
            del self._requests[number]
        if self._wiring is wiring and not scope.cancelled_caught:
            wiring.send(ToKernel.ANSWER, number, error, answer)

    # --- receiving from it ---------------------------------------------------------------

    @enable_ki_protection
    async def receive(self, seconds: float) -> Packed:
        """Return the next response that nobody asked for, packed.

        Raises:
          ReceiveTimeout: there is none within *seconds*.
          ActorUnavailable: there is none, and there will be none: the kernel has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if seconds == math.inf:  # a cancel scope costs its time
            await self._wait_response()
        elif not self._responses:
            with trio.move_on_after(seconds) as patience:
                await self._wait_response()
            if patience.cancelled_caught:
                raise ReceiveTimeout(f"kernel {self.name!r} sent nothing within {seconds:g} s")
        packed = self._responses.pop()
        self._give_room()
        return packed

    async def _wait_response(self) -> None:
        while not self._responses:
            if not self.is_alive:
                raise self._gone()
            await self._has_response.park()

    def _give_room(self) -> None:
        """Let the process send as many responses more as were received; in portions."""
        self._freed += 1
        is_due = self._freed * 2 >= self._options.output_queue_size
        if is_due and self._wiring is not None:
            self._wiring.send(ToKernel.ROOM, self._freed)
            self._freed = 0

    # --- its life ------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay linked with its process, through all its incarnations, until it has ended."""
        try:
            await self._run()
            await self.portal.cancel_actor()
        finally:
            self._close_page()

    async def _run(self) -> None:
        async with open_services() as self._tasks:
            while self.is_alive:
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
        room = self._options.output_queue_size - len(self._responses)
        page = None if self._page is None else list(self._page.address)
        is_permanent = self._restart == "permanent"
        start = (self.name, room, bool(self._prefetched), is_permanent, page)
        async with self.portal.open_context(self._entry, *start) as (ctx, _):
            self._channel = await self.portal.peer.channel()
            async with ctx.open_stream() as stream, open_services() as services:
                wiring = self._wiring = Wiring(stream.flow, self._on_item)
                services.start_soon(wiring.run)
                self._freed = 0
                more = self._options.output_queue_size - len(self._responses) - room
                if more > 0:  # received while the link was being opened
                    wiring.send(ToKernel.ROOM, more)
                self._credits = self._prefetched
                wiring.send(ToKernel.GATE, self._is_gate_open)
                self._pump()
                self._changed.unpark_all()
                await ctx.result()

    async def _follow_restart(self, death: ActorUnavailable) -> None:
        """Take back what the process had at hand, and wait for the next incarnation."""
        self._unlink()
        taken_back = self._take_back()
        for accepted in reversed(taken_back):
            self._mailbox.queue.push_front(accepted, accepted.envelope.priority)
        self._mailbox.make_room()
        waiting = {one.envelope.message_id for one in self._mailbox.everything()}
        for key, ask in self._asks.items():
            if key not in waiting:
                ask.end(copy.copy(death))
        if self.state is KernelState.TERMINATING and self._is_drained:
            self._end(KernelState.TERMINATED, None)  # there is nothing to come back for
            return
        try:
            await self.portal.peer.channel()
        except ActorUnavailable as gone:
            was_asked = self.state is KernelState.TERMINATING
            self._end(
                KernelState.TERMINATED if was_asked else KernelState.FAILED,
                None if was_asked else gone,
            )
        else:
            self._statistics.restarts += 1

    def _take_back(self) -> list[_Accepted]:
        """Return what the process had at hand and has not taken."""
        for number in self._page.numbers() if self._page is not None else ():
            self._at_hand.discard(number)
        self._mailbox.held = 0
        return self._at_hand.clear()

    def _close_page(self) -> None:
        page, self._page = self._page, None
        if page is not None:
            page.close()

    def _unlink(self) -> None:
        for scope in self._requests.values():
            scope.cancel()  # who has asked is gone
        self._requests = {}
        self._wiring = None
        self._gate_as_told = None
        self._statistics.add_process(self._of_process)
        self._of_process = Counted()
        self._changed.unpark_all()
        self._counting.unpark_all()

    def _end(self, state: KernelState, failure: Exception | None) -> None:
        """Have it ended, in whatever way; whoever waits for anything of it is told."""
        self.state, self.failure = state, failure
        if self._wiring is not None:
            self._unlink()
        for ask in self._asks.values():
            ask.end(self._gone())
        left = [*self._take_back(), *self._mailbox.queue.clear()]
        self._drop(left, "terminated" if failure is None else "crashed")
        if left:
            logger.warning(
                "kernel %r is %s; %d messages that it has not taken are dropped",
                self.name,
                state.value,
                len(left),
            )
        self._mailbox.refuse(self._gone)
        self._changed.unpark_all()
        self._has_response.unpark_all()

    # --- its states ----------------------------------------------------------------------

    async def wait_launched(self) -> None:
        """Wait until its process is up and linked, or has ended."""
        while self._wiring is None and self.state in INTAKE_STATES:
            await self._changed.park()

    async def wait_state(self, state: KernelState) -> None:
        """Wait until it is in *state*.

        Raises:
          ActorUnavailable: it has ended and will never be.
        """
        if not isinstance(state, KernelState):
            raise TypeError(f"a state is a KernelState, not {state!r}")
        while self.state is not state:
            if not self.is_alive:
                raise self._gone()
            await self._changed.park()

    @enable_ki_protection
    async def set_gate(self, is_open: bool, state: KernelState) -> None:
        """Let messages through or not; return when its process does so."""
        self._check_intake()
        self.state = state
        self._set_gate(is_open)
        self._changed.unpark_all()
        while self._gate_as_told is not is_open and self._is_gate_open is is_open:
            self._check_intake()
            await self._changed.park()

    def _set_gate(self, is_open: bool) -> None:
        if self._is_gate_open is not is_open:
            self._is_gate_open = is_open
            self._gate_as_told = None
            if self._wiring is not None:
                self._wiring.send(ToKernel.GATE, is_open)
        self._pump()

    @enable_ki_protection
    async def terminate(self, *, drain: bool, seconds: float) -> None:
        """End it: after what was accepted is handled, or at once; by force when the time is up."""
        with trio.move_on_after(seconds):
            await self._terminate_in_order(drain)
        with trio.CancelScope(shield=True):
            await self.portal.cancel_actor(self._limits.kill_after_seconds)
            await self.wait_over()

    async def _terminate_in_order(self, drain: bool) -> None:
        if self.state in INTAKE_STATES:
            self.state = KernelState.TERMINATING
            self._mailbox.refuse(self._gone)
            if drain:
                self._set_gate(True)
            else:
                self._drop(self._mailbox.queue.clear(), "terminated")
            self._changed.unpark_all()
        told: Wiring | None = None
        while self.is_alive:
            # After a crash it is told again, once what is left is given out.
            if self._is_drained and self._wiring is not None and self._wiring is not told:
                told = self._wiring
                told.send(ToKernel.TERMINATE, drain)
            await self._changed.park()

    @enable_ki_protection
    async def wait_quiet(self) -> None:
        """Let it handle what it was sent; return when nothing is left, or it has ended."""
        watched: Wiring | None = None
        self._is_quiet = False
        self._set_gate(True)
        while self.is_alive and not (self._is_quiet and self._is_drained):
            if self._is_quiet or self._wiring is not watched:
                self._is_quiet, watched = False, None
            if self._is_drained and self._wiring is not None and watched is None:
                watched = self._wiring
                watched.send(ToKernel.WATCH)
            await self._changed.park()

    @property
    def accepted_count(self) -> int:
        """How many messages it has accepted so far."""
        return self._statistics.received

    async def wait_over(self) -> None:
        """Wait until it has ended."""
        while self.is_alive:
            await self._changed.park()

    async def statistics(self) -> KernelStatistics:
        """Return its counts; its process is asked for those that only it knows.

        If it is too busy to answer, they are those that it has told last.
        """
        if self._wiring is not None:
            self._wiring.send(ToKernel.COUNT)
            with trio.move_on_after(_COUNT_SECONDS):
                await self._counting.park()
        return self._statistics.with_process(self._of_process, len(self._mailbox))
