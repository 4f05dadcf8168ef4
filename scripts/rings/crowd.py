"""Promise 19: neither a crowd of strangers nor a lack of descriptors harms authenticated calls."""

from __future__ import annotations

import json
import random
import resource
import socket
import subprocess
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from .figure import Figure
from .latencies import in_ms
from .trees import open_program

STRANGERS = 1000
CROWDED_SECONDS = 1.0
FEW = 5
FEW_SECONDS = 2.0
BETWEEN_KNOCKS_SECONDS = 0.01
ENDS_WITHIN_SECONDS = 10.0
MOST_HEADROOM = 20
WORDS = [b"", b"\x10", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 300, b"\x20\x00\x00\x00" + bytes(30)]
"""What strangers say first; some say nothing, or not all of it."""


class Seen(NamedTuple):
    """What a program has seen of a crowd: counts by name, and its slowest call."""

    counts: Counter[str]
    slowest_seconds: float


def knock(trials: int, seed: int) -> Iterator[Figure]:
    """Let a crowd knock at *trials* programs: half of them with hardly a descriptor to spare."""
    chance = random.Random(seed)
    _raise_own_limit()
    for what, is_limited in (("1,000 strangers", False), ("the same, no descriptors left", True)):
        planned = (trials + (not is_limited)) // 2
        if not planned:
            continue
        seen = [_knock_at_one(chance, is_limited) for _ in range(planned)]
        counts = sum((one.counts for one in seen), Counter())
        bad = {name: n for name, n in counts.items() if name.startswith(("failed", "crashed"))}
        if not is_limited and counts["refused starts"]:
            bad["refused starts"] = counts["refused starts"]
        slowest = max((one.slowest_seconds for one in seen), default=0.0)
        yield Figure(
            promise=19,
            what=f"{what}: calls of {planned} programs ({counts['starts']} actors started, "
            f"{counts['refused starts']} refused)",
            n=counts["calls"],
            seed=seed,
            worst=_tell(bad) or f"0 failed, the slowest took {in_ms(slowest)}",
            target="0 failed, nothing raised",
            is_met=not bad and counts["calls"] > 0,
        )


def _tell(bad: dict[str, int]) -> str:
    return "; ".join(f"{count} {name}" for name, count in bad.items())


def _knock_at_one(chance: random.Random, is_limited: bool) -> Seen:
    """Start a program, let a crowd knock, and return what it tells at its end."""
    headroom = chance.randrange(MOST_HEADROOM) if is_limited else -1
    with tempfile.TemporaryFile() as stderr:
        with open_program("door", str(headroom), stderr=stderr.fileno()) as program:
            assert program.stdout is not None
            host, port = program.stdout.readline().decode().strip().split(":")[1:]
            _knock((host, int(port)), chance)
            try:
                stdout, _ = program.communicate(timeout=ENDS_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                return Seen(Counter(["crashed: it hangs"]), 0.0)
        stderr.seek(0)
        said = stderr.read().decode().strip().splitlines()
    if program.returncode:
        return Seen(Counter([f"crashed: {said[-1:]}"]), 0.0)
    told = json.loads(stdout)
    return Seen(Counter(told["counts"]), told["slowest"])


def _knock(address: tuple[str, int], chance: random.Random) -> None:
    """Connect all strangers at once; when they have left, let a few come and go for a while."""
    crowd = deque(_connect(address, chance) for _ in range(STRANGERS))
    time.sleep(CROWDED_SECONDS)
    while len(crowd) > FEW:
        crowd.popleft().close()
    end = time.monotonic() + FEW_SECONDS
    while time.monotonic() < end:
        time.sleep(BETWEEN_KNOCKS_SECONDS)
        for _ in range(chance.randrange(FEW)):
            crowd.popleft().close()
            crowd.append(_connect(address, chance))
    for stranger in crowd:
        stranger.close()


def _connect(address: tuple[str, int], chance: random.Random) -> socket.socket:
    stranger = socket.socket()
    stranger.setblocking(False)
    stranger.connect_ex(address)
    with suppress(OSError):  # it waits in the queue, or was turned away already
        stranger.send(chance.choice(WORDS))
    return stranger


def _raise_own_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * STRANGERS)), hard))
