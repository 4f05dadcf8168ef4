"""A transport inside one process: no kernel, no clock, the same run every time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from .interface import Buffer, Listener, ReceiveInterrupted, Transport, checked_count
from .one_task import OneTask

_CAPACITY_BYTES = 65536


class _Pipe:
    """One direction: bytes that were sent and not yet received. Both ends hold it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.sender_closed = False
        self.receiver_closed = False
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def room(self) -> int:
        return self.capacity - len(self.data)

    def put(self, part: memoryview) -> int:
        taken = min(self.room, len(part))
        self.data += part[:taken]
        return taken

    def take(self, count: int) -> bytes:
        data = bytes(self.data[:count])
        del self.data[:count]
        self.wake()
        return data

    def wake(self) -> None:
        """Wake whoever waits on this pipe, also when called between two scheduler passes."""
        if self.changed:
            self.changed.unpark_all()
            # Without this the loop may already be on its way to sleep.
            trio.lowlevel.current_trio_token().run_sync_soon(_nothing, idempotent=True)


def _nothing() -> None:
    """Make the scheduler take one more turn."""


class MemoryTransport(Transport):
    """One end of `memory_transport_pair`."""

    can_interrupt = True

    def __init__(self, outgoing: _Pipe, incoming: _Pipe) -> None:
        self._out = outgoing
        self._in = incoming
        self._closed = False
        self._is_interrupted = False
        self._sending = OneTask()
        self._receiving = OneTask()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<MemoryTransport: {state}, {len(self._in.data)} bytes to receive>"

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        self._check_sendable()
        sent = 0
        for part in parts:
            taken = self._out.put(memoryview(part).cast("B"))
            sent += taken
            if taken < len(part):
                break
        self._out.wake()
        return sent

    async def send_all(self, data: Buffer) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data).cast("B")
            self._check_sendable()
            while rest:
                rest = rest[self.send_nowait([rest]) :]
                if rest:
                    await self._wait_for_room()

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            await self._wait_for_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        count = checked_count(max_bytes)
        with self._receiving:
            self._is_interrupted = False
            await trio.lowlevel.checkpoint()
            self._check_open()
            while not self._in.data:
                if self._in.sender_closed:
                    return b""
                if self._is_interrupted:
                    raise ReceiveInterrupted
                await self._in.changed.park()
                await trio.lowlevel.checkpoint_if_cancelled()
                self._check_open()
            return self._in.take(count)

    async def receive_into(self, memory: memoryview) -> int:
        data = await self.receive_some(len(memory))
        memory[: len(data)] = data
        return len(data)

    def interrupt(self) -> None:
        self._is_interrupted = True
        self._in.wake()

    def close(self) -> None:
        """Close it, without a checkpoint."""
        if not self._closed:
            self._closed = True
            self._out.sender_closed = True
            self._in.receiver_closed = True
            self._out.wake()
            self._in.wake()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    async def _wait_for_room(self) -> None:
        while not self._out.room:
            await self._out.changed.park()
            self._check_sendable()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this transport was closed here")

    def _check_sendable(self) -> None:
        self._check_open()
        if self._out.receiver_closed:
            raise trio.BrokenResourceError("the peer closed this transport")


def memory_transport_pair(
    capacity: int = _CAPACITY_BYTES,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two connected ends; each direction holds *capacity* bytes."""
    there, back = _Pipe(capacity), _Pipe(capacity)
    return MemoryTransport(there, back), MemoryTransport(back, there)


class MemoryListener(Listener):
    """A listener inside one process; peers come through its `connect`."""

    address = "memory:"

    def __init__(self) -> None:
        self._waiting: deque[MemoryTransport] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False

    def __repr__(self) -> str:
        return f"<MemoryListener: {len(self._waiting)} waiting>"

    async def connect(self) -> MemoryTransport:
        """Return the far end of a new connection to this listener.

        Raises:
          trio.BrokenResourceError: it is closed.
        """
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.BrokenResourceError("nobody listens there any more")
        ours, theirs = memory_transport_pair()
        self._waiting.append(theirs)
        self._changed.unpark()
        return ours

    async def accept(self) -> MemoryTransport:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise trio.ClosedResourceError("this listener was closed here")
            await self._changed.park()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self._closed = True
        self._changed.unpark_all()
        for transport in self._waiting:
            await trio.aclose_forcefully(transport)
        self._waiting.clear()
        await trio.lowlevel.checkpoint()
