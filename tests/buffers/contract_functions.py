"""What the actors of the contract of buffers do, whatever their buffers are made of."""

from __future__ import annotations

import gc
import os
import signal
from typing import Any

import msgpack
import trio

import actorsys
from actorsys import Buffer, current_actor, open_buffer, resolve_buffer
from actorsys.buffers.layout import Layout

kept: list[Any] = []


def new_buffer(count: int, device: str, value: float = 0.0) -> Buffer:
    """Return a buffer that nobody releases but the garbage collector."""
    buffer = current_actor().buffers.open(Layout(count, "f4"), device)
    if value:
        buffer.array()[:] = value
    return buffer


def total(buffer: Buffer) -> float:
    """Return the sum of what is in it by now."""
    return float(buffer.array().sum())


def values(buffer: Buffer) -> set[float]:
    """Return which values are in it."""
    array = buffer.array()
    found = array.get() if hasattr(array, "get") else array
    return {float(value) for value in found}


async def make(count: int, device: str, value: float) -> Buffer:
    return new_buffer(count, device, value)


async def make_kept(count: int, device: str, value: float) -> Buffer:
    kept.append(new_buffer(count, device, value))
    return kept[-1]


async def add(buffer: Buffer, value: float) -> Buffer:
    """Queue an addition, and hand the buffer back before it is done."""
    array = buffer.array()
    array += value
    return buffer


async def add_and_wait(buffer: Buffer, value: float) -> float:
    array = buffer.array()
    array += value
    return float(array.sum())


async def sum_of(buffer: Buffer) -> float:
    return total(buffer)


async def sums_of(buffers: list[Buffer]) -> list[float]:
    return [total(buffer) for buffer in buffers]


async def echo(buffer: Buffer) -> Buffer:
    return buffer


async def keep(buffer: Buffer) -> None:
    kept.append(buffer)


async def keep_array(buffer: Buffer) -> None:
    kept.append(buffer.array())


async def drop() -> None:
    kept.clear()


async def resolve_fault(buffer_id: str) -> str:
    try:
        resolve_buffer(buffer_id)
    except actorsys.BufferFault as error:
        return type(error).__name__
    return "none"


async def add_unfinished(buffer: Buffer, value: float) -> None:
    """Queue an addition, and let the buffer go before it is done."""
    array = buffer.array()
    array += value


async def add_and_release(buffer: Buffer, value: float) -> None:
    array = buffer.array()
    array += value
    del array
    await buffer.release()


async def statistics() -> dict[str, int]:
    gc.collect()
    return current_actor().buffers.statistics()._asdict()


async def device_use() -> list[Any]:
    """Return what this process has of the device: bytes of its own, slabs of others, faults."""
    from actorsys.cuda import find_gpu, find_runtime

    gc.collect()
    gpu = find_gpu("cuda:0")
    return [gpu.slab_bytes, gpu.import_count, getattr(find_runtime(), "broken", [])]


async def hang() -> None:
    await trio.sleep_forever()


async def die(step: str, buffer: Buffer) -> Any:
    """End by SIGKILL at some step of using *buffer*."""
    if step != "decoded":
        array = buffer.array()
        if step != "mapped":
            array += 1.0
            if step == "let go":
                del array
                await buffer.release()
            elif step == "answered":
                trio.lowlevel.spawn_system_task(_die_soon)
                return buffer
    os.kill(os.getpid(), signal.SIGKILL)
    return None


async def _die_soon() -> None:
    await trio.sleep(0)
    os.kill(os.getpid(), signal.SIGKILL)


@actorsys.context
async def relay(ctx: actorsys.Context, modules: list[str]) -> None:
    """Start an actor, and pass it on what comes, which goes back as it comes from there."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("last", modules=modules)
        await ctx.started()
        async with ctx.open_stream() as stream:
            async for buffer in stream:
                await stream.send(await portal.run(add, buffer, 1.0))
                buffer = None
        await nursery.cancel()


async def use_in_block(count: int, device: str) -> float:
    async with open_buffer(count, "f4", device=device) as buffer:
        buffer.array()[:] = 1.0
        return total(buffer)


async def device_name(buffer: Buffer) -> str:
    return buffer.device


async def lend_with_marks(count: int, device: str, marks: list[Any]) -> msgpack.ExtType:
    """Lend a buffer, and tell of its order whatever is said."""
    kept.append(new_buffer(count, device))
    parts = [int(part, 16) for part in kept[-1].id.split("-")]
    return msgpack.ExtType(32, msgpack.packb([1, *parts, *marks]))


async def twice(count: int, device: str) -> list[Buffer]:
    """Return a list that has one new buffer in two places."""
    return [new_buffer(count, device, 1.0)] * 2


def add_in_thread(buffer: Buffer, value: float) -> None:
    """Add in a thread, and wait there."""
    array = buffer.array()
    array += value
    array.sum()
