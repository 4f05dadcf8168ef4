"""Write at the end of a scheduler tick what the tick has queued.

trio calls an instrument right before it waits for I/O, that is once per pass of its scheduler.
Flushing there means that all frames of one pass leave in one write, without a task to wake and
without a pass of its own. Where nothing is queued nothing happens.
"""

from __future__ import annotations

from typing import Protocol

import trio

_MOST_LATE_TICKS = 2


def is_any_runnable() -> bool:
    """Whether there will be another tick before anything happens outside this process."""
    # The timeout that an instrument is given says less: with a clock that jumps it is always 0.
    return trio.lowlevel.current_statistics().tasks_runnable > 0


class Flushable(Protocol):
    """What can be queued for the end of the tick."""

    def end_tick(self) -> None:
        """Write without waiting and without raising; runs outside any task."""


class TickFlusher(trio.abc.Instrument):
    """One for each trio run, shared by its channels; it lives while one of them does.

    ``ticks`` counts those that have ended.
    """

    def __init__(self) -> None:
        self.users = 0
        self.ticks = 0
        self._queued: list[Flushable] = []
        self._queued_early: list[Flushable] = []
        self._queued_late: list[Flushable] = []
        self._late_ticks = 0

    def __repr__(self) -> str:
        return f"<TickFlusher: {self.users} users, {len(self._queued)} queued>"

    def queue(self, item: Flushable) -> None:
        """Flush *item* when this tick ends."""
        self._queued.append(item)

    def queue_early(self, item: Flushable) -> None:
        """Ask *item* when this tick ends what it has to say; what it queues then leaves with it."""
        self._queued_early.append(item)

    def queue_late(self, item: Flushable) -> None:
        """Do as `queue_early`, but when there is nothing else to do; or some ticks later."""
        self._queued_late.append(item)

    def before_io_wait(self, timeout: float) -> None:
        while self._queued_early:
            early, self._queued_early = self._queued_early, []
            for item in early:
                item.end_tick()
        if self._queued_late:
            self._late_ticks += 1
            is_last = timeout > 0 or not is_any_runnable()
            if is_last or self._late_ticks > _MOST_LATE_TICKS:
                self._late_ticks = 0
                late, self._queued_late = self._queued_late, []
                for item in late:
                    item.end_tick()
        if self._queued:
            queued, self._queued = self._queued, []
            for item in queued:
                item.end_tick()
        self.ticks += 1


_flusher: trio.lowlevel.RunVar[TickFlusher | None] = trio.lowlevel.RunVar(
    "actorsys_flusher", default=None
)


def acquire_flusher() -> TickFlusher:
    """Return the flusher of this trio run; pair it with `release_flusher`."""
    flusher = _flusher.get()
    if flusher is None:
        flusher = TickFlusher()
        _flusher.set(flusher)
    if not flusher.users:
        trio.lowlevel.add_instrument(flusher)
    flusher.users += 1
    return flusher


def release_flusher(flusher: TickFlusher) -> None:
    """Give up a flusher; the last one to do so takes it out of the scheduler."""
    flusher.before_io_wait(1)
    flusher.users -= 1
    if not flusher.users:
        trio.lowlevel.remove_instrument(flusher)
