"""What tests of whole trees share: a worker, a journal, scripts, a canceller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from shared_tree import find_shared

import actorsys
from actorsys.testing import CancelAtStep as CancelAtStep
from actorsys.testing import Simulation


@asynccontextmanager
async def open_worker(*modules: str, **options: Any) -> AsyncIterator[actorsys.Portal]:
    """Open a nursery with one actor that offers *modules*; stop it when the block ends.

    Where the tests of a file share a tree, the actor is the one of that tree, and goes on.
    """
    if not options and (shared := find_shared(["worker"], modules)):
        yield shared[0]
        return
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=modules, **options)
        yield portal
        await portal.cancel_actor()


def _run_in_one_process(test: Callable[[], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        simulation = Simulation(seed=1, max_delay_seconds=0, max_boot_seconds=0)
        async with simulation.open():
            return await test()

    return trio.run(main, **options)


in_one_process = pytest.mark.trio(run=_run_in_one_process)
"""Marks a test whose actors are tasks: it shows something that does not depend on processes."""


class Journal:
    """The reading end of a journal: lines that other processes leave in the pipe `path`."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "journal")
        os.mkfifo(self.path)
        self._stream = trio.lowlevel.FdStream(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
        self._own_end: int | None = os.open(self.path, os.O_WRONLY)
        self._buffer = b""

    async def read_line(self) -> str:
        """Return the next line; wait for it, though not for ever."""
        with trio.fail_after(5):
            while b"\n" not in self._buffer:
                self._buffer += await self._stream.receive_some()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    async def read_lines(self, count: int) -> set[str]:
        """Return the next *count* lines."""
        return {await self.read_line() for _ in range(count)}

    async def wait_all_gone(self) -> None:
        """Return when every process that called `journal.hold` has ended."""
        if self._own_end is not None:
            os.close(self._own_end)
            self._own_end = None
        while await self._stream.receive_some():
            pass

    async def aclose(self) -> None:
        """Close both ends."""
        if self._own_end is not None:
            os.close(self._own_end)
        await self._stream.aclose()


@asynccontextmanager
async def open_journal(folder: Path) -> AsyncIterator[Journal]:
    """Open a journal in *folder*."""
    journal = Journal(folder)
    try:
        yield journal
    finally:
        await journal.aclose()


@asynccontextmanager
async def running(
    portal: actorsys.Portal, fn: Callable[..., Any], folder: Path
) -> AsyncIterator[None]:
    """Run *fn* over there beside the block, from when it has written that it started.

    *fn* takes the path of a journal; it does not end by itself.
    """

    async def call() -> None:
        with pytest.raises(actorsys.ActorsysError):
            await portal.run(fn, journal.path)

    async with open_journal(folder) as journal, trio.open_nursery() as tasks:
        tasks.start_soon(call)
        assert await journal.read_line() == "started"
        yield


@contextmanager
def script_running(
    folder: Path, code: str, *arguments: str, name: str = "script.py"
) -> Iterator[subprocess.Popen[str]]:
    """Run *code* as a script, as a terminal would: in a process group of its own."""
    path = folder / name
    path.write_text(code)
    command = [sys.executable, str(path), *arguments]
    with program_running(command, folder) as process:
        yield process


@contextmanager
def program_running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run *command* in *folder*, in a process group of its own."""
    roots = [Path(actorsys.__file__).parent.parent, Path(__file__).parent]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_script(folder: Path, code: str, *arguments: str, timeout: float = 10) -> Ended:
    """Run *code* as a script to its end."""
    with script_running(folder, code, *arguments) as process:
        stdout, stderr = process.communicate(timeout=timeout)
    return Ended(process.returncode, stdout, stderr)


class Ended:
    """How a program ended: `status`, `stdout`, `stderr`."""

    def __init__(self, status: int, stdout: str, stderr: str) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"<status {self.status}>\n{self.stdout}\n{self.stderr}"


@contextmanager
def noting(case: str) -> Iterator[None]:
    """Have what is raised in the block say which of several cases it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"the case is {case}")
        raise


class Gathering:
    """Where *count* tasks wait for each other."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all_here = trio.Event()

    async def wait(self) -> None:
        """Return when all tasks wait here."""
        self._missing -= 1
        if not self._missing:
            self._all_here.set()
        await self._all_here.wait()


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Poll until *condition* holds, for what the process table says and nothing announces."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.005)


async def wait_until_async(condition: Callable[[], bool], seconds: float) -> None:
    """Poll as `wait_until`, letting other tasks run meanwhile."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)


def is_running(pid: int) -> bool:
    """Tell whether the process *pid* exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_stopped(pid: int) -> bool:
    """Tell whether SIGSTOP has taken hold of the process *pid*."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def freeze(pid: int) -> None:
    """Stop the process *pid* with SIGSTOP, and return when it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid), 2)


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in *error*, groups taken apart."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]
