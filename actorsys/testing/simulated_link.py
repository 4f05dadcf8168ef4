"""Connections of a simulation: memory, with delays that come from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ..transport import Listener, MemoryListener, MemoryTransport, Transport
from ..transport.interface import Buffer

if TYPE_CHECKING:
    from .simulated_process import SimulatedProcess
    from .simulation import Simulation


class SimulatedLink(Transport):
    """One end of a connection. What it receives has been on its way for a while."""

    def __init__(self, inner: MemoryTransport, simulation: Simulation, label: str) -> None:
        self._inner = inner
        self._simulation = simulation
        self._label = label
        self._arrived = b""
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<SimulatedLink of {self._label}: {len(self._arrived)} bytes to receive>"

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        sent = self._inner.send_nowait(parts)
        self._simulation.note(self._label, f"sent {sent} bytes")
        return sent

    async def send_all(self, data: Buffer) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._arrived:
            # Kept here until it is due, so that a cancellation on the way loses nothing.
            self._arrived = await self._inner.receive_some(max_bytes)
            delay = self._simulation.chance.uniform(0, self._simulation.max_delay_seconds)
            self._due = trio.current_time() + delay
        await trio.sleep_until(self._due)
        count = len(self._arrived) if max_bytes is None else max_bytes
        data, self._arrived = self._arrived[:count], self._arrived[count:]
        self._simulation.note(self._label, f"received {len(data)} bytes")
        return data

    async def receive_into(self, memory: memoryview) -> int:
        data = await self.receive_some(len(memory))
        memory[: len(data)] = data
        return len(data)

    def cut(self) -> None:
        """Close this end at once, as the kernel does for a process that has died."""
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


class SimulatedListener(Listener):
    """Where the children of one simulated process connect."""

    def __init__(self, process: SimulatedProcess) -> None:
        self.address = f"memory:{process.pid}"
        self._process = process
        self._inner = MemoryListener()

    def __repr__(self) -> str:
        return f"<SimulatedListener of {self._process.label}>"

    async def connect(self) -> MemoryTransport:
        """Return the far end of a new connection.

        Raises:
          trio.BrokenResourceError: it is closed.
        """
        return await self._inner.connect()

    async def accept(self) -> SimulatedLink:
        return self._process.own(await self._inner.accept())

    async def aclose(self) -> None:
        await self._inner.aclose()
