"""The tasks of a link: one reads, others run the calls of the peer, and one stands by."""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from .dispatch import Job, RunCall
from .reader import Reader
from .waiters import Waiters


class Crew:
    """The tasks of one link: each reads until there is a call, runs that one, and ends.

    So a call is run by the task that has read it, one pass of the scheduler earlier than another
    could. The task that stands by reads on; to start it takes its time, so it is there before.
    Owned by a `Channel`. *run_call* is what each of them does; *on_end* is called when nothing more
    can be read.
    """

    def __init__(self, reader: Reader, run_call: RunCall, on_end: Callable[[], None]) -> None:
        self._reader = reader
        self._run_call = run_call
        self._on_end = on_end
        self._tasks: trio.Nursery | None = None
        self._is_reader_wanted = True
        self._standing_by = Waiters()

    def __repr__(self) -> str:
        return f"<Crew: {self._reader!r}>"

    def start(self, tasks: trio.Nursery) -> None:
        """Begin to read, in *tasks*."""
        self._tasks = tasks
        tasks.start_soon(self._serve)

    @enable_ki_protection
    async def _serve(self) -> None:
        """Run the call that is read next, when it is the turn of this task to read."""
        await self._run_call(self._read)

    @enable_ki_protection
    async def _run(self, job: Job) -> None:
        """Run a call that another task has read."""

        async def give() -> Job:
            return job

        await self._run_call(give)

    async def _read(self) -> Job | None:
        """Return the next call to run, the last of those that come with it; None at the end.

        Others run those before it, and read on.
        """
        tasks = self._tasks
        assert tasks is not None
        while not self._is_reader_wanted:
            await self._standing_by.wait()
        self._is_reader_wanted = False
        tasks.start_soon(self._serve)
        jobs = await self._reader.read()
        if not jobs:
            self._on_end()
            return None
        last = jobs.pop()
        for job in jobs:
            tasks.start_soon(self._run, job)
        self._is_reader_wanted = True
        self._standing_by.wake()
        return last
