"""Messages that carry buffers, or name them: the memory arrives, not a copy."""

from __future__ import annotations

import contextlib
import gc
import os
import signal

import numpy as np
import pytest
import trio

from actorsys import (
    Buffer,
    BufferLost,
    BufferReleased,
    KernelContext,
    KernelState,
    ReceiveTimeout,
    RingKernelRuntime,
    current_actor,
    get_memory_pool,
    message,
    open_buffer,
    resolve_buffer,
    ring_kernel,
)


@message
class Task:
    buffer: Buffer
    others: list[Buffer]
    name: str = ""


@message
class Done:
    buffer: Buffer
    total: float


@message
class Named:
    buffer_id: str
    size: int


@message
class Load:
    shape: tuple[int, ...]
    data: list[float]


@message
class Loaded:
    total: float
    reused: int


@ring_kernel()
async def adding(ctx: KernelContext) -> None:
    """Add one to what comes, in place; return a buffer of its own with the sum, and the sum."""
    async for task in ctx:
        if task.name == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        task.buffer.array()[:] += 1
        total = sum(float(buffer.array().sum()) for buffer in [task.buffer, *task.others])
        async with open_buffer(3, "f8") as own:
            own.array()[:] = total
            await ctx.reply(task, Done(own, total))
        del task


@ring_kernel()
async def resolving(ctx: KernelContext) -> None:
    """Look at what a message names."""
    async for named in ctx:
        with resolve_buffer(named.buffer_id).memoryview() as view:
            assert len(view) == named.size
            await ctx.reply(named, Load((1,), [float(view[0])]))


@ring_kernel()
async def buffering(ctx: KernelContext) -> None:
    """Work in a buffer of the pool, as the documents do; what has no data fails."""
    pool = get_memory_pool()
    async for load in ctx:
        buffer = pool.acquire(load.shape, dtype=np.float32)
        try:
            buffer.copy_from(load.data)
            await ctx.reply(load, Loaded(float(buffer.host.sum()), pool.statistics().reused))
        except ValueError:
            await ctx.reply(load, Loaded(-1.0, pool.statistics().in_use))
        finally:
            pool.release(buffer)


async def open_kernel(runtime: RingKernelRuntime, kernel: object, **options: str) -> None:
    name = kernel.__name__  # type: ignore[attr-defined]
    await runtime.launch(name, kernel, **options)  # type: ignore[arg-type]
    await runtime.activate(name)


async def send_back(value: object) -> object:
    return value


async def wait_nothing_lent() -> None:
    """Wait until nothing is used or lent in this actor; an error in flight may hold on to some."""
    with trio.fail_after(5):
        while any((found := current_actor().buffers.statistics())[:4]):
            print("not yet:", found)
            gc.collect()
            await trio.sleep(0.01)


async def test_a_buffer_in_a_field_arrives_as_the_same_memory() -> None:
    async with RingKernelRuntime() as runtime:
        await open_kernel(runtime, adding)
        async with open_buffer(4, "f8") as buffer, open_buffer(2, "f8") as other:
            other.array()[:] = 10
            done = await runtime.ask("adding", Task(buffer, [other, other]), timeout=5)
            assert buffer.array().tolist() == [1, 1, 1, 1]
            assert (done.total, done.buffer.array().tolist()) == (44, [44, 44, 44])
        await done.buffer.release()
        await wait_nothing_lent()


async def test_a_message_that_waits_keeps_its_buffers() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("adding", adding)
        for number in range(5):
            async with open_buffer(4, "f8") as buffer:
                buffer.array()[:] = number
                await runtime.send("adding", Task(buffer, []))
        await runtime.activate("adding")
        totals = [(await runtime.receive("adding", timeout=5)).total for _ in range(5)]
        assert totals == [4, 8, 12, 16, 20]
        await wait_nothing_lent()


async def test_a_crash_loses_no_buffer_of_what_was_not_taken() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("adding", adding, restart="permanent")
        for name in ("", "die", "", ""):
            async with open_buffer(4, "f8") as buffer:
                await runtime.send("adding", Task(buffer, [], name))
        await runtime.activate("adding")
        async with open_buffer(4, "f8") as buffer:
            await runtime.ask("adding", Task(buffer, []), timeout=5)
        # What was in the memory of the process that died may be lost with it.
        totals = []
        with contextlib.suppress(ReceiveTimeout):
            while True:
                with contextlib.suppress(BufferLost):
                    totals.append((await runtime.receive("adding", timeout=0)).total)
        assert totals in ([4, 4], [4, 4, 4])
        await wait_nothing_lent()


async def test_a_response_outlives_its_kernel_and_its_buffers_do_not() -> None:
    async with RingKernelRuntime() as runtime:
        await open_kernel(runtime, adding)
        async with open_buffer(4, "f8") as buffer:
            await runtime.send("adding", Task(buffer, []))
        await runtime.terminate("adding", timeout=5)
        assert runtime.state("adding") is KernelState.TERMINATED
        with pytest.raises(BufferLost):
            (await runtime.receive("adding")).buffer.array()
        await wait_nothing_lent()


async def test_what_is_dropped_lets_its_buffers_go() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("adding", adding)
        async with open_buffer(4, "f8") as buffer:
            await runtime.send("adding", Task(buffer, []))
        assert current_actor().buffers.statistics().own == 1
        await runtime.terminate("adding", drain=False)
        await wait_nothing_lent()


async def test_a_released_buffer_is_refused_where_it_is_sent() -> None:
    async with RingKernelRuntime() as runtime:
        await open_kernel(runtime, adding)
        async with open_buffer(4, "f8") as buffer:
            pass
        await trio.lowlevel.checkpoint()
        async with open_buffer(4, "f8") as sound:
            with pytest.raises(BufferReleased) as caught:
                await runtime.send("adding", Task(sound, [sound, buffer]))
        assert caught.value.__notes__ == [f"field 'others' of {__name__}:Task"]


async def test_a_call_names_the_argument_whose_buffer_is_released() -> None:
    async with RingKernelRuntime() as runtime:
        await open_kernel(runtime, adding)
        async with open_buffer(4, "f8") as buffer:
            pass
        await trio.lowlevel.checkpoint()
        with pytest.raises(BufferReleased) as caught:
            await runtime.portal("adding").run(send_back, buffer)
        assert "argument 1" in str(caught.value)


async def test_a_buffer_can_be_named_in_a_message() -> None:
    async with RingKernelRuntime() as runtime:
        await open_kernel(runtime, resolving)
        async with open_buffer(1 << 20, "u1") as buffer:
            buffer.array()[:] = 7
            found = await runtime.ask("resolving", Named(buffer.id, buffer.nbytes), timeout=5)
            assert found.data == [7.0]


async def test_a_kernel_works_in_memory_of_the_pool() -> None:
    async with RingKernelRuntime() as runtime:
        await open_kernel(runtime, buffering)
        for reused in range(3):
            loaded = await runtime.ask("buffering", Load((3,), [1, 2, 3]), timeout=5)
            assert (loaded.total, loaded.reused) == (6, 2 * reused)
            failed = await runtime.ask("buffering", Load((4, 4), [1]), timeout=5)
            assert (failed.total, failed.reused) == (-1, 1)
