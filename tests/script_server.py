"""Runs scripts one after the other, each in a copy of a process that has imported actorsys.

That is what takes longest in most scripts. As a program it reads a line for each of them, a JSON
list of folder, script, and the files for stdout and stderr, and answers with the exit status.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import actorsys  # noqa: F401 - for the scripts

SCRIPT_SECONDS = 20


class ScriptServer:
    """The server, as those see it that have scripts to run."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, script: Path) -> subprocess.CompletedProcess[str]:
        """Run *script* in its folder, with nothing to read, to its end or for `SCRIPT_SECONDS`."""
        outputs = [script.with_suffix(".stdout"), script.with_suffix(".stderr")]
        request = [str(path) for path in (script.parent, script, *outputs)]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(str(script), status, *[f.read_text() for f in outputs])


@contextmanager
def open_script_server() -> Iterator[ScriptServer]:
    """Start a server; end it, and the script that it runs, when the block ends."""
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield ScriptServer(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def serve() -> None:
    """Answer requests until there are no more, or become the script of one of them."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(*request)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(folder: str, script: str, stdout: str, stderr: str) -> None:
    """Be the interpreter that runs *script*, to the end of that."""
    os.chdir(folder)
    for fd, path in enumerate([os.devnull, stdout, stderr]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, fd)
        os.close(opened)
    signal.alarm(SCRIPT_SECONDS)
    sys.argv[:] = [script]
    sys.path[0] = folder
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    serve()
