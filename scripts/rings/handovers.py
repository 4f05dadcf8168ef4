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
MOST_PROCESSES = 2
BOMB_PROCESSES = 8
ENDS_WITHIN_SECONDS = 10.0

_MAIN = """
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
    names = list(SCRIPTS)
    problems: list[str] = []
    most = 0
    for trial in range(trials):
        name = names[trial % len(names)]
        count, problem = _run_script(SCRIPTS[name])
        most = max(most, count)
        if problem:
            problems.append(f"{name}: {problem}")
    yield Figure(
        promise=6,
        what="programs that start actors at import",
        n=trials,
        seed=seed,
        worst=f"at most {most} processes; " + ("; ".join(dict.fromkeys(problems)) or "all clear"),
        target=f"one clear error, at most {MOST_PROCESSES} processes",
        is_met=not problems,
    )


def _run_script(code: str) -> tuple[int, str]:
    """Run *code*; return how many processes it had at once, and what was wrong, if anything."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(code)
        (Path(folder) / "eager.py").write_text(EAGER_MODULE)
        with open(Path(folder) / "stderr", "w+b") as stderr:
            with open_session([sys.executable, str(script)], stderr=stderr) as process:
                most = _count_processes(process)
                status = process.poll()
            stderr.seek(0)
            said = stderr.read().decode()
    if status is None:
        return most, "it went on and on"
    if most > MOST_PROCESSES:
        return most, f"{most} processes"
    errors = said.count(CLEAR_ERROR)
    return most, "" if errors == 1 else f"{errors} clear errors"


def _count_processes(process: subprocess.Popen[bytes]) -> int:
    """Return how many processes a program has at once, at most, until it ends or is a bomb."""
    most = 0

    def is_over() -> bool:
        nonlocal most
        most = max(most, len(processes.living_in_session(process.pid)))
        return process.poll() is not None or most >= BOMB_PROCESSES

    processes.poll_until(is_over, ENDS_WITHIN_SECONDS)
    return most
