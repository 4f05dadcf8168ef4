"""What actors do with buffers on a device that come by a topic, a pool or a route."""

from __future__ import annotations

from collections.abc import AsyncIterator

from device_helpers import COUNT, DEVICE, values

import actorsys
from actorsys import Buffer, RoutedMessage, Topic, open_buffer


async def add(buffer: Buffer) -> Buffer:
    """Queue an addition, and hand the buffer back before it is done."""
    array = buffer.array()
    array += 1.0
    return buffer


def add_in_thread(buffer: Buffer) -> Buffer:
    """Do as `add`; as a plain function it runs in a thread, where there is one for that."""
    array = buffer.array()
    array += 1.0
    return buffer


async def add_to_payload(message: RoutedMessage) -> Buffer:
    """Do as `add` with what a routed message carries."""
    return await add(message.payload)


@actorsys.context
async def look_at_all(ctx: actorsys.Context) -> None:
    """Tell which values are in what comes by the stream, as routed messages."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for message in stream:
            await stream.send(values(message.payload))
            message = None


async def publish(topic: str) -> None:
    """Publish a buffer with work queued on it, and let it go at once."""
    async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
        array = buffer.array()
        array += 7.0
        await Topic(topic).publish(buffer)


async def listen(topic: str, capacity: int) -> AsyncIterator[list[float]]:
    """Yield which values are in what is published; nothing first."""
    async with Topic(topic).subscribe(capacity=capacity) as subscription:
        yield []
        async for _, buffer in subscription:
            found = values(buffer)
            del buffer
            yield found


async def publish_often(topic: str, times: int) -> None:
    """Publish one buffer again and again, each time with one more addition queued on it."""
    async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
        for _ in range(times):
            array = buffer.array()
            array += 1.0
            await Topic(topic).publish(buffer)
            del array


async def listen_to_last(topic: str, times: int) -> AsyncIterator[list[float]]:
    """Yield nothing, then which values are in what is published as the last of so many."""
    async with Topic(topic).subscribe(capacity=times) as subscription:
        yield []
        kept = [(await subscription.receive()).value for _ in range(times)]
        yield values(kept[-1])
