"""However a kernel ends, who uses it is told why, and nothing that was accepted is forgotten."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest
import trio
from kernel_functions import Job, Note
from kernel_helpers import accounted, open_kernels, outcome_of, received, simulated, sized

from actorsys import (
    ActorDied,
    BackpressureStrategy,
    KernelContext,
    KernelState,
    RingKernelRuntime,
    message,
    ring_kernel,
)

DROP_OLDEST = BackpressureStrategy.DROP_OLDEST

seen: list[int] = []
"""The numbers of the jobs that came to the end of a pipeline."""


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Forget what earlier tests have sent."""
    seen.clear()


# --- pipelines ---------------------------------------------------------------------------------


@ring_kernel()
async def passing_on(ctx: KernelContext) -> None:
    """Pass each job on to the kernel `arriving`."""
    async for job in ctx:
        await trio.sleep(0.02)
        await ctx.send_to("arriving", job)


@ring_kernel()
async def asking_on(ctx: KernelContext) -> None:
    """Ask the kernel `arriving` what each job comes to."""
    async for job in ctx:
        await trio.sleep(0.02)
        await ctx.ask("arriving", job, timeout=1)


@ring_kernel()
async def arriving(ctx: KernelContext) -> None:
    """Note what has arrived, and reply."""
    async for job in ctx:
        seen.append(job.number)
        await ctx.reply(job, Note(job.number))


@pytest.mark.parametrize("first", [passing_on, asking_on])
@simulated
async def test_leaving_the_block_lets_a_pipeline_finish(first: Callable[..., Any]) -> None:
    async with open_kernels(arriving, first) as runtime:
        for number in range(10):
            await runtime.send(first.__name__, Job(number))
    assert seen == list(range(10))
    assert (await runtime.statistics(first.__name__)).errors == 0


@simulated
async def test_a_pipeline_finishes_when_its_stages_are_terminated_in_order() -> None:
    async with open_kernels(arriving, passing_on) as runtime:
        for number in range(10):
            await runtime.send("passing_on", Job(number))
        await runtime.terminate("passing_on")
        await runtime.terminate("arriving")
    assert seen == list(range(10))


# --- crashes that are no Exception -------------------------------------------------------------


class Odd(BaseException):
    """What hardly anybody catches."""


async def leave() -> None:
    sys.exit(3)


@ring_kernel()
async def odd(ctx: KernelContext) -> None:
    """Crash with the kind of error that a job names."""
    async for job in ctx:
        if job.text == "base":
            raise Odd("an odd error")
        if job.text == "generator":
            raise GeneratorExit
        if job.text == "nursery":
            async with trio.open_nursery() as tasks:
                tasks.start_soon(leave)
        if job.text == "group":
            raise BaseExceptionGroup("several", [Odd("an odd error"), ValueError("and another")])
        await ctx.reply(job, Note(job.number))


ODD = ["base", "generator", "nursery", "group"]


@pytest.mark.parametrize("text", ODD)
@simulated
async def test_every_error_is_a_crash_that_is_followed_by_a_restart(text: str) -> None:
    async with open_kernels(odd, restart="permanent") as runtime:
        found = await outcome_of(runtime.ask, "odd", Job(1, text), timeout=5)
        assert type(found) is ActorDied
        assert (await runtime.ask("odd", Job(2), timeout=5)).value == 2


