"""A kernel, the messages it takes, and the jobs that are about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from actorsys import KernelContext, RingKernelRuntime, message, ring_kernel
from actorsys.kernels.mailbox import BackpressureStrategy, Mailbox

from .floor import BATCH, ORDER, PRIORITIES
from .timing import measure_microseconds, measure_rate


@message
@dataclass
class Ping:
    """What the kernel is sent."""

    value: int


@message
@dataclass
class Pong:
    """What it answers."""

    value: int


@message
@dataclass
class Order:
    """A message with five fields of its own; the floor's `ORDER` is the map that travels."""

    item: str
    count: int
    price: float
    is_urgent: bool
    tags: list[str]


@ring_kernel(kernel_id="echo")
async def echo_messages(ctx: KernelContext) -> None:
    """Answer every message."""
    async for ping in ctx:
        await ctx.send(Pong(ping.value, correlation_id=ping.message_id))


@asynccontextmanager
async def open_kernel() -> AsyncIterator[RingKernelRuntime]:
    """Open a runtime with the kernel in it, which is active."""
    async with RingKernelRuntime() as runtime:
        await runtime.launch("echo", echo_messages)
        await runtime.activate("echo")
        yield runtime


async def send_and_receive(seconds: float) -> float:
    """Return messages a second to a kernel, each after the response to the one before."""
    async with open_kernel() as runtime:

        async def trip() -> None:
            await runtime.send("echo", Ping(7))
            await runtime.receive("echo")

        return await measure_rate(trip, seconds)


async def ask(seconds: float) -> float:
    """Return requests a second to a kernel, one at a time."""
    async with open_kernel() as runtime:

        async def trip() -> None:
            await runtime.ask("echo", Ping(7))

        return await measure_rate(trip, seconds)


def make_order() -> Order:
    """Return a message that travels as `ORDER`, but for its id."""
    own = ("item", "count", "price", "is_urgent", "tags")
    return Order(*[ORDER[name] for name in own])


async def code_message(seconds: float) -> float:
    """Return how long a message takes to be made bytes and back, in microseconds."""
    order = make_order()

    async def code() -> None:
        for _ in range(BATCH):
            Order.deserialize(order.serialize())

    return await measure_microseconds(code, seconds, weight=BATCH)


async def pass_mailbox(seconds: float) -> float:
    """Return how long a long mailbox takes to let an item in and the best out, in microseconds."""
    mailbox: Mailbox[int] = Mailbox(
        len(PRIORITIES) + 1, BackpressureStrategy.BLOCK, lambda: None, lambda _: None
    )
    for priority in PRIORITIES:
        await mailbox.put(priority, priority)

    async def put_and_get() -> None:
        for priority in PRIORITIES[:BATCH]:
            await mailbox.put(priority, priority)
            mailbox.queue.pop()
            mailbox.make_room()

    return await measure_microseconds(put_and_get, seconds, weight=BATCH)
