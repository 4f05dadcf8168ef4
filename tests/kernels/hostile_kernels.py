"""Kernels whose process says what no honest one would."""

from __future__ import annotations

from typing import Any

import trio
from kernel_functions import CRASH, Note

from actorsys import KernelContext, current_actor, ring_kernel
from actorsys.kernels.packing import encode_message
from actorsys.kernels.wiring import ToRuntime


def say(ctx: KernelContext, item: Any) -> None:
    """Send *item* over the link of a kernel, whatever it is."""
    wiring = ctx._host.wiring
    assert wiring is not None
    flow = wiring._flow
    assert flow.send_frame_nowait(flow.encode(item))


@ring_kernel()
async def hostile(ctx: KernelContext) -> None:
    """Say what each job holds, and die if it says so; else go on."""
    async for job in ctx:
        for item in job.items:
            say(ctx, item)
            if job.seconds:
                await trio.sleep(job.seconds)
        if job.text == CRASH:
            current_actor().host.exit(1)


@ring_kernel()
async def flooding(ctx: KernelContext) -> None:
    """Send responses without end, room or no room."""
    data = encode_message(Note(bytes(1000)))
    for _ in range((await ctx.receive()).number):
        say(ctx, [ToRuntime.RESPONSE, None, data, 128, None])
        await trio.sleep(0.001)
    await trio.sleep_forever()


@ring_kernel()
async def meddling(ctx: KernelContext) -> None:
    """Answer a request that was put to another kernel."""
    async for job in ctx:
        reply = encode_message(Note("forged"))
        say(ctx, [ToRuntime.RESPONSE, None, reply, 128, job.items[0].bytes])
