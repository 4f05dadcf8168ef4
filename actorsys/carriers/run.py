"""A run: its participants, each in a process of its own, and the hub between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Portal, current_actor
from ..channel import qualify
from ..errors import CarrierError, EncodeError, RemoteProtocolError
from .content import ContentCodec
from .frames import Item, ToHub, ToParticipant
from .hosting import Verb
from .hub import Delivery, Hub, RunStatistics
from .seat import Seat


class _Command:
    """Something that a participant was asked to do. It counts as under way until it is done."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.is_done = False
        self.value: Any = None
        self.error: BaseException | None = None


class Run:
    """The participants of one `open_participants` block.

    Once a participant has failed, or the budget is used up, the others are cancelled, and every
    call here raises the error. If nobody is waiting in one, the block is cancelled and raises it.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        has_coordinator: bool,
        delivery: Delivery,
        max_messages: int | None,
    ) -> None:
        actor = current_actor()
        self.failure: Exception | None = None
        self.scope = trio.CancelScope()
        self.has_failed = trio.Event()
        self._seats = seats
        self._has_coordinator = has_coordinator
        self._hub = Hub(actor.limits, delivery, self._deliver, self._wake, max_messages)
        for seat in seats:
            self._hub.add(seat.address)
        self._codec = ContentCodec(actor.limits, actor.uid)
        self._commands: dict[int, _Command] = {}
        self._numbers = itertools.count()
        self._waiting = 0
        self._is_failure_told = False
        self._is_ending = False
        self._drain_seconds = actor.limits.drain_seconds
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = f"failed: {self.failure!r}" if self.failure else f"{self.in_flight} under way"
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
          ValueError: there is only one participant.
          EncodeError, LimitExceeded: the content cannot travel.
        """
        if len(self._participants) < 2:
            raise ValueError("the first participant starts the second; there is only one")
        await self._ask(self._seats[0], Verb.START, self._codec.pack(content))

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
        return await self._ask(self._seats[-1], Verb.COORDINATE, self._codec.pack(content))

    @enable_ki_protection
    async def quiescent(self) -> None:
        """Wait until every message is handled and nothing is under way; at once, if that is so.

        It can be waited for again: what was sent later counts as well.
        """
        await trio.lowlevel.checkpoint()
        await self._wait(lambda: not self.in_flight)

    @enable_ki_protection
    async def snapshot(self, function: Callable[[Any], Any] | str) -> list[Any]:
        """Return ``function(algorithm)`` of each participant, in order, without the coordinator.

        *function* is called in the loop of the participant, so no handler is in the middle of a
        step. It is named as a factory is, in the module of the factory or one of ``modules=``.

        Raises:
          RemoteActorError: it failed; also a `NotExposed` if there is no such function there.
        """
        name = ":".join(qualify(function))
        commands = [self._tell(seat, Verb.READ, name) for seat in self._participants]
        return [await self._result(command) for command in commands]

    # --- commands ------------------------------------------------------------------------

    @property
    def _participants(self) -> Sequence[Seat]:
        return self._seats[:-1] if self._has_coordinator else self._seats

    async def _ask(self, seat: Seat, verb: str, argument: Any) -> Any:
        return await self._result(self._tell(seat, verb, argument))

    def _tell(self, seat: Seat, verb: str, argument: Any) -> tuple[int, _Command]:
        number = next(self._numbers)
        command = self._commands[number] = _Command(seat)
        self._hub.hold()
        self._deliver(seat.address, [ToParticipant.COMMAND, number, verb, argument])
        return number, command

    async def _result(self, told: tuple[int, _Command]) -> Any:
        number, command = told
        try:
            await self._wait(lambda: command.is_done)
        except BaseException:
            self._deliver(command.seat.address, [ToParticipant.CANCEL, number])
            raise
        if command.error is not None:
            raise command.error
        return command.value

    def _on_done(self, number: int, has_failed: bool, packed: bytes) -> None:
        command = self._commands.pop(number)
        command.is_done = True
        if has_failed:
            command.error = self._codec.unpack_error(packed)
        else:
            try:
                command.value = self._codec.unpack(packed)
            except EncodeError as error:
                command.error = EncodeError(f"the result of {command.seat!r}: {error}")
        self._hub.release()
        self._wake()

    # --- waiting and failing -------------------------------------------------------------

    async def _wait(self, is_reached: Callable[[], bool]) -> None:
        """Wait until *is_reached* or the run has failed.

        Raises:
          Exception: the run has failed.
        """
        self._waiting += 1
        try:
            while self.failure is None and not is_reached():
                await self._changed.park()
        except BaseException:
            if self.failure is not None:  # it was counted on us to tell of it
                self.scope.cancel()
            raise
        finally:
            self._waiting -= 1
        self.check()

    def check(self) -> None:
        """Raise what the run has failed with, if it has."""
        if self.failure is not None:
            self._is_failure_told = True
            raise self.failure

    def _wake(self) -> None:
        self._changed.unpark_all()

    def fail(self, error: Exception) -> None:
        """End the run with *error*; the first one counts."""
        if self.failure is not None:
            return
        self.failure = error
        if not self._waiting:
            self.scope.cancel()
        self.has_failed.set()
        self._wake()

    @contextmanager
    def raising_failure(self) -> Iterator[None]:
        """Raise what the run has failed with, when the block ends, unless somebody was told."""
        try:
            yield
        except BaseException as error:
            if self.failure is None or self._is_failure_told:
                raise
            raise BaseExceptionGroup(
                "the block and its run failed", [error, self.failure]
            ) from None
        if self.failure is not None and not self._is_failure_told:
            raise self.failure

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

    async def on_end(self, seat: Seat, error: Exception) -> None:
        """Take the end of a participant that nobody has asked for; tell those who wait for it."""
        if self._is_ending:
            return
        self._is_ending = True
        packed = self._codec.pack_error(error)
        links = [other.link for other in self._seats if other is not seat and other.link]
        for link in links:
            link.send([ToParticipant.LOST, seat.address, packed])
        # What requests fail with shall be known over there before everything is cancelled.
        with trio.move_on_after(self._drain_seconds):
            for link in links:
                await link.wait_sent()
        self.fail(error)
