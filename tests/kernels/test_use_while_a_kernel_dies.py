"""Between two lives of a kernel, whoever uses it notices nothing, or its death."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import kernel_functions as remote
import pytest
import trio
from kernel_functions import Job, Note
from kernel_helpers import SEED, open_kernels, received, sized

from actorsys import (
    ActorDied,
    ActorUnavailable,
    ChannelBroken,
    KernelContext,
    KernelState,
    RingKernelRuntime,
    ring_kernel,
)
from actorsys.testing.simulation import Simulation

COUNT = 50


@ring_kernel()
async def spreading(ctx: KernelContext) -> None:
    """Send each job to the kernel `silent`, all of them at the same time."""
    async with trio.open_nursery() as tasks:
        async for job in ctx:
            tasks.start_soon(ctx.send_to, "silent", Job(job.number))


@ring_kernel()
async def prolific(ctx: KernelContext) -> None:
    """Send as many notes as a job says, then wait for the next one."""
    async for job in ctx:
        for number in range(job.number):
            await ctx.send(Note(number))


def simulated_with_kills(test: Callable[[Simulation], Any]) -> Callable[[], None]:
    """Run a test that kills kernels of a simulation."""

    def run() -> None:
        simulation = Simulation(SEED)

        async def main() -> None:
            with trio.fail_after(1000):
                await test(simulation)

        simulation.run(main)

    run.__name__ = test.__name__
    return run


@simulated_with_kills
async def test_what_is_sent_meanwhile_waits_for_the_next_life(simulation: Simulation) -> None:
    async with open_kernels(remote.answer, restart="permanent") as runtime:
        await runtime.ask("answer", Job(), timeout=5)
        simulation.kill(runtime.portal("answer"))
        for number in range(COUNT):
            await runtime.send("answer", Job(number))
            await trio.lowlevel.checkpoint()
        replies = await received(runtime, "answer", COUNT)
        assert [note.value for note in replies] == list(range(COUNT))


@simulated_with_kills
async def test_what_is_sent_meanwhile_fails_with_the_death_if_it_is_the_last(
    simulation: Simulation,
) -> None:
    async with open_kernels(remote.answer) as runtime:
        await runtime.ask("answer", Job(), timeout=5)
        simulation.kill(runtime.portal("answer"))
        with pytest.raises(ActorDied):
            while True:
                await runtime.send("answer", Job())
                await trio.lowlevel.checkpoint()


@simulated_with_kills
async def test_who_asks_meanwhile_gets_the_reply_or_the_death(simulation: Simulation) -> None:
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        try:
            outcomes.append(type(await runtime.ask("answer", Job(number), timeout=5)).__name__)
        except ActorDied:
            outcomes.append("ActorDied")

    async with open_kernels(remote.answer, restart="permanent") as runtime:
        await runtime.ask("answer", Job(), timeout=5)
        simulation.kill(runtime.portal("answer"))
        async with trio.open_nursery() as tasks:
            for number in range(COUNT):
                tasks.start_soon(ask, number)
        assert len(outcomes) == COUNT
        assert set(outcomes) <= {"Note", "ActorDied"}


@simulated_with_kills
async def test_what_was_put_out_before_is_received_meanwhile(simulation: Simulation) -> None:
    async with open_kernels(prolific, restart="permanent", **sized(5, output_queue_size=2)) as rt:
        found: list[int] = []
        for _ in range(20):
            await rt.send("prolific", Job(2))
            await trio.sleep(0.1)
            simulation.kill(rt.portal("prolific"))
            await rt.send("prolific", Job(0))
            for _ in range(2):
                await trio.lowlevel.checkpoint()
                found.append((await rt.receive("prolific", timeout=5)).value)
            await trio.sleep(30)
        assert found == [0, 1] * 20


@simulated_with_kills
async def test_requests_of_a_dying_kernel_end_without_harm(simulation: Simulation) -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("silent", remote.silent, **sized(1))
        await runtime.launch("spreading", spreading, restart="permanent")
        await runtime.activate("spreading")
        for number in range(8):
            await runtime.send("spreading", Job(number))
        await trio.sleep(0.1)  # all but one of its requests wait for room
        simulation.kill(runtime.portal("spreading"))
        await runtime.terminate("silent", drain=False)
        await trio.sleep(30)
        assert runtime.state("spreading") is KernelState.ACTIVE


@pytest.mark.parametrize("verb", ["activate", "deactivate", "statistics", "terminate"])
def test_every_other_call_does_what_it_says_meanwhile(verb: str) -> None:
    simulation = Simulation(SEED)

    async def main() -> None:
        async with open_kernels(remote.answer, restart="permanent") as runtime:
            await runtime.ask("answer", Job(), timeout=5)
            if verb == "activate":
                await runtime.deactivate("answer")
            simulation.kill(runtime.portal("answer"))
            with contextlib.suppress(ChannelBroken):
                for _ in range(3):  # whoever writes first finds out
                    await runtime.send("answer", Job())
                    await trio.lowlevel.checkpoint()
            with contextlib.suppress(ActorUnavailable):
                await getattr(runtime, verb)("answer")

    simulation.run(main)
