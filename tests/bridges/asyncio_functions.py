"""What the actors of the tests do in asyncio: well, badly, and for ever."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator

import journal
import trio

import actorsys


async def talk_over_tcp() -> str:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    async def talk() -> str:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return line.decode().strip()

    return await actorsys.to_asyncio(talk)


async def use_a_thread_a_queue_and_a_process() -> tuple[int, list[int], bytes]:
    async def work() -> tuple[int, list[int], bytes]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)

        async def fill() -> None:
            for i in range(5):
                await queue.put(i)

        async with asyncio.TaskGroup() as group:
            group.create_task(fill())
            items = [await queue.get() for _ in range(5)]
        ident = await asyncio.to_thread(threading.get_ident)
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
        said, _ = await process.communicate()
        return ident, items, said

    return await actorsys.to_asyncio(work)


async def count(stop: int) -> AsyncIterator[int]:
    """Yield in trio what asyncio makes."""
    for i in range(stop):
        yield await actorsys.to_asyncio(functools.partial(asyncio.sleep, 0, result=i))


async def names_on_both_sides() -> list[str]:
    async def name_in_trio() -> str:
        await trio.lowlevel.checkpoint()
        return actorsys.current_actor().name

    async def names() -> list[str]:
        return [actorsys.current_actor().name, await actorsys.to_trio(name_in_trio)]

    return await actorsys.to_asyncio(names)


async def fail(message: str) -> None:
    async def fail_in_asyncio() -> None:
        raise ValueError(message)

    await actorsys.to_asyncio(fail_in_asyncio)


async def kind_of_loop() -> tuple[str, int, bool]:
    async def look() -> tuple[str, int, bool]:
        in_main = threading.current_thread() is threading.main_thread()
        return type(asyncio.get_running_loop()).__module__, os.getpid(), in_main

    return await actorsys.to_asyncio(look)


async def note_end(path: str) -> None:
    async def work() -> None:
        journal.write(path, "started")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            journal.write(path, "ended")

    await actorsys.to_asyncio(work)


async def leave_a_task(path: str) -> None:
    """Start a task that outlives this call, and ends with the actor."""

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            journal.write(path, "ended")

    async def leave() -> None:
        _kept.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    await actorsys.to_asyncio(leave)


_kept: list[asyncio.Task[None]] = []


async def swallow(path: str) -> None:
    async def work() -> None:
        journal.write(path, "started")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    await actorsys.to_asyncio(work)


async def block(path: str) -> None:
    async def work() -> None:
        journal.write(path, "started")
        time.sleep(60)

    await actorsys.to_asyncio(work)


async def leave_a_block(path: str) -> None:
    """Return, while asyncio is stuck in a call that nobody waits for."""
    bridge = actorsys.current_actor().bridge
    assert bridge is not None
    bridge.call_soon(time.sleep, 60)
    journal.write(path, "started")
    await trio.sleep_forever()


async def block_a_thread(path: str) -> None:
    async def work() -> None:
        journal.write(path, "started")
        await asyncio.to_thread(time.sleep, 60)

    await actorsys.to_asyncio(work)


async def exit_beside(code: int) -> None:
    """Have another task of asyncio leave with SystemExit while this one waits."""

    async def leave() -> None:
        sys.exit(code)

    async def work() -> None:
        _kept.append(asyncio.create_task(leave()))
        await asyncio.Event().wait()

    await actorsys.to_asyncio(work)


async def lateness_beside_a_busy_loop(seconds: float) -> list[float]:
    """Return by how much each short sleep of trio was late while asyncio computed, sorted."""

    async def compute() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(100))

    late: list[float] = []
    async with trio.open_nursery() as tasks:
        tasks.start_soon(note_lateness, late)
        await actorsys.to_asyncio(compute)
        tasks.cancel_scope.cancel()
    return sorted(late)


async def note_lateness(late: list[float]) -> None:
    """Sleep again and again for a moment; note by how much each was longer, in seconds."""
    while True:
        wanted = trio.current_time() + 0.005
        await trio.sleep_until(wanted)
        late.append(trio.current_time() - wanted)


async def handle_a_signal() -> str:
    async def wait_for_it() -> str:
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await came.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        return "came"

    return await actorsys.to_asyncio(wait_for_it)


async def double_in_asyncio(n: int) -> int:
    async def double() -> int:
        await asyncio.sleep(0)
        return 2 * n

    return await actorsys.to_asyncio(double)
