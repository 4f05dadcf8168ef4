"""Functions that the tests of buffers call in other processes, and what those keep."""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import resource
import signal
import struct
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import trio

import actorsys
from actorsys import Buffer, current_actor, open_buffer, resolve_buffer
from actorsys.buffers.layout import Layout
from actorsys.buffers.leases import Ledger

_LINK = "/memfd:actorsys"

kept: list[Any] = []


@dataclass
class Parcel:
    """A dataclass with something large in it."""

    name: str
    content: Any
    more: Any = None


actorsys.register_type(Parcel)


# --- what a process holds ---------------------------------------------------------------------


def shared_fds() -> list[int]:
    """Return the descriptors of shared memory that this process has."""
    return [int(name) for name in os.listdir("/proc/self/fd") if _is_shared(name)]


def _is_shared(name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith(_LINK)
    except FileNotFoundError:
        return False  # that of the listing itself


def shared_mappings() -> int:
    """Return how many pieces of shared memory this process has mapped."""
    with open("/proc/self/maps") as maps:
        return sum(_LINK in line for line in maps)


def statistics() -> dict[str, int]:
    """Return what the buffers of this actor do, and what this process holds for them."""
    found = current_actor().buffers.statistics()._asdict()
    return {**found, "fds": len(shared_fds()), "maps": shared_mappings()}


async def look() -> dict[str, int]:
    """Return the statistics once all garbage is gone."""
    gc.collect()
    return statistics()


async def look_at_once() -> dict[str, int]:
    """Return the statistics, garbage included."""
    return statistics()


async def empty_pools() -> None:
    """Give up the memory that rests until there are further buffers."""
    store = current_actor().buffers
    for pool in (store.pool, store._array_pool):
        pool.close()
        pool._is_closed = False


# --- buffers ----------------------------------------------------------------------------------


def new_buffer(shape: Any = 1000, dtype: Any = "f8") -> Buffer:
    """Return a buffer that nobody releases but the garbage collector."""
    return current_actor().buffers.open(Layout(shape, dtype))


async def make(count: int, value: float) -> Buffer:
    buffer = new_buffer(count)
    buffer.array()[:] = value
    return buffer


async def make_in_a_block(count: int, value: float) -> Buffer:
    async with actorsys.open_buffer(count, "f8") as buffer:
        buffer.array()[:] = value
        return buffer


async def release_and_return(count: int) -> Buffer:
    buffer = new_buffer(count)
    await buffer.release()
    return buffer


async def make_kept(count: int, value: float) -> Buffer:
    buffer = await make(count, value)
    kept.append(buffer)
    return buffer


async def make_frozen(count: int, value: float) -> Buffer:
    buffer = await make(count, value)
    buffer.freeze()
    return buffer


async def make_with_block(count: int, value: float) -> Buffer:
    async with open_buffer(count, "f8") as buffer:
        buffer.array()[:] = value
        return buffer


async def release_early(count: int) -> Buffer:
    async with open_buffer(count, "f8") as buffer:
        pass
    return buffer


async def add(buffer: Buffer, value: float) -> float:
    array = buffer.array()
    array += value
    return float(array.sum())


def total_in_thread(buffer: Buffer) -> float:
    return float(buffer.array().sum())


def total_by_id_in_thread(buffer_id: str) -> float:
    return float(resolve_buffer(buffer_id).array().sum())


async def total(thing: Any) -> float:
    return float(_array_of(thing).sum())


def _array_of(thing: Any) -> Any:
    return thing.array() if isinstance(thing, Buffer) else thing


async def echo(value: Any) -> Any:
    return value


async def keep(*values: Any) -> None:
    kept.extend(values)


async def keep_at(name: str, value: Any) -> None:
    """Have another actor of the tree keep a value."""
    async with actorsys.find_actor(name) as portal:
        assert portal is not None
        await portal.run(keep, value)


async def keep_views() -> None:
    """Keep views of the buffers that are kept, and not the buffers."""
    kept[:] = [value.array()[::2] for value in kept]


async def drop() -> None:
    kept.clear()


async def kept_totals() -> list[float]:
    return [float(_array_of(value).sum()) for value in kept]


async def give_kept(index: int = 0) -> Any:
    return kept[index]


async def kept_fault() -> str | None:
    """Return why the first buffer that is kept cannot be used, if it cannot."""
    try:
        kept[0].array()
    except actorsys.BufferFault as error:
        return type(error).__name__
    return None


async def wait_kept_fault() -> str:
    """Return why the first buffer that is kept cannot be used; wait until it cannot."""
    while (fault := await kept_fault()) is None:
        await trio.sleep(0.001)
    return fault


async def release_kept() -> None:
    for value in kept:
        await value.release()


async def resolve(buffer_id: str, value: float) -> float:
    return await add(resolve_buffer(buffer_id), value)


async def resolve_and_keep(buffer_id: str) -> None:
    kept.append(resolve_buffer(buffer_id))
    kept[-1].array()


async def resolve_fault(buffer_id: str) -> str:
    try:
        resolve_buffer(buffer_id)
    except Exception as error:
        return type(error).__name__
    return "none"


async def fail_with(value: Any) -> None:
    copy = _array_of(value)
    raise ValueError(f"no good: {copy.shape}")


async def raise_with(value: Any) -> None:
    raise RuntimeError("see args", value)


async def unsendable(value: Any) -> Any:
    return [value, object()]


async def wait_with(value: Any) -> None:
    array = _array_of(value)
    try:
        await trio.sleep_forever()
    finally:
        del array


async def try_to_freeze(buffer: Buffer) -> str:
    try:
        buffer.freeze()
    except actorsys.BufferFault as error:
        return type(error).__name__
    return "frozen"


async def try_to_write(buffer: Buffer) -> str:
    try:
        buffer.array()[:] = 1
    except ValueError as error:
        return str(error)
    return "written"


def open_file_of(buffer: Buffer) -> int:
    """Open the file behind *buffer* as a process that keeps to no rules would."""
    pid, fd, _, _ = (int(part, 16) for part in buffer.id.split("-"))
    return os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR)


