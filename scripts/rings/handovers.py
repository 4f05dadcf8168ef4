"""Promises 7 and 6: what a child is given when it starts, and that no start leads to ever more.

A child inherits descriptors 0, 1 and 2 and the reading end of its lifeline, a pipe. What an actor
has opened for itself by its first call: the socket of its link, and trio's epoll instance and two
pairs of sockets by which trio is woken.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import trio

import actorsys
from actorsys.spawn import ActorSpec

from . import processes
from .figure import Figure
from .programs import inventory
from .trees import open_session

INHERITED = Counter({"pipe": 1})
"""Kinds of descriptors beyond 0, 1 and 2."""

OPENED_BY_ITSELF = Counter({"socket": 1 + 2 + 2, "anon_inode:[eventpoll]": 1})
STARTED_TOGETHER = 3


# --- promise 7 --------------------------------------------------------------------------------


def inspect_children(trials: int, seed: int) -> Iterator[Figure]:
    """Start *trials* actors from a process with much that could leak; look at what they hold."""
    with _recorded_keys() as keys, _open_bait():
        problems = trio.run(_inspect_all, trials, keys)
    yield Figure(
        promise=7,
        what="actors that hold more than 0, 1, 2, a lifeline and their own, or show a key",
        n=len(keys),
        seed=seed,
        worst="; ".join(problems[:3]) or "none",
        target="none",
        is_met=not problems and len(keys) == trials,
    )


async def _inspect_all(trials: int, keys: list[bytes]) -> list[str]:
    problems: list[str] = []

    async def inspect_one(name: str) -> None:
        portal = await nursery.start_actor(name, modules=[inventory.__name__])
        found = await portal.run(inventory.take_inventory)
        problems.extend(_find_leaks(found["import"], INHERITED))
        problems.extend(_find_leaks(found["now"], INHERITED + OPENED_BY_ITSELF))
        problems.extend(_find_keys(found["pid"], keys))
        await portal.cancel_actor()

    async with actorsys.open_nursery() as nursery:
        for begin in range(0, trials, STARTED_TOGETHER):
            async with trio.open_nursery() as tasks:
                for number in range(begin, min(begin + STARTED_TOGETHER, trials)):
                    tasks.start_soon(inspect_one, f"child-{number}")
    return problems


def _find_leaks(descriptors: dict[int, str], expected: Counter[str]) -> list[str]:
    """Return what is wrong with the *descriptors* of a child."""
    kinds = Counter(target.partition(":[")[0] for fd, target in descriptors.items() if fd > 2)
    wanted = Counter({kind.partition(":[")[0]: count for kind, count in expected.items()})
    problems = [f"holds {count} {kind} too many" for kind, count in (kinds - wanted).items()]
    if descriptors.get(0) != "/dev/null":
        problems.append(f"stdin is {descriptors.get(0)}")
    if descriptors.get(1) != os.readlink("/proc/self/fd/1"):
        problems.append(f"stdout is {descriptors.get(1)}")
    if not descriptors.get(2, "").startswith("pipe:"):
        problems.append(f"stderr is {descriptors.get(2)}")
    return problems


def _find_keys(pid: int, keys: list[bytes]) -> list[str]:
    """Return where anybody can read one of *keys*, written in whatever way."""
    problems = []
    for place in ("cmdline", "environ"):
        text = (processes.PROC / str(pid) / place).read_bytes()
        for key in keys:
            encoded = [key.hex().encode(), base64.b64encode(key), base64.urlsafe_b64encode(key)]
            if key in text or any(form.rstrip(b"=") in text for form in encoded):
                problems.append(f"a key stands in {place}")
    return problems


@contextlib.contextmanager
def _recorded_keys() -> Iterator[list[bytes]]:
    """Yield the keys of all actors that are started meanwhile."""
    keys: list[bytes] = []
    pack = ActorSpec.pack

    def record_and_pack(spec: ActorSpec) -> bytes:
        keys.append(spec.key)
        return pack(spec)

    ActorSpec.pack = record_and_pack
    try:
        yield keys
    finally:
        ActorSpec.pack = pack


@contextlib.contextmanager
def _open_bait() -> Iterator[None]:
    """Hold descriptors of all kinds that a careless fork and exec would pass on."""
    with (
        tempfile.TemporaryFile() as file,
        socket.socket(socket.AF_UNIX) as unix,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        pipe = os.pipe()
        try:
            for fd in (file.fileno(), unix.fileno(), listener.fileno(), *pipe):
                os.set_inheritable(fd, True)
            yield
        finally:
            for fd in pipe:
                os.close(fd)


# --- promise 6 --------------------------------------------------------------------------------

CLEAR_ERROR = "under `if __name__ == '__main__':`"
MOST_RUNS = 2
"""Once as a script, and once in the actor that it starts."""

BOMB_PROCESSES = 8
ENDS_WITHIN_SECONDS = 10.0

_MAIN = """
print("it runs", flush=True)
import threading
import trio
import actorsys

