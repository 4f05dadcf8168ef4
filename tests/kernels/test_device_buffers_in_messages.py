"""Buffers on a device in messages of kernels: who gets one works on it after who had it before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import device_kernels as remote
import pytest
import trio
from device_helpers import COUNT, DEVICE, MODULES, fake_device, values, wait_nothing_lent
from device_kernels import Make, Work
from kernel_helpers import outcome_of

from actorsys import (
    BackpressureStrategy,
    Buffer,
    BufferLost,
    MailboxFull,
    MailboxOptions,
    ReceiveTimeout,
    RingKernelRuntime,
    open_buffer,
)
from actorsys.testing.fake_cuda import FakeCuda

STARTS_PROCESSES = True


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with fake_device() as runtime:
        yield runtime


@asynccontextmanager
async def open_kernels(
    *active: Callable[..., Any], waiting: Callable[..., Any] | None = None, **options: Any
) -> AsyncIterator[RingKernelRuntime]:
    """Open kernels that use the device; *waiting* takes no messages yet, and has *options*."""

    async def launch(kernel: Callable[..., Any]) -> None:
        await runtime.launch(kernel.__name__, kernel, modules=modules_of(kernel))
        await runtime.activate(kernel.__name__)

    async with RingKernelRuntime() as runtime:
        async with trio.open_nursery() as tasks:
            for kernel in active:
                tasks.start_soon(launch, kernel)
            if waiting is not None:
                await runtime.launch(waiting.__name__, waiting, modules=MODULES, **options)
        yield runtime


async def wait_given_back(runtime: RingKernelRuntime, *names: str) -> None:
    """Wait until nothing is lent to anybody, while the kernels *names* are there."""

    async def wake() -> None:
        for name in names:
            await runtime.statistics(name)

    await wait_nothing_lent(wake)


def modules_of(kernel: Callable[..., Any]) -> list[str]:
    """Return what gives *kernel* the device; who only passes on what comes has none."""
    return [] if kernel is remote.passing else MODULES


# --- who comes first ---------------------------------------------------------------------------


async def test_what_is_sent_is_worked_on_after_the_sender(fake: FakeCuda) -> None:
    async with open_kernels(remote.looking) as runtime:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            for number in range(3):
                buffer.array()[:] = number
                assert (await runtime.ask("looking", Work(buffer))).values == [number]
        await wait_given_back(runtime, "looking")


async def test_what_comes_home_is_worked_on_after_the_kernel(fake: FakeCuda) -> None:
    async with open_kernels(remote.adding) as runtime:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            for number in range(3):
                worked = await runtime.ask("adding", Work(buffer))
                assert worked.buffer is buffer
                assert values(buffer) == [number + 1]
                del worked
        await wait_given_back(runtime, "adding")


async def test_who_passes_it_on_untouched_passes_the_order_on(fake: FakeCuda) -> None:
    async with open_kernels(remote.adding, remote.passing, remote.looking) as runtime:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            for number in range(3):
                array = buffer.array()
                array += 1.0
                worked = await runtime.ask("passing", Work(buffer, "adding"))
                assert worked.buffer is buffer
                found = await runtime.ask("passing", Work(buffer, "looking"))
                assert found.values == [2 * (number + 1)]
                del array, worked
        await wait_given_back(runtime, "adding", "passing", "looking")


@pytest.mark.parametrize("then", ["looking", "publish"])
async def test_one_kernel_gets_what_another_has_queued(fake: FakeCuda, then: str) -> None:
    async with open_kernels(remote.making, remote.looking) as runtime:
        runtime.subscribe("made", "looking")
        for _ in range(3):
            await runtime.send("making", Make(then))
            assert (await runtime.receive("looking", timeout=5)).values == [7]
        await wait_given_back(runtime, "making", "looking")


async def test_work_of_any_stream_of_the_sender_comes_first(fake: FakeCuda) -> None:
    """What is current when a message leaves its mailbox is not what was when it was sent."""
    async with open_kernels(waiting=remote.looking) as runtime:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            with fake.stream():
                buffer.array()[:] = 5.0
                await runtime.send("looking", Work(buffer))
            await runtime.activate("looking")
            assert (await runtime.receive("looking", timeout=5)).values == [5]
        await wait_given_back(runtime, "looking")


# --- messages that wait ------------------------------------------------------------------------


async def test_what_waits_is_good_when_the_sender_has_let_it_go(fake: FakeCuda) -> None:
    async with open_kernels(waiting=remote.looking) as runtime:
        for number in range(40):  # more than the kernel has at hand
            async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                buffer.array()[:] = number
                await runtime.send("looking", Work(buffer))
        await runtime.activate("looking")
        for number in range(40):
            assert (await runtime.receive("looking", timeout=5)).values == [number]
        del buffer
        await wait_given_back(runtime, "looking")


async def test_after_a_crash_what_is_given_again_is_as_it_was_sent(fake: FakeCuda) -> None:
    async with open_kernels(waiting=remote.looking, restart="permanent") as runtime:
        for then in ("", "die", "", ""):
            async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                buffer.array()[:] = 3.0
                await runtime.send("looking", Work(buffer, then))
        await runtime.activate("looking")
        for _ in range(3):
            assert (await runtime.receive("looking", timeout=5)).values == [3]
        del buffer
        await wait_given_back(runtime, "looking")


@pytest.mark.parametrize(
    "strategy",
    [
        BackpressureStrategy.REJECT,
        BackpressureStrategy.DROP_OLDEST,
        BackpressureStrategy.DROP_NEW,
        BackpressureStrategy.BLOCK,
    ],
)
async def test_what_is_not_taken_lets_its_buffers_go(
    fake: FakeCuda, strategy: BackpressureStrategy
) -> None:
    options = MailboxOptions(1, strategy)
    async with open_kernels(waiting=remote.looking, mailbox=options) as runtime:
        for _ in range(3):
            async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                buffer.array()[:] = 1.0
                with trio.move_on_after(0.01):
                    try:
                        await runtime.send("looking", Work(buffer))
                    except MailboxFull:
                        assert strategy is BackpressureStrategy.REJECT
        await runtime.terminate("looking", drain=False)
        del buffer
        await wait_nothing_lent()


async def test_responses_that_nobody_receives_let_their_buffers_go(fake: FakeCuda) -> None:
    async with open_kernels(remote.making) as runtime:
        for _ in range(2):
            await runtime.send("making", Make(""))
        worked = await runtime.receive("making", timeout=5)
        assert values(worked.buffer) == [7]
        await worked.buffer.release()


async def test_a_reply_that_comes_too_late_lets_its_buffer_go(fake: FakeCuda) -> None:
    async with open_kernels(waiting=remote.adding) as runtime:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            with pytest.raises(ReceiveTimeout):
                await runtime.ask("adding", Work(buffer), timeout=0.01)
        del buffer
        await runtime.activate("adding")
        await wait_given_back(runtime, "adding")


async def test_a_buffer_in_several_messages_is_good_until_the_last_has_arrived(
    fake: FakeCuda,
) -> None:
    async with open_kernels(waiting=remote.adding) as runtime:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            for _ in range(3):
                await runtime.send("adding", Work(buffer))
        del buffer
        await runtime.activate("adding")
        worked = [await runtime.receive("adding", timeout=5) for _ in range(3)]
        assert values(worked[-1].buffer) == [3]
        worked.clear()
        await wait_given_back(runtime, "adding")


# --- buffers that are lost ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "backpressure", [BackpressureStrategy.BLOCK, BackpressureStrategy.DROP_OLDEST]
)
async def test_a_buffer_that_is_lost_while_it_waits_costs_its_message_and_nothing_else(
    backpressure: BackpressureStrategy,
) -> None:
    mailbox = MailboxOptions(backpressure=backpressure)
    async with open_kernels(remote.making, waiting=remote.looking, mailbox=mailbox) as runtime:
        await runtime.send("making", Make("looking", "cpu"))
        await runtime.send("making", Make("", "cpu"))
        lost = (await runtime.receive("making", timeout=5)).buffer
        await runtime.send("making", Make("die"))
        await wait_lost(lost)
        told = await outcome_of(runtime.activate, "looking")
        async with open_buffer(COUNT, "f4") as sound:
            found = await runtime.ask("looking", Work(sound), timeout=5)
        dropped = (await runtime.statistics("looking")).dropped
        await runtime.terminate("looking", drain=False)
        assert (told, found.values, dropped) == (None, [0], {"unreadable": 1})


async def wait_lost(buffer: Buffer) -> None:
    """Wait until the end of the process that *buffer* belongs to is known here."""
    with trio.fail_after(5):
        while True:
            try:
                buffer.array()
            except BufferLost:
                return
            await trio.sleep(0.001)
