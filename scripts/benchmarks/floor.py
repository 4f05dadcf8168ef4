"""The floor: bare trio TCP and msgpack, two processes, one task each.

As fast as one writes it without any machinery: one dict out, one dict back, no routing, no flow
control, no cancellation. trio sets TCP_NODELAY by itself.
"""

from __future__ import annotations

import heapq
import itertools
import multiprocessing
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgpack
import trio

from .side import Job, serve_jobs
from .sizes import ECHOED_SIZES, MIB, SENT_SIZES, SHARED_SIZE
from .timing import measure_duration, measure_microseconds, measure_rate

BARE_PROGRAM = "import trio, msgpack"
STREAM_ITEMS = 16384  # 20 to 500 ms of work: the one request for them does not count
ITEMS_A_WRITE = 64
HELD_PROCESSES = 4
MAP_WORKERS = 2
MAPPED_ITEMS = 1_000
ROUTES = 4
BATCH = 1_000  # of what takes a microsecond, so that the clock is not what is measured

ORDER: dict[str, Any] = {
    "item": "a dozen pencils",
    "count": 7,
    "price": 3.5,
    "is_urgent": True,
    "tags": ["paper", "office"],
    "message_id": bytes(range(16)),
    "priority": 128,
    "correlation_id": None,
    "@": "scripts.benchmarks.kernels:Order",
}
"""A message with five fields of its own, as it travels."""

PRIORITIES = [number * 101 % 256 for number in range(10_000)]
"""Those of the messages in a long queue: all levels, in no order."""

pack = msgpack.Packer().pack


class Connection:
    """One end of the socket: whole messages in and out."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._receive_some = stream.receive_some
        self._unpacker = msgpack.Unpacker(max_buffer_size=0)  # as large as it gets
        self.send_all = stream.send_all

    async def receive(self) -> Any:
        """Return the next message, the only one that is under way.

        Raises:
          EOFError: the other end has closed the connection.
        """
        unpacker = self._unpacker
        while True:
            data = await self._receive_some()
            if not data:
                raise EOFError
            unpacker.feed(data)
            for message in unpacker:
                return message

    async def receive_items(self, count: int) -> None:
        """Receive *count* items, and look at each."""
        unpacker = self._unpacker
        while count:
            data = await self._receive_some()
            if not data:
                raise EOFError
            unpacker.feed(data)
            for message in unpacker:
                message["yield"]
                count -= 1


# --- the process that answers ------------------------------------------------------------


async def answer_calls(connection: Connection) -> None:
    """Send every argument back."""
    while True:
        message = await connection.receive()
        await connection.send_all(pack({"cid": message["cid"], "return": message["args"][0]}))


async def answer_arrays(connection: Connection) -> None:
    """Send every array back."""
    from numpy import frombuffer

    while True:
        message = await connection.receive()
        array = frombuffer(message["data"], message["dtype"])
        await connection.send_all(
            pack({"cid": message["cid"], "dtype": array.dtype.str, "data": array.data})
        )


async def answer_touches(connection: Connection) -> None:
    """Send the first byte of every array back."""
    from numpy import frombuffer

    while True:
        message = await connection.receive()
        array = frombuffer(message["data"], message["dtype"])
        await connection.send_all(pack({"cid": message["cid"], "return": int(array[0])}))


async def answer_streams(connection: Connection, items_a_write: int) -> None:
    """Send as many items as each request asks for."""
    while True:
        message = await connection.receive()
        cid = message["cid"]
        for first in range(0, message["args"][0], items_a_write):
            items = range(first, first + items_a_write)
            await connection.send_all(b"".join([pack({"cid": cid, "yield": i}) for i in items]))


ANSWERS: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "calls": answer_calls,
    "arrays": answer_arrays,
    "touches": answer_touches,
    "single items": partial(answer_streams, items_a_write=1),
    "joined items": partial(answer_streams, items_a_write=ITEMS_A_WRITE),
}


async def answer(stream: trio.SocketStream) -> None:
    """Serve a connection; its first message, which is sent back, says how."""
    connection = Connection(stream)
    try:
        name = await connection.receive()
        await connection.send_all(pack(name))
        await ANSWERS[name](connection)
    except (EOFError, trio.BrokenResourceError):
        return


async def be_answering_process() -> None:
    """Print a port and serve what connects to it."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(answer, listeners)


