"""Kernels in processes of their own: what a simulation cannot show."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kernel_functions as remote
import pytest
import trio
from kernel_functions import CRASH, Job
from kernel_helpers import open_kernels, received
from tree_helpers import run_script

from actorsys import (
    ActorsysError,
    KernelState,
    MailboxFull,
    RingKernelRuntime,
    message,
)

STARTS_PROCESSES = True


@message
@dataclass
class OnlyHere:
    """A message whose class the process of no kernel knows."""

    text: str = ""


async def launch_all(runtime: RingKernelRuntime, *names: str, kernel: Any, **options: Any) -> None:
    """Launch *kernel* under each of *names* at the same time, and activate it."""

    async def launch(name: str) -> None:
        await runtime.launch(name, kernel, **options)
        await runtime.activate(name)

    async with trio.open_nursery() as tasks:
        for name in names:
            tasks.start_soon(launch, name)


async def test_a_kernel_may_ask_another_while_its_link_is_being_opened() -> None:
    async with open_kernels(remote.quiet) as runtime:
        for number in range(3):
            await runtime.launch(f"hasty {number}", remote.hasty)
            assert (await runtime.receive(f"hasty {number}", timeout=5)).value == 7


async def test_each_kernel_is_a_process_of_its_own() -> None:
    async with RingKernelRuntime() as runtime:
        await launch_all(runtime, "one", "two", kernel=remote.census)
        job = Job(items=["large", bytes(1_000_000)])
        replies = [await runtime.ask(name, job, timeout=5) for name in ("one", "two", "one")]
        pids = [reply.value[0] for reply in replies]
        assert len({os.getpid(), *pids}) == 3
        assert pids[0] == pids[2]
        # A global that both count is counted by each for itself, and not at all here.
        assert [reply.value[1] for reply in replies] == [1, 1, 2]
        assert remote.SHARED == {"count": 0}
        # What they have added to the list is in their copy only.
        assert all(reply.value[2] == [*job.items, "changed here"] for reply in replies)
        assert len(job.items) == 2

        # Strict priorities hold over the wire as well.
        await runtime.deactivate("one")
        for number, priority in ((1, 32), (2, 128), (3, 129), (4, 255), (5, 255)):
            await runtime.send("one", Job(items=[number], priority=priority))
        await runtime.activate("one")
        order = [note.value[2][0] for note in await received(runtime, "one", 5)]
        assert order == [4, 5, 3, 2, 1]

        # It does not know the class of this one.
        await runtime.send("two", OnlyHere())
        with pytest.raises(ActorsysError, match="import the module") as caught:
            await runtime.ask("two", OnlyHere(), timeout=5)
        assert not isinstance(caught.value, MailboxFull)
        assert (await runtime.ask("two", Job(), timeout=5)).value[1] == 2
        statistics = await runtime.statistics("two")
        assert (statistics.errors, statistics.processed) == (2, 2)
        assert statistics.dropped == {"unreadable": 2}


async def test_kernels_that_hold_their_process_up_hold_up_nobody_else() -> None:
    replies: list[int] = []

    async def ask_blocking(number: int) -> None:
        reply = await runtime.ask("blocking", Job(number, seconds=0.1), timeout=10)
        replies.append(reply.value)

    async with open_kernels(remote.answer) as runtime:
        async with trio.open_nursery() as tasks:
            await runtime.launch("blocking", remote.blocking)
            # It blocks already; what is sent meanwhile waits.
            for number in (1, 2):
                tasks.start_soon(ask_blocking, number)
            tasks.start_soon(runtime.activate, "blocking")
            for number in range(10):
                assert (await runtime.ask("answer", Job(number), timeout=5)).value == number
            assert replies == []
        assert sorted(replies) == [1, 2]

        # This one never awaits anything: it is ended by force.
        await runtime.launch("never", remote.never_awaits)
        with trio.move_on_after(0.1) as patience:
            await runtime.activate("never")
        assert patience.cancelled_caught
        with trio.fail_after(3):
            await runtime.terminate("never", timeout=0.1)
        assert runtime.state("never") is KernelState.TERMINATED
        assert (await runtime.ask("answer", Job(1), timeout=5)).value == 1


async def test_a_kernel_that_dies_in_whatever_way_comes_back_to_what_it_had_not_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "taken"
    texts = {2: CRASH, 4: "raise"}
    async with open_kernels(remote.dying, restart="permanent") as runtime:
        for number in range(6):
            await runtime.send("dying", Job(number, texts.get(number, ""), items=[str(path)]))
        assert [note.value for note in await received(runtime, "dying", 4)] == [0, 1, 3, 5]

        await runtime.deactivate("dying")
        await runtime.send("dying", Job(6, items=[str(path)]))
        pid = runtime.portal("dying").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await runtime.send("dying", Job(7, items=[str(path)]))
        await runtime.activate("dying")
        assert [note.value for note in await received(runtime, "dying", 2)] == [6, 7]
        assert runtime.portal("dying").pid != pid

        assert path.read_text().split() == [f"{number}" for number in range(8)]
        statistics = await runtime.statistics("dying")
        # Who dies without a word cannot tell what it has counted.
        assert (statistics.received, statistics.restarts, statistics.errors) == (8, 3, 1)


async def test_a_message_that_kills_is_given_once_however_much_was_sent_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "taken"
    async with open_kernels(remote.dying, restart="permanent") as runtime:
        for number, text in enumerate(("much", CRASH, "")):
            await runtime.send("dying", Job(number, text, items=[str(path)]))
        while (await runtime.receive("dying", timeout=5)).value != 2:
            pass
    assert path.read_text().split() == ["0", "1", "2"]


async def test_a_batch_may_take_only_what_is_there() -> None:
    async with open_kernels(remote.at_once) as runtime:
        await runtime.deactivate("at_once")
        for number in range(3):
            await runtime.send("at_once", Job(number))
        await runtime.activate("at_once")
        taken: list[int] = []
        while len(taken) < 3:
            taken += (await runtime.receive("at_once", timeout=5)).value
        assert taken == [0, 1, 2]


SCRIPT = """
from dataclasses import dataclass

import trio

from actorsys import KernelContext, RingKernelRuntime, message, ring_kernel


@message
@dataclass
class WorkRequest:
    data: list[float]
    operation: str = "sum"


@message
@dataclass
class WorkResponse:
    result: float


@ring_kernel(kernel_id="worker")
async def worker(ctx: KernelContext) -> None:
    async for request in ctx:
        await ctx.send(WorkResponse(result=sum(request.data), correlation_id=request.message_id))


async def main() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("worker", worker)
        await runtime.activate("worker")
        await runtime.send("worker", WorkRequest(data=[1, 2, 3]))
        response = await runtime.receive("worker", timeout=5.0)
        print(type(response) is WorkResponse, response.result)
        response = await runtime.ask("worker", WorkRequest(data=[4]), timeout=5.0)
        print(response.result)


if __name__ == "__main__":
    trio.run(main)
"""


async def test_the_example_of_the_contract_runs_as_a_script(tmp_path: Path) -> None:
    ended = run_script(tmp_path, SCRIPT)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "True 6\n4\n", "")
