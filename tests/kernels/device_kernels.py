"""Kernels that work on a device, or only pass on what is there."""

from __future__ import annotations

import os
import signal

from device_helpers import COUNT, DEVICE, values

from actorsys import Buffer, KernelContext, message, open_buffer, ring_kernel


@message
class Work:
    """A buffer, and what to do with it."""

    buffer: Buffer
    then: str = ""


@message
class Make:
    """Where to send a buffer of one's own."""

    then: str
    device: str = DEVICE


@message
class Worked:
    """What came out of it."""

    buffer: Buffer


@message
class Found:
    """Which values are in a buffer."""

    values: list[float]


@ring_kernel()
async def adding(ctx: KernelContext) -> None:
    """Queue an addition, and hand the buffer back before it is done."""
    async for work in ctx:
        array = work.buffer.array()
        array += 1.0
        await ctx.reply(work, Worked(work.buffer))
        del work, array


@ring_kernel()
async def looking(ctx: KernelContext) -> None:
    """Tell which values are there; what says so kills."""
    async for work in ctx:
        if work.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        await ctx.reply(work, Found(values(work.buffer)))
        del work


@ring_kernel()
async def passing(ctx: KernelContext) -> None:
    """Pass on what comes to another kernel, and hand out what that answers; touch nothing."""
    async for work in ctx:
        answer = await ctx.ask(work.then, Work(work.buffer))
        await ctx.reply(work, answer)
        del work, answer


@ring_kernel()
async def making(ctx: KernelContext) -> None:
    """Fill a buffer of its own, send it on, and let it go before that is done."""
    async for make in ctx:
        if make.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        async with open_buffer(COUNT, "f4", device=make.device) as own:
            array = own.array()
            array += 7.0
            if make.then == "publish":
                await ctx.publish("made", Work(own))
            elif make.then:
                await ctx.send_to(make.then, Work(own))
            else:
                await ctx.send(Worked(own))
            del array