# --- the process that asks ---------------------------------------------------------------


class Floor:
    """The jobs of this side; each opens a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    @asynccontextmanager
    async def _connect(self, answers: str) -> AsyncIterator[Connection]:
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            connection = Connection(stream)
            await connection.send_all(pack(answers))
            await connection.receive()
            yield connection

    async def calls(self, seconds: float) -> float:
        """Return calls a second, one at a time."""
        return await self._measure_echo(7, seconds)

    async def echo_bytes(self, seconds: float) -> float:
        """Return round trips of 1 MiB of bytes, in MiB/s."""
        return await self._measure_echo(bytes(MIB), seconds)

    async def _measure_echo(self, value: object, seconds: float) -> float:
        async with self._connect("calls") as connection:

            async def call() -> Any:
                await connection.send_all(pack({"cid": 1, "call": "echo", "args": [value]}))
                return (await connection.receive())["return"]

            return await measure_rate(call, seconds)

    async def echo_array(self, seconds: float, nbytes: int = MIB) -> float:
        """Return round trips of an array, in MiB/s."""
        from numpy import frombuffer, ones

        array = ones(nbytes // 8)
        async with self._connect("arrays") as connection:

            async def call() -> Any:
                await connection.send_all(
                    pack({"cid": 1, "call": "echo", "dtype": array.dtype.str, "data": array.data})
                )
                reply = await connection.receive()
                return frombuffer(reply["data"], reply["dtype"])

            return await measure_rate(call, seconds, weight=nbytes / MIB)

    async def touch(self, seconds: float, nbytes: int) -> float:
        """Return how long an array takes to be there and looked at, in microseconds."""
        return 1e6 / await self.touches(seconds, nbytes)

    async def touches(self, seconds: float, nbytes: int) -> float:
        """Return how many arrays a second are there and looked at, one at a time."""
        from numpy import ones

        array = ones(nbytes, "u1")
        async with self._connect("touches") as connection:

            async def call() -> Any:
                await connection.send_all(
                    pack({"cid": 1, "call": "touch", "dtype": array.dtype.str, "data": array.data})
                )
                return (await connection.receive())["return"]

            return await measure_rate(call, seconds)

    async def stream_singles(self, seconds: float) -> float:
        """Return items a second, a write for each."""
        return await self._measure_stream("single items", seconds)

    async def stream_joined(self, seconds: float) -> float:
        """Return items a second, many in one write."""
        return await self._measure_stream("joined items", seconds)

    async def _measure_stream(self, answers: str, seconds: float) -> float:
        async with self._connect(answers) as connection:

            async def stream() -> None:
                request = {"cid": 1, "call": "count", "args": [STREAM_ITEMS]}
                await connection.send_all(pack(request))
                await connection.receive_items(STREAM_ITEMS)

            return await measure_rate(stream, seconds, weight=STREAM_ITEMS)


async def code_map(seconds: float) -> float:
    """Return how long a map takes to be made bytes and back, in microseconds."""

    async def code() -> None:
        for _ in range(BATCH):
            msgpack.unpackb(pack(ORDER))

    return await measure_microseconds(code, seconds, weight=BATCH)


async def pass_heap(seconds: float) -> float:
    """Return how long a long heap takes to let an item in and the best out, in microseconds."""
    numbers = itertools.count()
    heap = [(-priority, next(numbers), priority) for priority in PRIORITIES]
    heapq.heapify(heap)

    async def push_and_pop() -> None:
        for priority in PRIORITIES[:BATCH]:
            heapq.heappush(heap, (-priority, next(numbers), priority))
            heapq.heappop(heap)

    return await measure_microseconds(push_and_pop, seconds, weight=BATCH)


async def pass_channels(seconds: float) -> float:
    """Return messages a second through a few memory channels, each with a task that reads it."""
    left = trio.Event()
    count = 0

    async def read(receiver: trio.MemoryReceiveChannel[int]) -> None:
        nonlocal count
        async for _ in receiver:
            count += 1
            if count == BATCH:
                left.set()

    async with trio.open_nursery() as tasks:
        senders = []
        for _ in range(ROUTES):
            sender, receiver = trio.open_memory_channel[int](BATCH)
            senders.append(sender)
            tasks.start_soon(read, receiver)

        async def send() -> None:
            nonlocal left, count
            left, count = trio.Event(), 0
            for number in range(BATCH):
                await senders[number % ROUTES].send(number)
            await left.wait()

        rate = await measure_rate(send, seconds, weight=BATCH)
        tasks.cancel_scope.cancel()
    return rate


def give_back(value: Any) -> Any:
    """Return the argument."""
    return value


async def map_items(seconds: float) -> float:
    """Return calls a second of a map with processes, each item on its own."""
    # Not forked, as the actors are not: this process has a loop and threads.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(MAP_WORKERS, mp_context=spawn) as executor:

        async def map_them() -> None:
            for _ in executor.map(give_back, range(MAPPED_ITEMS), chunksize=1):
                pass

        await map_them()  # the processes start with the first calls
        return await measure_rate(map_them, seconds, weight=MAPPED_ITEMS)


async def start_one(seconds: float) -> float:
    """Return how long a Python process takes that only imports trio and msgpack."""
    return await measure_duration(run_bare_program, seconds)


async def start_eight(seconds: float) -> float:
    """Return how long eight of them take at the same time."""

    async def start() -> None:
        async with trio.open_nursery() as tasks:
            for _ in range(8):
                tasks.start_soon(run_bare_program)

    return await measure_duration(start, seconds)


async def run_bare_program() -> None:
    """Run a Python process that only imports trio and msgpack."""
    await trio.run_process([sys.executable, "-c", BARE_PROGRAM])


class BareProcesses:
    """Processes that have imported trio and msgpack and wait for their stdin to end."""

    def __init__(self) -> None:
        self._held: list[subprocess.Popen[bytes]] = []

    async def hold(self, seconds: float) -> list[int]:
        """Start them; return their pids once they wait."""
        program = f"{BARE_PROGRAM}; print(flush=True); input()"
        for _ in range(HELD_PROCESSES):
            process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._held.append(process)
            assert process.stdout is not None
            process.stdout.readline()
        return [process.pid for process in self._held]

    async def release(self, seconds: float) -> None:
        """End them."""
        while self._held:
            self._held.pop().communicate(b"\n")


def main() -> None:
    """Be one of the two processes of this side."""
    if sys.argv[1:] == ["answer"]:
        trio.run(be_answering_process)
        return
    command = [sys.executable, "-m", __spec__.name, "answer"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as answering:
        assert answering.stdout is not None
        floor = Floor(int(answering.stdout.readline()))
        bare = BareProcesses()
        jobs: dict[str, Job] = {
            "calls": floor.calls,
            "bytes": floor.echo_bytes,
            "array": floor.echo_array,
            **{f"echo {size}": partial(floor.echo_array, nbytes=size) for size in ECHOED_SIZES},
            **{f"touch {size}": partial(floor.touch, nbytes=size) for size in SENT_SIZES},
            f"touches {SHARED_SIZE}": partial(floor.touches, nbytes=SHARED_SIZE),
            "stream, single": floor.stream_singles,
            "stream, joined": floor.stream_joined,
            "code map": code_map,
            "pass heap": pass_heap,
            "pass channels": pass_channels,
            "map": map_items,
            "start": start_one,
            "start eight": start_eight,
            "hold": bare.hold,
            "release": bare.release,
        }
        try:
            trio.run(serve_jobs, jobs)
        finally:
            answering.terminate()


if __name__ == "__main__":
    main()
