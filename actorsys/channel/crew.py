"""The tasks of a link: one reads, others run the calls of the peer, and one is at rest."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from .dispatch import Job, RunCalls
from .reader import Reader
from .waiters import Waiters


class Crew:
    """The tasks of one link, which share the work among them. Owned by a `Channel`.

    A call is run by the task that has read it, one pass of the scheduler earlier than another
    could. The one at rest goes on reading, so there is seldom a task to start, which takes its
    time. *run_calls* is what each of them does; *on_end* is called when nothing more can be read.
    """

    def __init__(self, reader: Reader, run_calls: RunCalls, on_end: Callable[[], None]) -> None:
        self._reader = reader
        self._run_calls = run_calls
        self._on_end = on_end
        self._tasks: trio.Nursery | None = None
        self._at_rest = Waiters()

    def __repr__(self) -> str:
        return f"<Crew: {self._at_rest!r} at rest, {self._reader!r}>"

    def start(self, tasks: trio.Nursery) -> None:
        """Begin to read, in *tasks*."""
        self._tasks = tasks
        tasks.start_soon(self._work, None)

    @enable_ki_protection
    async def _work(self, job: Job | None) -> None:
        """Be one of the tasks; begin with *job*, or else by reading."""
        member = _Member(self, job)
        del job
        await self._run_calls(member.next_job)

    @property
    def is_any_at_rest(self) -> bool:
        """Whether there is a task that has nothing to do."""
        return bool(self._at_rest)

    async def rest(self) -> None:
        """Wait until it is this task's turn to read."""
        await self._at_rest.wait()

    async def read(self) -> Job | None:
        """Read until there are calls to run, and return the last; None at the end of the link.

        Others run those before it, and read on.
        """
        assert self._tasks is not None
        jobs = await self._reader.read()
        if not jobs:
            self._on_end()
            return None
        last = jobs.pop()
        for job in jobs:
            self._tasks.start_soon(self._work, job)
        if self._at_rest:
            self._at_rest.wake_one()
        else:
            self._tasks.start_soon(self._work, None)
        return last


class _Member:
    """One task of a crew, and the context that each of its calls is run in."""

    def __init__(self, crew: Crew, job: Job | None) -> None:
        self._crew = crew
        self._job = job
        self._context: contextvars.Context | None = None

    async def next_job(self) -> Job | None:
        """Return a call to run, or None if this task is not needed any more."""
        crew = self._crew
        if self._context is None:
            self._context = contextvars.copy_context()
            if self._job is not None:
                job, self._job = self._job, None
                return job
        elif crew.is_any_at_rest or not self._is_clean():
            return None
        else:
            await crew.rest()
        return await crew.read()

    def _is_clean(self) -> bool:
        """Tell whether a call has left nothing in this task that the next one could see."""
        has_nursery = trio.lowlevel.current_task().child_nurseries
        return not has_nursery and contextvars.copy_context() == self._context
