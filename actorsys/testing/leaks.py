"""What is left behind: processes, descriptors, sockets, threads, shared memory.

Around a block, in a test or outside of one::

    with LeakCheck():
        trio.run(main)

    async with LeakCheck():
        await trio.run_process(["true"])

or by hand, with `Resources.now` and `leaked`. Linux tells all of it in ``/proc`` and ``/dev/shm``.
On other systems the children come from psutil, which has to be installed there, since nothing else
knows them portably; and nothing tells what is in shared memory.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

import trio

_POLL_SECONDS = 0.005
_HAS_PROC = os.path.isdir("/proc/self/task")
_SHARED_MEMORY = "/dev/shm"
_IDLE_WORKERS = "Trio thread "  # trio keeps them for a while, for the next job
_SOCKET_TABLES = {"tcp": 9, "tcp6": 9, "udp": 9, "unix": 6}
"""Files in ``/proc/self/net``, and in which column of them the inode is."""

_TCP_LISTENING = "0A"


@dataclass(frozen=True)
class ProcessFound:
    """A descendant of this process; its start tells it from a later one of the same pid."""

    pid: int
    started: str
    name: str = field(compare=False)
    is_zombie: bool = field(compare=False)

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name}){', a zombie' if self.is_zombie else ''}"


@dataclass(frozen=True)
class DescriptorFound:
    """An open file descriptor, a socket among them."""

    number: int
    target: str

    def __str__(self) -> str:
        return f"descriptor {self.number}: {_describe_socket(self.target) or self.target}"


@dataclass(frozen=True)
class ThreadFound:
    """A thread of this process."""

    ident: int | None
    name: str

    def __str__(self) -> str:
        return f"thread {self.name!r}"


@dataclass(frozen=True)
class SharedMemoryFound:
    """A file of this user in shared memory."""

    path: str
    inode: int
    size: int = field(compare=False)

    def __str__(self) -> str:
        return f"shared memory {self.path} of {self.size} bytes"


@dataclass(frozen=True)
class Resources:
    """What a process holds at one moment.

    Descriptors of devices, idle workers of trio, and the shared memory of other users are not
    counted. Zombies are.
    """

    processes: frozenset[ProcessFound]
    descriptors: frozenset[DescriptorFound]
    threads: frozenset[ThreadFound]
    shared_memory: frozenset[SharedMemoryFound]

    @classmethod
    def now(cls) -> Resources:
        """Return what this process holds now."""
        return cls(
            processes=frozenset(descendants()),
            descriptors=frozenset(_descriptors()),
            threads=frozenset(_threads()),
            shared_memory=frozenset(_shared_memory()),
        )


def leaked(before: Resources, after: Resources) -> list[str]:
    """Say in words what *after* has that *before* had not; nothing if all is well.

    New shared memory that a process outside of this one's tree has mapped is left out: it is
    theirs.
    """
    return [
        *map(str, sorted(after.processes - before.processes, key=lambda found: found.pid)),
        *map(str, sorted(after.descriptors - before.descriptors, key=lambda found: found.number)),
        *map(str, sorted(after.threads - before.threads, key=lambda found: found.name)),
        *(
            str(found)
            for found in sorted(after.shared_memory - before.shared_memory, key=str)
            if not _is_mapped_elsewhere(found.path)
        ),
    ]


class LeakCheck:
    """A block, ``with`` or ``async with``, that leaves nothing behind.

    What ends by itself has *within* seconds for it. An error that leaves the block is raised as it
    is, and nothing is checked then.

    Raises:
      AssertionError: something is left; the message says what.
    """

    def __init__(self, within: float = 2.0) -> None:
        self._within = within
        self._before = Resources.now()

    def __repr__(self) -> str:
        return f"<LeakCheck within {self._within} s>"

    def __enter__(self) -> LeakCheck:
        self._before = Resources.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            deadline = time.monotonic() + self._within
            while self._finds_leaks(deadline):
                time.sleep(_POLL_SECONDS)

    async def __aenter__(self) -> LeakCheck:
        await trio.lowlevel.checkpoint()
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            deadline = time.monotonic() + self._within
            while self._finds_leaks(deadline):
                await trio.sleep(_POLL_SECONDS)

    def _finds_leaks(self, deadline: float) -> bool:
        """Tell whether something is left that may still end by itself.

        Raises:
          AssertionError: something is left, and the time is up.
        """
        found = leaked(self._before, Resources.now())
        if not found:
            return False
        if time.monotonic() >= deadline:
            raise AssertionError("left behind: " + "; ".join(found))
        gc.collect()
        return True


# --- processes -------------------------------------------------------------------------------


def descendants() -> Iterator[ProcessFound]:
    """Yield the children of this process, and theirs, zombies included."""
    if not _HAS_PROC:
        yield from _descendants_by_psutil()
        return
    waiting = _children_of(os.getpid())
    while waiting:
        pid = waiting.pop()
        try:
            name, rest = _read(f"/proc/{pid}/stat").rsplit(")", 1)
        except OSError:
            continue  # it has ended meanwhile
        fields = rest.split()
        yield ProcessFound(pid, fields[19], name.partition("(")[2], fields[0] == "Z")
        waiting += _children_of(pid)


def _children_of(pid: int) -> list[int]:
    """Return the children of *pid*; each of its threads has its own."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it may end meanwhile
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):  # so may the thread, and its children move on
                found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _descendants_by_psutil() -> Iterator[ProcessFound]:
    import psutil  # type: ignore[import-untyped]

    for process in psutil.Process().children(recursive=True):
        try:
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            yield ProcessFound(process.pid, str(process.create_time()), process.name(), is_zombie)
        except psutil.NoSuchProcess:
            continue  # it has ended meanwhile


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


