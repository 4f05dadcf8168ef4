"""Whatever kills a kernel, and whenever: what was accepted is handed over once."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio
from kernel_functions import CRASH, RECORD, Job, Note
from kernel_helpers import open_kernels, outcome_of, simulated, sized
from tree_helpers import script_running, wait_until

from actorsys import (
    ActorDied,
    BackpressureStrategy,
    KernelContext,
    KernelState,
    OneForOne,
    RingKernelRuntime,
    current_actor,
    ring_kernel,
)
from actorsys.kernels import page
from actorsys.kernels.wiring import Wiring
from actorsys.supervise.strategies import Backoff

STARTS_PROCESSES = True

JOBS = 120
KILLS = 6
LAST = "last"


@pytest.fixture(autouse=True)
def no_record() -> None:
    """Forget what the kernels of earlier tests have done."""
    RECORD.clear()


def write_down(job: Job) -> None:
    """Note the number of a job in the file that it names; a write this short is never torn."""
    descriptor = os.open(job.items[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"%d\n" % job.number)
    os.close(descriptor)


def end(how: str) -> None:
    """End this process in one of the ways there are."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(3)
    elif how == "raise":
        raise RuntimeError("as it was told")


@ring_kernel()
async def mortal(ctx: KernelContext) -> None:
    """Write down each job, and die of some."""
    async for job in ctx:
        write_down(job)
        end(job.text)
        await trio.sleep(job.seconds)
        if job.text == LAST:
            await ctx.reply(job, Note())


@ring_kernel()
async def blocking(ctx: KernelContext) -> None:
    """Let nothing else of its process run during the last job."""
    async for job in ctx:
        if job.text == LAST:
            await ctx.send(Note())
            await trio.lowlevel.checkpoint()  # so that it leaves
            time.sleep(job.seconds)


@ring_kernel()
async def mortal_batches(ctx: KernelContext) -> None:
    """Write down several jobs at once, and die of some."""
    while batch := await ctx.receive_batch(8, within=0.001):
        for job in batch:
            write_down(job)
        for job in batch:
            end(job.text)
            if job.text == LAST:
                await ctx.reply(job, Note())


@ring_kernel()
async def cut_short(ctx: KernelContext) -> None:
    """Be killed by the next attempt to write to the runtime before its time, once."""
    async for job in ctx:
        write_down(job)
        is_first = not os.path.exists(f"{job.items[0]}.killed")
        if is_first and job.number == 1:
            Path(f"{job.items[0]}.killed").touch()
            Wiring.flush = lambda _: end("kill")  # type: ignore[method-assign]


@ring_kernel()
async def busy(ctx: KernelContext) -> None:
    """Put something out before each job is taken, so that what else is sent waits for a moment."""
    async for job in ctx:
        RECORD.append(job.number)
        if job.text == CRASH:
            current_actor().host.exit(1)
            await trio.sleep_forever()
        await trio.sleep(0.01)
        await ctx.send(Note(job.number))


@ring_kernel()
async def interrupted(ctx: KernelContext) -> None:
    """Behave as if somebody had pressed Ctrl-C."""
    async for job in ctx:
        if job.text == "interrupt":
            raise KeyboardInterrupt
        await ctx.reply(job, Note(job.number))


def jobs_of(seed: int, path: Path) -> list[Job]:
    """Return jobs of which some kill."""
    chance = random.Random(seed)
    endings = ["kill", "exit", "raise"]
    return [
        Job(
            number,
            chance.choice(endings) if chance.random() < 0.02 else "",
            chance.random() * 0.002,
            [str(path)],
            priority=chance.choice([1, 128, 255]),
        )
        for number in range(JOBS)
    ]


async def kill_now_and_then(runtime: RingKernelRuntime, name: str, seed: int) -> None:
    """Kill a kernel a few times, at moments that nobody has chosen."""
    chance = random.Random(seed)
    for _ in range(KILLS):
        await trio.sleep(chance.random() * 0.1)
        pid = runtime.portal(name).pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGHUP]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "in_hand", "seed"), [(mortal, 1, 1), (mortal, 1, 2), (mortal_batches, 8, 3)]
)
async def test_what_was_accepted_is_handed_over_once_through_kills_at_any_time(
    kernel: Any, in_hand: int, seed: int, tmp_path: Path
) -> None:
    print(f"seed {seed}")
    path, name = tmp_path / "taken", kernel.__name__
    strategy = OneForOne(1000, backoff=Backoff(first=0, most=0))
    async with RingKernelRuntime(strategy=strategy) as runtime:
        await runtime.launch(name, kernel, restart="permanent")
        for job in jobs_of(seed, path):
            await runtime.send(name, job)
        await runtime.activate(name)
        await kill_now_and_then(runtime, name, seed)
        for number in itertools.count(JOBS):
            last = Job(number, LAST, items=[str(path)], priority=0)
            if type(await outcome_of(runtime.ask, name, last, timeout=5)) is Note:
                break
        await runtime.terminate(name)
        statistics = await runtime.statistics(name)
    counts = Counter(int(number) for number in path.read_text().split())
    assert max(counts.values()) == 1
    # Each death takes along what was in hand, and no more.
    lost = JOBS - sum(number < JOBS for number in counts)
    assert lost <= statistics.restarts * in_hand
    assert (statistics.dropped, statistics.queue_depth) == ({}, 0)


async def test_a_kill_just_after_a_message_was_taken_does_not_bring_back_the_one_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "taken"
    async with RingKernelRuntime() as runtime:
        await runtime.launch("cut_short", cut_short, restart="permanent")
        for number in range(6):
            await runtime.send("cut_short", Job(number, items=[str(path)]))
        await runtime.activate("cut_short")
        await runtime.terminate("cut_short")
    taken = path.read_text().split()
    assert Counter(taken).most_common(1)[0][1] == 1


