"""Open a run: start the participants, link them to the hub, and end them with the block."""

from __future__ import annotations

import types as python_types
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import MsgStream
from ..actor.runtime import open_services
from ..errors import BudgetExceeded, CarrierError
from ..supervise import ActorNursery, open_nursery
from . import hosting
from .link import Link
from .options import (
    Delivery,
    check_delivery,
    check_max_messages,
    check_max_seconds,
    find_types,
    list_modules,
)
from .participant import Participant
from .run import Run
from .seat import Seat


@asynccontextmanager
@enable_ki_protection
async def open_participants(
    participants: Iterable[Participant],
    *,
    coordinator: Participant | None = None,
    delivery: Delivery = "concurrent",
    types: Iterable[str | type] = (),
    modules: Iterable[str | python_types.ModuleType] = (),
    max_messages: int | None = None,
    max_seconds: float | None = None,
) -> AsyncIterator[Run]:
    """Start *participants*, each in a process of its own; yield their run once all are ready.

    Their addresses are 1, 2, 3 ... in order; the *coordinator*, if any, has the last one. With
    *delivery* ``"sequenced"``, a message is given out once the one before is handled, in the order
    of sending; with ``"concurrent"``, the order is kept between each sender and each receiver.

    *types* are the dataclasses and enums that may travel, or their names
    ``"package.module:Class"``; every process imports their modules, this one too. *modules* are
    offered to `Run.snapshot`, beside that of the factory. A run fails when it sends more than
    *max_messages*, or is open for more than *max_seconds*.

    When the block ends, the asyncio tasks of all participants are cancelled, their clean-up is
    waited for, and their processes end. What fails a run is raised by the calls that wait in it;
    if there is none, the block is cancelled and raises it.

    Raises:
      SpawnError: a process was not ready; for example because a module cannot be imported.
      RemoteActorError: a factory raised, or the handler of a one-way message.
      ActorDied: a participant died.
      BudgetExceeded: the budget is used up.
      TypeError, ValueError: an option is not what it can be; nothing was started.
    """
    seats = _make_seats([*participants], coordinator)
    check_delivery(delivery)
    check_max_messages(max_messages)
    check_max_seconds(max_seconds)
    classes = find_types(types)
    offered = [hosting, *list_modules(modules)]
    async with open_nursery() as nursery:
        run = Run(seats, coordinator is not None, delivery, max_messages)
        starter = _Starter(nursery, run, offered, classes)
        with run.closing():
            async with open_services() as services:
                services.start_soon(run.end_once_failed)
                await starter.start_all(services, seats)
                if max_seconds is not None:
                    services.start_soon(_end_after, run, max_seconds)
                with run.scope:
                    yield run
        await nursery.cancel()


def _make_seats(participants: list[Participant], coordinator: Participant | None) -> list[Seat]:
    for participant in [*participants, coordinator]:
        if not (participant is None or isinstance(participant, Participant)):
            raise TypeError(f"a run has Participants, not {participant!r}")
    seats = [
        Seat(address, f"participant-{address}", participant)
        for address, participant in enumerate(participants, 1)
    ]
    if coordinator is not None:
        seats.append(Seat(len(seats) + 1, "coordinator", coordinator))
    return seats


@enable_ki_protection
async def _end_after(run: Run, seconds: float) -> None:
    await trio.sleep(seconds)
    run.fail(
        BudgetExceeded(
            f"the run is open for {seconds:g} s, its budget (max_seconds); "
            f"{run.in_flight} messages and commands are under way"
        )
    )


class _Starter:
    """Starts the participants of one run, and stays with each until it ends."""

    def __init__(
        self, nursery: ActorNursery, run: Run, offered: list[Any], classes: list[type]
    ) -> None:
        self._nursery = nursery
        self._run = run
        self._offered = offered
        self._classes = classes
        self._linked = 0

    def __repr__(self) -> str:
        return f"<_Starter of {self._run!r}>"

    @enable_ki_protection
    async def start_all(self, services: trio.Nursery, seats: list[Seat]) -> None:
        """Start all at once; return when all are ready, or raise the first error.

        They start as services: what a participant does is not bound to the deadline of the caller.
        """
        for seat in seats:
            services.start_soon(self._serve, seat, len(seats))
        await self._run.wait(lambda: self._linked == len(seats))

    @enable_ki_protection
    async def _serve(self, seat: Seat, count: int) -> None:
        try:
            seat.portal = await self._nursery.start_actor(
                seat.name,
                modules=[*self._offered, seat.participant.module],
                types=self._classes,
                asyncio=True,
            )
            made = seat.participant
            async with (
                seat.portal.open_context(
                    hosting.host_participant,
                    seat.address,
                    count,
                    made.label,
                    [*made.args],
                    dict(made.kwargs),
                ) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                seat.link = Link(stream)
                self._linked += 1
                self._run.wake()
                await self._exchange(seat.link, seat, stream)
                await ctx.cancel()
        except Exception as error:
            if seat.link is None:
                error.add_note(f"while {seat!r} was started")
            self._run.fail(error, lost=seat)

    async def _exchange(self, link: Link, seat: Seat, stream: MsgStream) -> None:
        """Pass items both ways until the run has ended."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(link.run)
            tasks.start_soon(self._read, seat, stream)
            await self._run.has_ended.wait()
            tasks.cancel_scope.cancel()

    @enable_ki_protection
    async def _read(self, seat: Seat, stream: MsgStream) -> None:
        try:
            async for item in stream:
                self._run.on_item(seat, item)
            raise CarrierError(f"{seat!r} has ended, though nobody asked for it")
        except Exception as error:
            self._run.fail(error, lost=seat)