@pytest.mark.parametrize("text", ODD)
@simulated
async def test_every_error_is_logged_and_counted(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_kernels(odd) as runtime:
        await outcome_of(runtime.ask, "odd", Job(1, text), timeout=5)
        assert runtime.state("odd") is KernelState.FAILED
        assert (await runtime.statistics("odd")).errors == 1
    assert any("has crashed" in record.getMessage() for record in caplog.records)


# --- the end of receiving, inside a nursery ----------------------------------------------------


@ring_kernel()
async def receiving_beside(ctx: KernelContext) -> None:
    """Receive in a nursery in which something else goes on."""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(trio.sleep, 0)
        while not ctx.should_terminate:
            job = await ctx.receive()
            await ctx.reply(job, Note(job.number))


@ring_kernel()
async def waiting_beside(ctx: KernelContext) -> None:
    """Receive with a timeout, in a nursery in which something else goes on."""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(trio.sleep, 0)
        while not ctx.should_terminate:
            job = await ctx.receive(timeout=100)
            await ctx.reply(job, Note(job.number))


@pytest.mark.parametrize("kernel", [receiving_beside, waiting_beside])
@pytest.mark.parametrize("restart", ["temporary", "permanent"])
@simulated
async def test_no_end_has_to_be_handled_in_a_nursery_either(
    kernel: Callable[..., Any], restart: str
) -> None:
    name = kernel.__name__
    async with open_kernels(kernel, restart=restart) as runtime:
        assert (await runtime.ask(name, Job(1), timeout=5)).value == 1
        await runtime.terminate(name)
        assert (await runtime.statistics(name)).errors == 0


# --- clean-up that fails -----------------------------------------------------------------------


@ring_kernel()
async def untidy(ctx: KernelContext) -> None:
    """Do everything right, and fail to clean up."""
    try:
        async for job in ctx:
            await ctx.send(Note(job.number))
    finally:
        raise OSError("the disk is full")


@simulated
async def test_a_clean_up_that_fails_loses_nothing() -> None:
    async with open_kernels(untidy) as runtime:
        for number in range(5):
            await runtime.send("untidy", Job(number))
        await runtime.terminate("untidy")
        assert runtime.state("untidy") is KernelState.TERMINATED
        assert [note.value for note in await received(runtime, "untidy", 5)] == list(range(5))
        statistics = await runtime.statistics("untidy")
        assert (statistics.processed, statistics.errors, statistics.dropped) == (5, 1, {})


@simulated
async def test_a_kernel_that_has_nothing_left_to_do_is_not_started_to_end_again() -> None:
    async with open_kernels(untidy, restart="permanent") as runtime:
        await runtime.send("untidy", Job(1))
        await runtime.terminate("untidy")
        assert runtime.state("untidy") is KernelState.TERMINATED
        assert (await runtime.receive("untidy")).value == 1


# --- crashes while it ends ---------------------------------------------------------------------


@ring_kernel()
async def batching(ctx: KernelContext) -> None:
    """Take all that is there at once, and crash at some of it."""
    while batch := await ctx.receive_batch(100, within=0.0):
        for job in batch:
            seen.append(job.number)
        if any(job.text for job in batch):
            await trio.sleep(0.01)
            raise RuntimeError("crashed at a batch")


@pytest.mark.parametrize("backpressure", [BackpressureStrategy.BLOCK, DROP_OLDEST])
@simulated
async def test_what_is_left_after_a_crash_is_handled_before_the_end_however_much_it_is(
    backpressure: BackpressureStrategy,
) -> None:
    options: dict[str, Any] = sized(200, backpressure=backpressure)
    async with open_kernels(batching, restart="permanent", **options) as runtime:
        await runtime.deactivate("batching")
        for number in range(200):
            await runtime.send("batching", Job(number, "crash" if number == 0 else ""))
        await runtime.terminate("batching", timeout=20)
        assert (await runtime.statistics("batching")).dropped == {}
    assert sorted(seen) == list(range(200))


# --- ended by force ----------------------------------------------------------------------------


@ring_kernel()
async def slow(ctx: KernelContext) -> None:
    """Take a second for each job."""
    async for job in ctx:
        await trio.sleep(1)
        seen.append(job.number)


@simulated
async def test_what_was_processed_before_the_force_is_counted() -> None:
    async with open_kernels(slow) as runtime:
        for number in range(10):
            await runtime.send("slow", Job(number))
        await runtime.terminate("slow", timeout=5.5)
        statistics = await runtime.statistics("slow")
        assert seen == list(range(5))
        assert statistics.processed == 5
        assert accounted(statistics) == 9  # one was in hand


@simulated
async def test_a_drain_that_was_cut_short_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_kernels(slow) as runtime:
        for number in range(10):
            await runtime.send("slow", Job(number))
    assert (await runtime.statistics("slow")).dropped["terminated"] > 0
    assert any("slow" in record.getMessage() for record in caplog.records)


# --- replies -----------------------------------------------------------------------------------


@message
@dataclass
class Doubling:
    x: int

    def __post_init__(self) -> None:
        self.x *= 2


@message
@dataclass
class Scaled:
    x: int
    factor: InitVar[int]
    y: int = field(init=False)

    def __post_init__(self, factor: int) -> None:
        self.y = self.x * factor


@message
@dataclass
class Patch:
    """What is to be put in the place of what."""

    replace: str
    reply: str = ""


@ring_kernel()
async def replying(ctx: KernelContext) -> None:
    """Reply with messages of which each is special."""
    responses: dict[str, Any] = {
        "doubling": Doubling(2),
        "scaled": Scaled(2, 5),
        "patch": Patch("text"),
    }
    async for job in ctx:
        await ctx.reply(job, responses[job.text])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [("doubling", "x", 4), ("scaled", "y", 10), ("patch", "replace", "text")],
)
@simulated
async def test_a_reply_arrives_as_it_was_made(text: str, name: str, value: Any) -> None:
    async with open_kernels(replying) as runtime:
        response = await runtime.ask("replying", Job(text=text), timeout=1)
        assert getattr(response, name) == value


# --- several who take --------------------------------------------------------------------------


@ring_kernel()
async def shared(ctx: KernelContext) -> None:
    """Take jobs in three tasks."""

    async def work(number: int) -> None:
        async for job in ctx:
            await trio.sleep(0.01 * number)
            await ctx.reply(job, Note((job.number, number)))

    async with trio.open_nursery() as tasks:
        for number in range(3):
            tasks.start_soon(work, number)


@simulated
async def test_several_tasks_of_a_kernel_share_its_messages() -> None:
    replies: list[tuple[int, int]] = []

    async def ask(number: int) -> None:
        replies.append((await runtime.ask("shared", Job(number), timeout=5)).value)

    async with open_kernels(shared) as runtime:
        async with trio.open_nursery() as tasks:
            for number in range(20):
                tasks.start_soon(ask, number)
        assert sorted(number for number, _ in replies) == list(range(20))
        assert {who for _, who in replies} == {0, 1, 2}
        await runtime.terminate("shared")
        assert (await runtime.statistics("shared")).processed == 20


# --- runtimes inside runtimes ------------------------------------------------------------------


@ring_kernel()
async def boss(ctx: KernelContext) -> None:
    """Have a kernel of its own do the work."""
    async with RingKernelRuntime() as inner:
        await inner.launch("arriving", arriving)
        await inner.activate("arriving")
        async for job in ctx:
            note = await inner.ask("arriving", Job(job.number), timeout=1)
            await ctx.reply(job, Note(note.value, ctx.kernel_id))


@simulated
async def test_a_kernel_may_have_kernels_of_its_own() -> None:
    async with open_kernels(boss) as runtime:
        assert (await runtime.ask("boss", Job(3), timeout=5)).value == 3
        async with RingKernelRuntime() as another:
            await another.launch("boss", boss)
            await another.activate("boss")
            assert (await another.ask("boss", Job(4), timeout=5)).value == 4
    assert seen == [3, 4]
