"""The demo does what its name says, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent
GONE_WITHIN_SECONDS = 2.0
ACTOR = re.compile(r"(root|indexer-\d|tokeniser-\d) +pid (\d+) +child of (\d+)")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20)]


@contextmanager
def open_demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo, as a terminal would: in a process group of its own."""
    command = [sys.executable, "-m", "scripts.stdlib_index", "--workers", "2", "--plain"]
    with subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_demo(*arguments: str) -> tuple[int, str, str]:
    """Return the exit status of the demo, and what it printed on stdout and stderr."""
    with open_demo(*arguments) as process:
        stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


def read_until(process: subprocess.Popen[str], is_last: Callable[[str], bool]) -> str:
    """Return what the demo prints up to the line for which *is_last* is true."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if is_last(line):
            return "".join(lines)
    raise AssertionError(f"the demo ended too early: {''.join(lines)}")


def actors_in(stdout: str) -> dict[str, tuple[int, int]]:
    """Return the pid of each actor and of its parent, as printed."""
    return {name: (int(pid), int(parent)) for name, pid, parent in ACTOR.findall(stdout)}


@pytest.fixture(scope="module")
def printed() -> str:
    """What a run over a few files prints, which several tests look at."""
    status, stdout, stderr = run_demo("--limit", "60", "--query", "dataclass")
    assert (status, stderr) == (0, "")
    return stdout


def test_the_tree_finds_what_one_process_finds(printed: str) -> None:
    check = printed.partition("Check against one process\n")[2]
    names = re.findall(r"^  (\S+) .* same$", check, re.MULTILINE)
    assert names == ["files", "skipped", "tokens", "identifiers", "answers"]


def test_files_progress_speed_and_answers_are_printed(printed: str) -> None:
    assert re.search(r"^  60 files with ", printed, re.MULTILINE)
    assert re.search(r"^  100% +60 of 60 files ", printed, re.MULTILINE)
    assert re.search(r"^  speed-up \d+\.\d\d ", printed, re.MULTILINE)
    assert "Where does 'dataclass' occur most?" in printed


def test_the_actors_are_printed_with_their_parents(printed: str) -> None:
    actors = actors_in(printed)
    assert {name: parent for name, (_, parent) in actors.items()} == {
        "root": os.getpid(),
        "indexer-1": actors["root"][0],
        "tokeniser-1": actors["indexer-1"][0],
        "indexer-2": actors["root"][0],
        "tokeniser-2": actors["indexer-2"][0],
    }


def test_the_error_of_a_killed_indexer_names_it() -> None:
    status, stdout, stderr = run_demo("--limit", "60", "--kill")
    assert (status, stderr) == (0, "")
    killed = re.search(r"^Killed (indexer-\d) \(pid (\d+)\) after", stdout, re.MULTILINE)
    assert killed is not None
    name, pid = killed.groups()
    assert actors_in(stdout)[name][0] == int(pid)
    assert f"ActorDied: actor {name!r} (pid {pid}) ended: killed by SIGKILL" in stdout
    assert "all 4 processes were gone" in stdout


def test_an_interrupt_leaves_nothing_behind() -> None:
    with open_demo("--limit", "1000") as process:
        stdout = read_until(process, lambda line: " of " in line and line.endswith(" s\n"))
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert len(descendants) == len(actors_in(stdout)) - 1 == 4
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=GONE_WITHIN_SECONDS)
        _, alive = psutil.wait_procs(descendants, timeout=0)
        assert not alive, f"left behind: {alive}"
    assert (process.returncode, stderr) == (130, "interrupted\n")


def test_numbers_that_make_no_sense_are_refused() -> None:
    status, _, stderr = run_demo("--limit", "0")
    assert status == 2
    assert "argument --limit" in stderr
