"""What the tests of whole programs share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from tree_helpers import Journal, open_journal, program_running

PROGRAM = Path(__file__).parent / "tree_program.py"


class Tree:
    """A running `tree_program`: its root process, and the pid of each actor by name."""

    def __init__(self, root: subprocess.Popen[str], journal: Journal, pids: dict[str, int]) -> None:
        self.root = root
        self.journal = journal
        self.pids = pids

    async def wait_gone(self, seconds: float) -> None:
        """Return when every process of the tree has ended, which takes at most *seconds*."""
        with trio.fail_after(seconds):
            await self.journal.wait_all_gone()

    def read_output(self) -> tuple[int, str, str]:
        """Return exit status, stdout and stderr of the root, which has ended."""
        stdout, stderr = self.root.communicate(timeout=5)
        return self.root.returncode, stdout, stderr


@asynccontextmanager
async def open_tree(folder: Path, way: str = "one-shots", **chains: int) -> AsyncIterator[Tree]:
    """Run a root with chains of actors, depth by behaviour; return when all of them run."""
    arguments = [text for name, depth in chains.items() for text in (name, str(depth))]
    async with open_journal(folder) as journal:
        command = [sys.executable, str(PROGRAM), journal.path, way, *arguments]
        with program_running(command, folder) as root:
            lines = [await journal.read_line() for _ in range(1 + sum(chains.values()))]
            pids = {name: int(pid) for name, pid in (line.split() for line in lines)}
            yield Tree(root, journal, pids)