async def test_an_interrupt_that_a_kernel_raises_is_a_crash() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("interrupted", interrupted, restart="permanent")
        await runtime.activate("interrupted")
        found = await outcome_of(runtime.ask, "interrupted", Job(1, "interrupt"), timeout=5)
        assert type(found) is ActorDied
        assert (await runtime.ask("interrupted", Job(2), timeout=5)).value == 2


@pytest.mark.parametrize(
    "queue_size",
    [
        1,
        2,
        5,
    ],
)
@simulated
async def test_who_waits_for_room_gets_that_of_a_message_that_has_killed(queue_size: int) -> None:
    async with open_kernels(busy, restart="permanent", **sized(queue_size)) as runtime:
        with trio.fail_after(100):
            for number in range(20):
                await runtime.send("busy", Job(number, CRASH if number == 7 else ""))
    assert [number for number in RECORD if number != 7] == [n for n in range(20) if n != 7]


async def test_what_a_killed_process_has_counted_is_not_lost(tmp_path: Path) -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("mortal", mortal, restart="permanent")
        await runtime.activate("mortal")
        texts = {7: "kill", 9: LAST}
        for number in range(10):
            job = Job(number, texts.get(number, ""), 0, [str(tmp_path / "taken")])
            await runtime.send("mortal", job)
        await runtime.receive("mortal", timeout=10)
        with trio.fail_after(10):
            while (statistics := await runtime.statistics("mortal")).processed < 9:
                await trio.lowlevel.checkpoint()
        assert (statistics.received, statistics.processed, statistics.restarts) == (10, 9, 1)
        assert statistics.latency.count == 9
        assert statistics.errors == 0


async def test_a_kernel_that_blocks_is_counted_all_the_same() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("blocking", blocking)
        await runtime.activate("blocking")
        for number in range(5):
            await runtime.send("blocking", Job(number, LAST if number == 4 else "", 2.0))
        await runtime.receive("blocking", timeout=10)
        began = trio.current_time()
        statistics = await runtime.statistics("blocking")
        assert trio.current_time() - began < 1.5
        assert (statistics.received, statistics.processed) == (5, 4)
        await runtime.terminate("blocking", drain=False, timeout=0)


@simulated
async def test_where_no_memory_is_shared_a_process_is_asked_for_its_counts() -> None:
    with mock.patch.object(page, "is_supported", return_value=False):
        async with open_kernels(busy, restart="permanent") as runtime:
            for number in range(10):
                await runtime.send("busy", Job(number, CRASH if number == 4 else ""))
            await trio.sleep(5)
            statistics = await runtime.statistics("busy")
    # What the one that has died had not told is lost.
    assert (statistics.received, statistics.processed, statistics.restarts) == (10, 5, 1)
    assert statistics.latency.count == 5


async def test_a_kill_leaves_nothing_of_a_mailbox_that_drops_unaccounted(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    options = sized(4, backpressure=BackpressureStrategy.DROP_OLDEST)
    async with RingKernelRuntime() as runtime:
        await runtime.launch("mortal", mortal, restart="transient", **options)
        texts = {37: "kill", 39: LAST}
        for number in range(40):
            await runtime.send("mortal", Job(number, texts.get(number, ""), 0, [str(path)]))
        await runtime.activate("mortal")
        await runtime.receive("mortal", timeout=10)
        await runtime.terminate("mortal")
        statistics = await runtime.statistics("mortal")
        assert runtime.state("mortal") is KernelState.TERMINATED
    assert path.read_text().split() == ["36", "37", "38", "39"]
    assert (statistics.received, statistics.dropped) == (40, {"overflow": 36})
    assert (statistics.queue_depth, statistics.restarts) == (0, 1)


# --- whole programs ------------------------------------------------------------------------------

INTERRUPTED = """
import trio

from actorsys import KernelContext, RingKernelRuntime, message, ring_kernel


@message
class Tick:
    number: int = 0


@ring_kernel()
async def worker(ctx: KernelContext) -> None:
    try:
        async for tick in ctx:
            await ctx.reply(tick, tick)
    finally:
        print(f"{ctx.kernel_id} has cleaned up\\n", end="", flush=True)


async def ask_for_ever(runtime: RingKernelRuntime, name: str) -> None:
    while True:
        await runtime.ask(name, Tick(), timeout=5)


async def main() -> None:
    async with RingKernelRuntime() as runtime:
        async with trio.open_nursery() as tasks:
            for name in ("one", "two"):
                await runtime.launch(name, worker, restart="permanent")
                await runtime.activate(name)
                await runtime.ask(name, Tick(), timeout=5)
                tasks.start_soon(ask_for_ever, runtime, name)
            open("ready", "w").close()


if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.parametrize("whom", ["all", "the program"])
async def test_ctrl_c_ends_all_kernels_and_lets_them_clean_up(whom: str, tmp_path: Path) -> None:
    with script_running(tmp_path, INTERRUPTED) as program:
        wait_until((tmp_path / "ready").exists, 10)
        if whom == "all":
            os.killpg(program.pid, signal.SIGINT)
        else:
            program.send_signal(signal.SIGINT)
        stdout, stderr = program.communicate(timeout=5)
    assert sorted(stdout.splitlines()) == ["one has cleaned up", "two has cleaned up"]
    assert "KeyboardInterrupt" in stderr
    assert "crashed" not in stderr
    assert program.returncode != 0