async def write_by_force(buffer: Buffer) -> str:
    """Map a buffer to write to it, whatever its owner wants."""
    try:
        fd = open_file_of(buffer)
    except PermissionError:
        return "refused to open it"
    try:
        mmap.mmap(fd, 8192, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    except PermissionError:
        return "refused to map it"
    finally:
        os.close(fd)
    return "mapped"


# --- arrays -----------------------------------------------------------------------------------


async def ones(count: int) -> Any:
    return np.ones(count)


async def describe(array: Any) -> list[Any]:
    flags = array.flags
    return [array.dtype.str, list(array.shape), flags.writeable, bool(flags.f_contiguous)]


async def count_arrays(stop: int, size: int) -> AsyncIterator[Any]:
    for i in range(stop):
        yield np.full(size, i, "f8")


async def count_buffers(stop: int, size: int) -> AsyncIterator[Any]:
    for i in range(stop):
        yield await make(size, i)


@actorsys.context
async def parrot(ctx: actorsys.Context, value: Any) -> Any:
    await ctx.started(value)
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return value


@actorsys.context
async def read_slowly(ctx: actorsys.Context) -> int:
    """Read nothing until the stream has something small."""
    await ctx.started()
    count = 0
    async with ctx.open_stream() as stream:
        async for _ in stream:
            count += 1
    return count


# --- children of their own ---------------------------------------------------------------------


@actorsys.context
async def relay(ctx: actorsys.Context) -> None:
    """Start an actor and hand on to it what comes; what it says comes back."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("grandchild", modules=[__name__])
        await ctx.started(portal.pid)
        async with ctx.open_stream() as stream:
            async for name, args in stream:
                await stream.send(await portal.run(globals()[name], *args))
                args = None
        await nursery.cancel()


# --- ends -------------------------------------------------------------------------------------


async def hang() -> None:
    await trio.sleep_forever()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def die(step: str, buffer: Any) -> Any:
    """End by SIGKILL at some step of using *buffer*."""
    if step == "decoded":
        _die()
    array = buffer.array()
    if step == "mapped":
        _die()
    array[: len(array) // 2] = -1
    if step == "written":
        _die()
    view = array[::2]
    del array
    if step == "released":
        await buffer.release()
        _die()
    if step == "let go":
        del view
        await buffer.release()
        await trio.sleep(0)
        _die()
    if step == "answered":
        trio.lowlevel.spawn_system_task(_die_soon)
        return buffer
    raise ValueError(step)


async def _die_soon() -> None:
    await trio.sleep(0)
    _die()


@actorsys.context
async def work(ctx: actorsys.Context) -> None:
    """Take buffers, check what is in them, keep some for a while; say what was wrong."""
    await ctx.started()
    held: list[Any] = []
    async with ctx.open_stream() as stream:
        async for buffer, value, is_kept in stream:
            array = buffer.array()
            wrong = int((array != value).sum()) + sum(int((a != v).sum()) for a, v in held)
            if is_kept:
                held.append((array[1:], value))
                del held[:-3]
            buffer = array = None
            await stream.send(wrong)


# --- no honest actor ----------------------------------------------------------------------------


async def turn() -> None:
    """Become a process that keeps no books: it takes whatever is said about its leases."""
    Ledger.on_note = lambda self, note: None  # type: ignore[method-assign]
    Ledger.wait_accepted = _checkpoint  # type: ignore[method-assign, assignment]


async def _checkpoint(ledger: Ledger) -> None:
    await trio.lowlevel.checkpoint()


async def keep_without_books(buffer: Buffer) -> None:
    """Keep a buffer, and tell nobody of it from here on."""
    Ledger.end_tick = lambda self: None  # type: ignore[method-assign]
    kept.append(buffer)


async def say(code: int, data: bytes) -> msgpack.ExtType:
    """Say something that only the wire knows."""
    return msgpack.ExtType(code, data)


async def note(accepted: Any, released: Any) -> None:
    """Send a note, whatever it is."""
    (channel,) = current_actor().channels
    channel.send_runtime_call("buffers", {"accepted": accepted, "released": released})


def packed_name(buffer: Buffer, number: Any = 1) -> bytes:
    """Return how a buffer is told of on the wire."""
    parts = [int(part, 16) for part in buffer.id.split("-")]
    return bytes(msgpack.packb([number, *parts]))


async def lend_unasked(code: int, count: int, shape: int = 10) -> list[Any]:
    """Lend buffers without keeping books."""
    fresh = [new_buffer(shape) for _ in range(count)]
    kept.extend(fresh)
    return [msgpack.ExtType(code, packed_name(buffer)) for buffer in fresh]


async def lend_numbered(code: int, number_bytes: int) -> Any:
    """Lend a buffer under a number of many digits."""
    number = msgpack.ExtType(5, b"\x7f" * number_bytes)
    kept.append(new_buffer(10))
    return msgpack.ExtType(code, packed_name(kept[-1], number))


async def lend_sealed(code: int) -> Any:
    """Lend a buffer that nobody can map to write to it, and that does not look frozen."""
    kept.append(new_buffer(10))
    _seal(int(kept[-1].id.split("-")[1], 16))
    return msgpack.ExtType(code, packed_name(kept[-1]))


async def lend_described(code: int, about: bytes) -> Any:
    """Lend a buffer that *about*, on its page, says what it is."""
    kept.append(new_buffer(10))
    _, fd, _, generation = (int(part, 16) for part in kept[-1].id.split("-"))
    head = generation.to_bytes(8, "little") + len(about).to_bytes(4, "little")
    os.pwrite(fd, head + about, 0)
    return msgpack.ExtType(code, packed_name(kept[-1]))


async def seal_against_writing(buffer: Buffer) -> None:
    """Let nobody, its owner included, write to the file of a borrowed buffer by a call."""
    buffer.array()
    fd = open_file_of(buffer)
    _seal(fd)
    os.close(fd)


def _seal(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE


async def lock_alone(buffer: Buffer) -> None:
    """Let a borrowed buffer go, and lock it alone, against everybody."""
    fd = open_file_of(buffer)
    await buffer.release()
    flock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, flock)
    kept.append(fd)


async def close_kept() -> None:
    while kept:
        os.close(kept.pop())


async def name_by_thread() -> str:
    """Return a name of a buffer that has one of our threads where our pid should stand."""
    kept.append(new_buffer(10))
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return "-".join([f"{thread.native_id:x}", *kept[-1].id.split("-")[1:]])


async def lend_by_thread(code: int) -> Any:
    """Lend a buffer under such a name."""
    parts = [int(part, 16) for part in (await name_by_thread()).split("-")]
    return msgpack.ExtType(code, msgpack.packb([1, *parts]))


@actorsys.context
async def ignore_stream(ctx: actorsys.Context) -> None:
    """Open a stream, and never read it."""
    await ctx.started()
    async with ctx.open_stream():
        await trio.sleep_forever()


async def make_for_a_full_outbox(count: int) -> Buffer:
    """Return a buffer while more is queued for the caller than he reads."""
    from actorsys.channel.outbox import Outbox

    is_full, wait_room = Outbox.is_full, Outbox.wait_room

    async def wait_for_ever(outbox: Outbox) -> None:
        try:
            await trio.sleep_forever()
        finally:
            Outbox.is_full = is_full  # type: ignore[method-assign]
            Outbox.wait_room = wait_room  # type: ignore[method-assign]

    Outbox.is_full = property(lambda outbox: True)  # type: ignore[method-assign, assignment]
    Outbox.wait_room = wait_for_ever  # type: ignore[method-assign, assignment]
    return await make(count, 1.0)


def look_in_thread() -> dict[str, int]:
    """Return the statistics, from a thread, with something left to be done."""
    for _ in range(10):
        new_buffer(10)
    return statistics()


async def limit_descriptors(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


async def open_a_file() -> str:
    with open("/dev/null") as file:
        return file.name
