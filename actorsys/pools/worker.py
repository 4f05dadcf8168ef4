"""One worker of a pool, through all its incarnations, and what it has at hand."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import trio

from ..actor import Portal
from ..channel import Channel, unpack_error
from ..errors import (
    ActorsysError,
    ActorUnavailable,
    ContextCancelled,
    LimitExceeded,
    RemoteProtocolError,
    retell,
)
from ..wire import MAX_DEADLINE_SECONDS
from .bench import serve_pool
from .job import Job
from .journal import Journal
from .line import Line
from .placement import Pace
from .statistics import WorkerStatistics

if TYPE_CHECKING:
    from .scheduler import Scheduler


class Worker:
    """A slot of a pool and the actor in it. Owned by the `Staff` of a pool.

    ``ready`` is set once calls can be sent to it for the first time. ``is_leaving`` says that it is
    to end what it has at hand and then go, ``gone`` is set when it has.
    """

    def __init__(self, scheduler: Scheduler, slot: int, portal: Portal, concurrency: int) -> None:
        self.slot = slot
        self.portal = portal
        self.is_leaving = False
        self.ready = trio.Event()
        self.gone = trio.Event()
        self.at_hand: dict[int, Job] = {}
        self.pace = Pace()
        self._scheduler = scheduler
        self._concurrency = concurrency
        self._next_number = 1
        self._line: Line | None = None
        self._channel: Channel | None = None
        self._journal: Journal | None = None
        self._begun = 0
        self._kept: dict[int, tuple[Any]] = {}
        self._idle = trio.lowlevel.ParkingLot()
        self._done = 0
        self._deaths = 0

    def __repr__(self) -> str:
        state = "leaving" if self.is_leaving else "ready" if self.is_ready else "not ready"
        return f"<Worker {self.portal.name!r}: {state}, {len(self.at_hand)} at hand>"

    @property
    def is_ready(self) -> bool:
        """Whether calls can be sent to it now."""
        return self._line is not None

    @property
    def load(self) -> int:
        """How many calls it has at hand."""
        return len(self.at_hand)

    @property
    def room(self) -> int:
        """How many calls it may have at hand, those that it runs included."""
        if self._line is None or self.is_leaving:
            return 0
        return self._concurrency + self.pace.calls_ahead

    @property
    def channel(self) -> Channel | None:
        """The link that its calls go over, or None."""
        return self._channel

    def statistics(self) -> WorkerStatistics:
        """Return what it does right now, and has done."""
        name, pid = self.portal.name, self.portal.pid
        return WorkerStatistics(name, pid, len(self.at_hand), self._done, self._deaths)

    # --- its life ------------------------------------------------------------------------

    async def tend(self) -> None:
        """Have it serve the pool, one incarnation after the other, until it is gone for good."""
        while self.portal.peer.gone is None:
            try:
                await self._serve()
            except (ActorUnavailable, ContextCancelled) as end:
                self._lose_all(end)
                if self.is_leaving:
                    return
                self._deaths += 1

    async def _serve(self) -> None:
        """Send calls to its present incarnation, or to the next one; the end of it is raised."""
        with Journal.created() as journal:
            address = journal.address if journal is not None else None
            async with (
                self.portal.open_context(serve_pool, self._concurrency, address) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                channel = self.portal.peer.open_channel
                if channel is None:  # lost already: this block is about to be told why
                    await trio.sleep_forever()
                assert channel is not None
                line = Line(channel, stream.flow, self._on_message)
                try:
                    self._next_number = 1
                    self._line, self._channel, self._journal = line, channel, journal
                    self.ready.set()
                    self._scheduler.dispatch()
                    await line.run()
                finally:
                    self._line = self._journal = None
                    self._take_note_of(journal)

    def _take_note_of(self, journal: Journal | None) -> None:
        """Keep what *journal* tells of an incarnation that has ended."""
        self._begun = self._next_number if journal is None else journal.last_begun
        found = {number: journal.find(number) for number in self.at_hand} if journal else {}
        self._kept = {number: kept for number, kept in found.items() if kept is not None}

    def _lose_all(self, end: ActorUnavailable | ContextCancelled) -> None:
        """Tell what becomes of the calls at hand, now that *end* has come."""
        lost, self.at_hand = self.at_hand, {}
        self._channel = None
        unbegun: list[Job] = []
        for number, job in lost.items():
            job.worker = None
            if number in self._kept:
                self._scheduler.end(job, *self._kept[number], None)
            elif number <= self._begun:
                self._scheduler.on_lost(self, job, _reason_for_one(end))
            else:
                unbegun.append(job)
        self._scheduler.take_back(self, unbegun)
        self._idle.unpark_all()

    async def wait_idle(self) -> None:
        """Wait until it has nothing at hand."""
        while self.at_hand:
            await self._idle.park()

    # --- what the pool does --------------------------------------------------------------

    def send(self, job: Job) -> None:
        """Send it a call; one whose arguments cannot travel ends here."""
        assert self._line is not None
        assert self._channel is not None
        number = self._next_number
        try:
            frame = self._line.encode(self._message(number, job, self._channel))
        except ActorsysError as error:
            self._scheduler.end(job, None, _naming_argument(job, self._channel, error))
            return
        if not self.at_hand:
            self.pace.begin(trio.current_time())
        self._next_number = number + 1
        self.at_hand[number] = job
        job.worker, job.number = self, number
        job.tries += 1
        self._line.post(frame)

    def _message(self, number: int, job: Job, channel: Channel) -> dict[str, Any]:
        wrap = channel.codec.wrap_large
        message: dict[str, Any] = {
            "job": number,
            "call": job.function,
            "args": [wrap(value) for value in job.args],
        }
        if job.kwargs:
            message["kwargs"] = {name: wrap(value) for name, value in job.kwargs.items()}
        if job.deadline < trio.current_time() + MAX_DEADLINE_SECONDS:
            message["left"] = max(0.0, job.deadline - trio.current_time())
        if job.trace is not None:
            message["trace"] = job.trace
        return message

    def cancel(self, job: Job) -> None:
        """Ask it to cancel a call that it has at hand."""
        self._post({"cancel": job.number})

    def recall(self) -> None:
        """Ask for what it has not begun, and send it nothing ahead until it is fast again."""
        self.pace.stall()
        for number in self._movable():
            self._post({"recall": number})

    @property
    def has_movable(self) -> bool:
        """Whether it has calls at hand that another worker could begin."""
        return bool(self._movable())

    def _movable(self) -> list[int]:
        """Return the calls that it has not begun; those with a key stay as long as it does."""
        numbers = list(self.at_hand)
        if not numbers:
            return numbers
        if self._journal is None:
            numbers = numbers[self._concurrency :]
        else:
            last = self._journal.last_begun
            numbers = [number for number in numbers if number > last]
        if self.is_leaving:
            return numbers
        return [number for number in numbers if self.at_hand[number].key is None]

    def _post(self, message: dict[str, Any]) -> None:
        if self._line is not None:
            self._line.post(self._line.encode(message))

    # --- what the reader of the link does ------------------------------------------------

    def _on_message(self, message: dict[str, Any], fault: ActorsysError | None) -> None:
        if "job" in message:
            self._done += 1
            self._end(self.at_hand[message["job"]], message, fault)
            if "busy" in message:
                self.pace.stall()  # its thread goes on, for nobody knows how long
            else:
                self.pace.note_result(trio.current_time())
                self._put_down(message["job"])
        elif "free" in message:
            if not self.at_hand[message["free"]].has_ended:
                raise RemoteProtocolError("a thread is free before its call has ended")
            self._put_down(message["free"])
        else:
            job = self._put_down(message["dropped"])
            self._scheduler.take_back(self, [job])
        self._scheduler.on_room(self)

    def _put_down(self, number: int) -> Job:
        job = self.at_hand.pop(number)
        job.worker = None
        if not self.at_hand:
            self._idle.unpark_all()
        return job

    def _end(self, job: Job, message: dict[str, Any], fault: ActorsysError | None) -> None:
        if "error" in message:
            assert self._channel is not None
            fields = message["error"]
            if fault is not None:
                # What cannot be read of it is left out; the error itself is told all the same.
                fields = {name: fields[name] for name in fields.keys() - {"args", "state"}}
            self._scheduler.end(job, None, unpack_error(fields, self._channel.limits))
        elif fault is not None:
            self._scheduler.end(job, None, retell(fault, f"the result of {job.function}"))
        else:
            self._scheduler.end(job, message["return"], None)


def _reason_for_one(end: ActorUnavailable | ContextCancelled) -> ActorUnavailable:
    """Return why a call is lost, for its caller alone."""
    if isinstance(end, ContextCancelled):
        return ActorUnavailable(f"the worker was stopped: {end}", may_have_run=True)
    error = copy.copy(end)
    error.may_have_run = True
    return error


def _naming_argument(job: Job, channel: Channel, error: Exception) -> Exception:
    """Return *error* with the argument that cannot travel; one too large is not looked for."""
    places = [(f"argument {index}", value) for index, value in enumerate(job.args, 1)]
    places += [(f"argument {name!r}", value) for name, value in job.kwargs.items()]
    for place, value in places:
        try:
            channel.codec.measure({"return": value}, channel.session.peer_max_frame_bytes)
        except LimitExceeded:
            continue
        except ActorsysError as reason:
            return retell(reason, f"{place} of {job.function}")
    return error
