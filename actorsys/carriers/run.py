"""A run: its participants, each in a process of its own, and the hub between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Portal, current_actor
from ..actor.parcels import Parcel
from ..channel import qualify
from ..errors import BufferFault, CarrierError, EncodeError, RemoteProtocolError, RunEnded
from .content import ContentCodec
from .failure import Failure
from .frames import Item, ToHub, ToParticipant
from .hosting import Verb
from .hub import Hub, RunStatistics
from .options import Delivery
from .seat import Seat


class _Command:
    """Something that a participant was asked to do. It counts as under way until it is done."""

    def __init__(self, number: int, seat: Seat) -> None:
        self.number = number
        self.seat = seat
        self.is_done = False
        self.value: Any = None
        self.error: BaseException | None = None


class Run:
    """The participants of one `open_participants` block.

    Once a participant has failed, or the budget is used up, the others are cancelled, and every
    call here raises the error. If nobody is waiting in one, the block is cancelled and raises it.
    After the block, every call raises `RunEnded`, or what the run has failed with.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        has_coordinator: bool,
        delivery: Delivery,
        max_messages: int | None,
    ) -> None:
        actor = current_actor()
        self.scope = trio.CancelScope()
        self.failure = Failure(self.scope.cancel)
        self.has_ended = trio.Event()
        self._has_failed = trio.Event()
        self._seats = seats
        self._has_coordinator = has_coordinator
        self._hub = Hub(actor.limits, delivery, self._deliver, self.wake, max_messages)
        for seat in seats:
            self._hub.add(seat.address)
        self._codec = ContentCodec(actor.limits, actor.uid)
        self._commands: dict[int, _Command] = {}
        self._numbers = itertools.count()
        self._drain_seconds = actor.limits.drain_seconds
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        error = self.failure.error
        state = f"{self.in_flight} under way" if error is None else repr(error)
        return f"<Run of {len(self._seats)} participants: {state}>"

    # --- what the user asks --------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """How much was sent and is not handled, or is held open."""
        return self._hub.in_flight

    @property
    def portals(self) -> tuple[Portal, ...]:
        """Portals to the processes, in the order of addresses, the coordinator last."""
        return tuple(seat.portal for seat in self._seats if seat.portal is not None)

    def statistics(self) -> RunStatistics:
        """Return what has passed so far, and what is under way."""
        return self._hub.statistics()

    @enable_ki_protection
    async def start(self, content: Any) -> None:
        """Have the first participant send *content* to the second; return when it has.

        Raises:
          ValueError: there are not two participants.
          EncodeError, LimitExceeded: the content cannot travel.
        """
        if len(self._participants) < 2:
            count = len(self._participants)
            raise ValueError(
                f"the first participant starts the second; there {'is' if count else 'are'} {count}"
            )
        await self._ask(self._seats[:1], Verb.START, self._codec.pack(content))

    @enable_ki_protection
    async def coordinate(self, content: Any) -> Any:
        """Have the coordinator lead a run that begins with *content*; return its result.

        If cancelled, the task of the coordinator is cancelled as well, and not waited for: wait for
        `quiescent` then.

        Raises:
          RemoteActorError: it failed.
          ValueError: there is no coordinator.
          EncodeError, LimitExceeded: the content, or the result, cannot travel.
        """
        if not self._has_coordinator:
            raise ValueError("this run has no coordinator; give one to open_participants")
        (result,) = await self._ask(self._seats[-1:], Verb.COORDINATE, self._codec.pack(content))
        return result

    @enable_ki_protection
    async def quiescent(self) -> None:
        """Wait until every message is handled and nothing is under way; at once, if that is so.

        It can be waited for again: what was sent later counts as well.
        """
        await trio.lowlevel.checkpoint()
        await self.wait(lambda: not self.in_flight)

    @enable_ki_protection
    async def snapshot(self, function: Callable[[Any], Any] | str) -> list[Any]:
        """Return ``function(algorithm)`` of each participant, in order, without the coordinator.

        *function* is called in the loop of the participant, so no handler is in the middle of a
        step. It is named as a factory is, in the module of the factory or one of ``modules=``.

        Raises:
          RemoteActorError: it failed; also a `NotExposed` if there is no such function there.
        """
        return await self._ask(self._participants, Verb.READ, ":".join(qualify(function)))

    # --- commands ------------------------------------------------------------------------

    @property
    def _participants(self) -> Sequence[Seat]:
        return self._seats[:-1] if self._has_coordinator else self._seats

    async def _ask(self, seats: Sequence[Seat], verb: str, argument: Any) -> list[Any]:
        """Have all *seats* do the same; return the results. If one fails, cancel the others."""
        self.failure.check()
        commands = [self._tell(seat, verb, argument) for seat in seats]
        try:
            return [await self._result(command) for command in commands]
        except BaseException:
            for command in commands:
                if not command.is_done:
                    self._deliver(command.seat.address, [ToParticipant.CANCEL, command.number])
            raise

    def _tell(self, seat: Seat, verb: str, argument: Any) -> _Command:
        number = next(self._numbers)
        command = self._commands[number] = _Command(number, seat)
        self._hub.hold()
        self._deliver(seat.address, [ToParticipant.COMMAND, number, verb, argument])
        return command

    async def _result(self, command: _Command) -> Any:
        await self.wait(lambda: command.is_done)
        if command.error is not None:
            raise command.error
        return command.value

    def _on_done(self, number: int, has_failed: bool, packed: Parcel) -> None:
        command = self._commands.pop(number)
        command.is_done = True
        if has_failed:
            command.error = self._codec.unpack_error(packed)
        else:
            try:
                command.value = self._codec.unpack(packed)
            except (EncodeError, BufferFault) as error:
                command.error = type(error)(f"the result of {command.seat!r}: {error}")
        self._hub.release()
        self.wake()

    # --- waiting and failing -------------------------------------------------------------

    async def wait(self, is_reached: Callable[[], bool]) -> None:
        """Wait until *is_reached*, or the run has ended.

        Raises:
          Exception: what it has failed with.
        """
        with self.failure.waiting():
            while not (self.has_ended.is_set() or is_reached()):
                await self._changed.park()

    def wake(self) -> None:
        """Have all who wait look again."""
        self._changed.unpark_all()

    def fail(self, error: Exception, lost: Seat | None = None) -> None:
        """End the run with *error*; the first one counts. *lost* is who is gone, if it is that."""
        if not self.failure.record(error):
            return
        if lost is not None:
            item = [ToParticipant.LOST, lost.address, self._codec.pack_error(error)]
            for seat in self._seats:
                if seat is not lost:
                    self._deliver(seat.address, item)
        self._has_failed.set()

    @enable_ki_protection
    async def end_once_failed(self) -> None:
        """Wait until the run has failed, and end it. The task of the block for that."""
        await self._has_failed.wait()
        # What requests fail with shall be known over there before everything is cancelled.
        with trio.move_on_after(self._drain_seconds):
            for seat in self._seats:
                if seat.link is not None:
                    await seat.link.wait_sent()
        self._end()
        self.failure.tell()

    def _end(self) -> None:
        self.has_ended.set()
        self.wake()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """End the run with the block, which raises what it has failed with, if nobody was told."""
        try:
            with self.failure.closing(RunEnded("the run has ended with its block")):
                yield
        finally:
            self._end()

    # --- what links do -------------------------------------------------------------------

    def _deliver(self, receiver: int, item: Item) -> None:
        link = self._seats[receiver - 1].link
        if link is not None:
            link.send(item)

    def on_item(self, seat: Seat, item: Item) -> None:
        """Take an item of a participant; what is wrong with it fails the run."""
        try:
            if item[0] == ToHub.DONE:
                _, held, *rest = item
                self._hub.announce(seat.address, held)
                self._on_done(*rest)
            else:
                self._hub.on_item(seat.address, item)
        except CarrierError as error:
            self.fail(error)
        except Exception as error:
            broken = RemoteProtocolError(f"participant {seat.address} sent nonsense: {error!r}")
            broken.__cause__ = error
            self.fail(broken)
