"""A side of the comparison: a process that does one job after the other, as it is told.

A request is a line of JSON, ``[job, seconds]``; the answer is a line with the job's figure. Between
the jobs a side waits in the kernel and takes nothing away from the other one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import trio

Job = Callable[[float], Awaitable[Any]]


class Side:
    """The side that the module *name* implements, as the process that compares sees it."""

    def __init__(self, module: str, *args: str) -> None:
        self.name = " ".join([module.rpartition(".")[2], *args])
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __repr__(self) -> str:
        return f"<Side {self.name}: pid {self._process.pid}>"

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()  # the end of its stdin is what it waits for

    def do(self, job: str, seconds: float = 0.0) -> Any:
        """Have a job done and return its figure.

        Raises:
          RuntimeError: the side has died; its stderr says why.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            print(json.dumps([job, seconds]), file=stdin, flush=True)
        except BrokenPipeError:
            raise RuntimeError(f"{self.name} has ended before {job!r}") from None
        answer = stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} has ended during {job!r}")
        return json.loads(answer)


async def serve_jobs(jobs: Mapping[str, Job]) -> None:
    """Be a side: do what stdin asks for, until it ends."""
    async for line in _lines_of_stdin():
        name, seconds = json.loads(line)
        print(json.dumps(await jobs[name](seconds)), flush=True)


async def _lines_of_stdin() -> AsyncIterator[bytes]:
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        async for data in stdin:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line
