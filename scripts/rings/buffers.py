"""Promise 25: whoever dies, memory comes back, and nobody sees bytes that were not meant for him.

An actor that lends buffers and borrows them, as fast as it can, is killed at some moment, again and
again; every other time with buffers on a device that enforces the rules of CUDA.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

import actorsys
from actorsys import Buffer, Limits, Portal
from actorsys.limits import KIB
from actorsys.memory import is_alive
from actorsys.testing import fake_cuda

from .figure import Figure
from .processes import PROC
from .programs import lenders

LOST_WITHIN_SECONDS = 0.1
BACK_WITHIN_SECONDS = 2.0
COUNT = 10_000
MOST_BUFFERS = 8
LIMITS = Limits(max_buffer_bytes=MOST_BUFFERS * 40 * KIB)
"""Room for so many buffers on each side: what did not come back would be missed soon."""

_FAKE = f"{__package__}.programs.fake_gpu"
_LINK = "/memfd:actorsys"


@dataclass
class Findings:
    """What went wrong, and the longest time until a buffer was lost."""

    lost_seconds: float = 0.0
    wrong: int = 0
    hand_overs: int = 0
    problems: list[str] = field(default_factory=list)


def kill_users(trials: int, seed: int) -> Iterator[Figure]:
    """Kill an owner and importer of buffers *trials* times; measure what becomes of them."""
    for device in ("cpu", "cuda:0"):
        findings = Findings()
        chance = random.Random(f"{seed} {device}")
        with _device(device) as runtime:
            for _ in range(-(-trials // 2)):
                trio.run(_run_trial, device, chance, findings)
                findings.problems += _left(runtime)
        yield from _figures(device, -(-trials // 2), seed, findings)


def _figures(device: str, trials: int, seed: int, findings: Findings) -> Iterator[Figure]:
    place = "on the host" if device == "cpu" else "on a fake GPU"
    problems = findings.problems
    for what, worst, target, is_met in (
        (
            f"SIGKILLs after which memory {place} is missing",
            "; ".join(problems[:3]) or "none",
            "none",
            not problems,
        ),
        (
            f"until buffers {place} of a killed process are lost",
            f"{findings.lost_seconds * 1000:.1f} ms",
            f"{LOST_WITHIN_SECONDS * 1000:.0f} ms",
            findings.lost_seconds <= LOST_WITHIN_SECONDS,
        ),
        (
            f"bytes of another buffer {place}, in {findings.hand_overs:,} hand-overs",
            str(findings.wrong),
            "0",
            not findings.wrong and findings.hand_overs > 0,
        ),
    ):
        yield Figure(25, what, trials, seed, worst, target, is_met)


@contextlib.contextmanager
def _device(device: str) -> Iterator[fake_cuda.FakeCuda | None]:
    if device == "cpu":
        yield None
        return
    runtime = fake_cuda.install()
    try:
        yield runtime
    finally:
        fake_cuda.uninstall(runtime)


async def _run_trial(device: str, chance: random.Random, findings: Findings) -> None:
    modules = [lenders.__name__] + ([_FAKE] if device != "cpu" else [])
    borrowed: list[Buffer] = []
    async with actorsys.open_nursery(limits=LIMITS) as nursery:
        portal = await nursery.start_actor("mortal", modules=modules)
        # It is told of its death, whatever is in flight then.
        with contextlib.suppress(actorsys.ActorUnavailable):
            async with trio.open_nursery() as tasks:
                tasks.start_soon(_kill_later, portal, chance.uniform(0, 0.2), borrowed, findings)
                tasks.start_soon(_lend_and_borrow, portal, device, borrowed, findings)
        borrowed.clear()
        await _take_all_room(device, findings)


async def _lend_and_borrow(
    portal: Portal, device: str, borrowed: list[Buffer], findings: Findings
) -> None:
    """Lend buffers and borrow some until the other side is gone."""
    value = 0
    while True:
        value = value % 1000 + 1
        buffer = await lenders.make(COUNT, device, value)
        try:
            findings.wrong += await portal.run(lenders.borrow, buffer, value)
            borrowed.append(await portal.run(lenders.lend, COUNT, device, value))
            findings.wrong += lenders.wrong_in(borrowed[-1], value)
        except actorsys.ActorUnavailable:
            return
        except (actorsys.BufferLost, actorsys.EncodeError):
            continue  # an answer has arrived, and its buffer is lost already
        except fake_cuda.CudaRuleBroken:
            if portal.pid is None or is_alive(portal.pid):
                raise
            continue  # it was killed while its memory was looked at, which nobody can know before
        findings.hand_overs += 2
        del borrowed[:-2]


async def _kill_later(
    portal: Portal, seconds: float, borrowed: list[Buffer], findings: Findings
) -> None:
    while not borrowed:
        await trio.sleep(0.001)
    await trio.sleep(seconds)
    assert portal.pid is not None
    pidfd = os.pidfd_open(portal.pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
    begin = time.perf_counter()
    while borrowed and not _is_lost(borrowed[0]) and time.perf_counter() < begin + 10:
        await trio.sleep(0.0005)
    findings.lost_seconds = max(findings.lost_seconds, time.perf_counter() - begin)


def _is_lost(buffer: Buffer) -> bool:
    try:
        buffer.array()
    except actorsys.BufferLost:
        return True
    return False


async def _take_all_room(device: str, findings: Findings) -> None:
    """Check that all room there is can be had again, and is zeros."""
    gc.collect()
    with trio.move_on_after(BACK_WITHIN_SECONDS) as scope:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(MOST_BUFFERS):
                opening = actorsys.open_buffer(COUNT, "f4", device=device)
                buffer = await stack.enter_async_context(opening)
                findings.wrong += lenders.wrong_in(buffer, 0)
                buffer = None
    if scope.cancelled_caught:
        store = actorsys.current_actor().buffers
        findings.problems.append(f"no room after {BACK_WITHIN_SECONDS} s: {store!r}")


def _left(runtime: fake_cuda.FakeCuda | None) -> list[str]:
    """Return what is left when the tree is gone, and which rules of CUDA were broken."""
    gc.collect()
    problems = []
    if runtime is None:
        descriptors = [
            os.readlink(path) for path in (PROC / "self" / "fd").iterdir() if path.is_symlink()
        ]
        count = sum(target.startswith(_LINK) for target in descriptors)
        count += (PROC / "self" / "maps").read_text().count(_LINK)
        if count:
            problems.append(f"{count} files or mappings left")
    else:
        problems += runtime.broken
        if runtime.used_bytes or runtime.mapped_bytes:
            problems.append(f"{runtime.used_bytes} and {runtime.mapped_bytes} bytes left")
    return problems