async def main():
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("again", modules=[__name__])
        await portal.cancel_actor()
"""
_GUARDED = """
import trio
import actorsys

async def main():
    async with actorsys.open_nursery() as nursery:
        await nursery.start_actor("first", modules=["eager"])

if __name__ == "__main__":
    trio.run(main)
"""

SCRIPTS = {
    "a script without a guard": _MAIN + "trio.run(main)\n",
    "one that uses actorsys.run": _MAIN + "actorsys.run(main)\n",
    "one that starts its loop in a thread": _MAIN
    + "thread = threading.Thread(target=trio.run, args=(main,))\nthread.start()\nthread.join()\n",
    "one that leaves a thread running": _MAIN
    + "threading.Thread(target=trio.run, args=(main,)).start()\n",
    "a module that starts actors at import": _GUARDED,
}
"""Programs that start actors while they are imported, which every actor of theirs does again."""

EAGER_MODULE = _MAIN + "trio.run(main)\n"


def run_unguarded(trials: int, seed: int) -> Iterator[Figure]:
    """Run *trials* programs that would start ever more of themselves."""
    names = [name for _, name in zip(range(trials), cycle(SCRIPTS), strict=False)]
    problems = Counter(
        f"{name}: {problem}" for name in names if (problem := _run_script(SCRIPTS[name]))
    )
    yield Figure(
        promise=6,
        what="programs that start actors at import",
        n=trials,
        seed=seed,
        worst="; ".join(f"{text} ({count}x)" for text, count in problems.items()) or "as it should",
        target=f"one clear error, run {MOST_RUNS} times at most",
        is_met=not problems,
    )


def _run_script(code: str) -> str:
    """Run *code*; return what is wrong with how it went, if anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.py").write_text(code)
        (folder / "eager.py").write_text(EAGER_MODULE)
        with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
            command = [sys.executable, str(folder / "script.py")]
            output = {"stdout": stdout.fileno(), "stderr": stderr.fileno()}
            with open_session(command, **output) as process:
                is_over = _wait_end(process)
        runs = (folder / "stdout").read_text().count("it runs")
        errors = (folder / "stderr").read_text().count(CLEAR_ERROR)
    if not is_over:
        return "it went on and on"
    if runs > MOST_RUNS:
        return f"it was run {runs} times"
    return "" if errors == 1 else f"{errors} clear errors"


def _wait_end(process: subprocess.Popen[bytes]) -> bool:
    """Return when a program has ended, or is found to be a bomb; tell whether it has ended."""

    def is_over_or_bomb() -> bool:
        is_bomb = len(processes.living_in_session(process.pid)) >= BOMB_PROCESSES
        return is_bomb or process.poll() is not None

    processes.poll_until(is_over_or_bomb, ENDS_WITHIN_SECONDS)
    return process.poll() is not None
