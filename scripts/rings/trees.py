"""Whole trees of actors, run as programs of their own and watched from outside."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import actorsys

from . import processes
from .programs.members import Plan

SAID_WITHIN_SECONDS = 60.0
_ROOTS = [Path(actorsys.__file__).parent.parent, Path(__file__).parent.parent.parent]


class Tree:
    """A running tree: its root process, and the pid of each member that is up, by path.

    ``said`` holds the first words of all lines that it has written.
    """

    def __init__(self, root: subprocess.Popen[bytes]) -> None:
        self.root = root
        self.pids: dict[str, int] = {}
        self.said: set[str] = set()
        self._buffer = b""

    def __repr__(self) -> str:
        return f"<Tree of {self.root.pid}: {len(self.pids)} members up>"

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when *condition* holds, which changes only with what the tree says."""
        deadline = time.monotonic() + SAID_WITHIN_SECONDS
        while not condition():
            line = self._read_line(deadline)
            if line is None:
                raise TimeoutError(f"{self!r} has not said what was waited for")
            self._note(line)

    def wait_ready(self) -> None:
        """Return when all members are up."""
        self.wait_until(lambda: "ready" in self.said)

    def count_up(self, path: str) -> int:
        """Return how many members at and below *path* are up so far."""
        return sum(member.startswith(path) for member in self.pids)

    def close_stdin(self) -> None:
        """Let the root stop the tree in good order."""
        assert self.root.stdin is not None
        self.root.stdin.close()

    def living(self, path: str = "r") -> list[int]:
        """Return the pids of the living members at and below *path*."""
        pids = processes.living_in_session(self.root.pid)
        if path == "r":
            return pids
        return [pid for pid in pids if processes.actor_name(pid).startswith(path)]

    def wait_gone(self, path: str, seconds: float) -> float:
        """Return how long it took until nobody at or below *path* lived; *seconds* at most."""
        began = time.monotonic()
        processes.poll_until(lambda: not self.living(path), seconds)
        return time.monotonic() - began

    def _note(self, line: str) -> None:
        what, _, rest = line.partition(" ")
        self.said.add(what)
        if what == "up":
            path, pid = rest.split()
            self.pids[path] = int(pid)
        elif what == "ready":
            self.pids = json.loads(rest)

    def _read_line(self, deadline: float) -> str | None:
        """Return the next line; None when there is none before *deadline*, or at the end."""
        assert self.root.stdout is not None
        fd = self.root.stdout.fileno()
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([fd], [], [], left)[0]:
                return None
            data = os.read(fd, 65536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


@contextmanager
def open_tree(plan: Plan, **environment: str) -> Iterator[Tree]:
    """Start a tree as *plan* says; nothing of it is left when the block ends."""
    with open_program("tree", json.dumps(plan), **environment) as root:
        yield Tree(root)


@contextmanager
def open_program(
    name: str, *arguments: str, stderr: int = subprocess.DEVNULL, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of this package in a session of its own, which ends with the block."""
    command = [sys.executable, "-m", f"{__package__}.programs.{name}", *arguments]
    with open_session(command, stderr=stderr, **environment) as process:
        yield process


@contextmanager
def open_session(
    command: list[str],
    *,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* in a session of its own; all of it is killed when the block ends."""
    path = os.pathsep.join([*map(str, _ROOTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    processes.heed_interrupts()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path, **environment},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            processes.end_session(process.pid)