# --- descriptors and sockets -----------------------------------------------------------------


def _descriptors() -> Iterator[DescriptorFound]:
    folder = "/proc/self/fd" if _HAS_PROC else "/dev/fd"
    for number in os.listdir(folder):
        try:
            if _HAS_PROC:
                target = os.readlink(f"{folder}/{number}")
            else:
                status = os.fstat(int(number))
                target = f"inode {status.st_ino} on device {status.st_dev}"
        except OSError:
            continue  # the descriptor of the listing itself
        if not target.startswith(("/dev/", "/proc/")) or target.startswith(_SHARED_MEMORY):
            yield DescriptorFound(int(number), target)


def _describe_socket(target: str) -> str | None:
    """Say which socket ``socket:[inode]`` is; None if it is none, or not known."""
    if not target.startswith("socket:["):
        return None
    inode = target.removeprefix("socket:[").removesuffix("]")
    for table, column in _SOCKET_TABLES.items():
        with contextlib.suppress(OSError):  # not every system has every family
            for line in _read(f"/proc/self/net/{table}").splitlines()[1:]:
                fields = line.split()
                if fields[column] == inode:
                    return _describe_entry(table, fields)
    return None


def _describe_entry(table: str, fields: list[str]) -> str:
    if table == "unix":
        path = " ".join(fields[7:])
        return f"a unix socket at {path}" if path else "a unix socket"
    port = int(fields[1].rpartition(":")[2], 16)
    is_listening = table.startswith("tcp") and fields[3] == _TCP_LISTENING
    return f"a {table} socket at port {port}{', listening' if is_listening else ''}"


# --- threads and shared memory ---------------------------------------------------------------


def _threads() -> Iterator[ThreadFound]:
    for thread in threading.enumerate():
        if not thread.name.startswith(_IDLE_WORKERS):
            yield ThreadFound(thread.ident, thread.name)


def _shared_memory() -> Iterator[SharedMemoryFound]:
    try:
        entries = list(os.scandir(_SHARED_MEMORY))
    except OSError:
        return  # there is none on this system
    for entry in entries:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it has gone meanwhile
        if status.st_uid == os.geteuid():
            yield SharedMemoryFound(entry.path, status.st_ino, status.st_size)


def _is_mapped_elsewhere(path: str) -> bool:
    """Tell whether a process outside of this one's tree has mapped the file *path*."""
    ours = {str(os.getpid()), *(str(found.pid) for found in descendants())}
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid not in ours:
            try:
                maps = _read(f"/proc/{pid}/maps")
            except OSError:
                continue  # it has ended, or is another user's
            if path in maps:
                return True
    return False
