"""The near end of a connection on which faults happen."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import trio

from ..transport import ReceiveInterrupted, Transport
from ..transport.interface import Buffer, checked_count
from ..transport.one_task import OneTask
from .faults import Faults

_IN_FLIGHT_BYTES = 256 * 1024
"""What a direction with a delay has under way at most. Then its sender waits."""


class _Journey:
    """Bytes on their way, and the end of the stream, each with the time at which it is due.

    ``end`` is what the end looks like: no bytes, or an error.
    """

    def __init__(self) -> None:
        self.size = 0
        self.end: bytes | trio.BrokenResourceError | None = None
        self._end_due = math.inf
        self._parts: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float:
        """When the first of it is due; infinity if there is nothing."""
        return self._parts[0][0] if self._parts else self._end_due

    @property
    def is_full(self) -> bool:
        """Whether nothing may be added for now."""
        return self.end is not None or self.size >= _IN_FLIGHT_BYTES

    def put(self, part: bytes | trio.BrokenResourceError, due: float) -> None:
        if self._parts:
            due = max(due, self._parts[-1][0])
        if isinstance(part, bytes) and part:
            self._parts.append((due, part))
            self.size += len(part)
        else:
            self.end, self._end_due = part, due

    def take(self, count: int) -> bytes:
        """Return up to *count* bytes of the first part. The end stays, and raises if an error."""
        if not self._parts:
            if isinstance(self.end, Exception):
                raise self.end
            return b""
        due, part = self._parts.popleft()
        if len(part) > count:
            self._parts.appendleft((due, part[count:]))
        self.size -= len(part[:count])
        return part[:count]

    def lose(self) -> None:
        """Lose all bytes; the end stays."""
        self._parts.clear()
        self.size = 0


class FaultyTransport(Transport):
    """The near end of a connection on which *faults* happen. It owns *inner*.

    Where a direction is not delayed, stalled or split, its calls go straight to *inner*.
    """

    can_interrupt = True

    def __init__(self, inner: Transport, faults: Faults) -> None:
        self.faults = faults
        self._inner = inner
        self._is_closed = False
        self._is_interrupted = False
        self._out = faults.outgoing
        self._in = faults.incoming
        self._departed = _Journey()
        self._arrived = _Journey()
        self._is_delivering = False
        self._sending = OneTask()
        self._receiving = OneTask()
        faults.attach(self)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<FaultyTransport: {state}, {self.faults!r}, around {self._inner!r}>"

    # --- sending -------------------------------------------------------------------------

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        self._check_usable()
        views = [memoryview(part).cast("B") for part in parts]
        size = sum(map(len, views))
        if self._out.is_stalled:
            return 0
        if self._out.is_swallowing:
            return size
        if size:
            views = list(_first_bytes(views, self._out.grant(size)))
        sent = self._depart(views) if self._is_slow else self._inner.send_nowait(views)
        self._out.count(sent)
        return sent

    async def send_all(self, data: Buffer) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_usable()
            rest = memoryview(data).cast("B")
            while rest:
                rest = rest[self.send_nowait([rest]) :]
                if rest:
                    await self._wait_writable()

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._wait_writable()

    async def _wait_writable(self) -> None:
        while True:
            self._check_usable()
            if self._out.is_stalled:
                await self._out.watch(trio.sleep_forever)
            elif self._out.is_swallowing:
                return
            elif self._is_slow:
                if not self._departed.is_full:
                    return
                await self._out.watch(trio.sleep_forever)
            elif await self._out.watch(self._inner.wait_send_all_might_not_block):
                return

    @property
    def _is_slow(self) -> bool:
        """Whether what is sent has to take its turn behind what is on its way."""
        return self._out.is_delaying or self._is_delivering

    def _depart(self, views: list[memoryview]) -> int:
        """Send bytes on their way, as many as there is room for."""
        data = b"".join(_first_bytes(views, _IN_FLIGHT_BYTES - self._departed.size))
        if data:
            self._departed.put(data, self._out.due())
            if not self._is_delivering:
                self._is_delivering = True
                _spawn_soon(self._deliver)
        return len(data)

    async def _deliver(self) -> None:
        """Hand bytes on when they are due, until there are none."""
        try:
            while self._departed.size and not self.faults.is_cut:
                if trio.current_time() < self._departed.due:
                    await self._out.watch(trio.sleep_forever, self._departed.due)
                else:
                    await self._inner.send_all(self._departed.take(_IN_FLIGHT_BYTES))
                    self._out.wake()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._departed.lose()  # whoever sends next is told by the inner transport
        finally:
            self._is_delivering = False
            self._out.wake()
            if self._is_closed:
                await trio.aclose_forcefully(self._inner)

    # --- receiving -----------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        count = checked_count(max_bytes)
        with self._receiving:
            self._is_interrupted = False
            await trio.lowlevel.checkpoint()
            while True:
                self._check_usable()
                data = self._take(count)
                if data is not None:
                    return data
                if self._is_interrupted:
                    raise ReceiveInterrupted
                is_blocked = self._in.is_stalled or self._in.is_swallowing
                await self._in.watch(self._collect, math.inf if is_blocked else self._arrived.due)
                await trio.lowlevel.checkpoint_if_cancelled()

    async def receive_into(self, memory: memoryview) -> int:
        data = await self.receive_some(len(memory))
        memory[: len(data)] = data
        return len(data)

    def interrupt(self) -> None:
        self._is_interrupted = True
        self._in.wake()

    def _take(self, count: int) -> bytes | None:
        """Return bytes that have arrived, none at the end, or None while there is nothing."""
        if self._in.is_swallowing:
            self._arrived.lose()
            return None
        if self._in.is_stalled or trio.current_time() < self._arrived.due:
            return None
        data = self._arrived.take(self._in.grant(count))
        self._in.count(len(data))
        return data

    async def _collect(self) -> None:
        """Receive something that will be due some time."""
        if self._in.is_stalled or self._arrived.is_full:
            await trio.sleep_forever()
        part: bytes | trio.BrokenResourceError
        try:
            part = bytes(await self._inner.receive_some())
        except trio.BrokenResourceError as error:
            part = error
        self._arrived.put(part, self._in.due())

    # --- ending --------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close it. Bytes on their way still arrive, unless the connection is cut."""
        self._is_closed = True
        self.faults.detach(self)
        if self._is_delivering and not self.faults.is_cut:
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.aclose()

    def close_inner_soon(self) -> None:
        """Have the inner transport closed; may be called between two scheduler passes."""
        _spawn_soon(trio.aclose_forcefully, self._inner)

    def _check_usable(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this transport was closed here")
        if self.faults.is_cut:
            raise trio.BrokenResourceError("the connection was cut")


def _spawn_soon(work: Callable[..., Awaitable[object]], *args: object) -> None:
    """Run *work* as a task of the run itself: the caller has no nursery, and maybe no task."""
    token = trio.lowlevel.current_trio_token()
    token.run_sync_soon(trio.lowlevel.spawn_system_task, work, *args)


def _first_bytes(views: Iterable[memoryview], count: int) -> Iterator[memoryview]:
    """Yield the first *count* bytes of *views*."""
    for view in views:
        if count <= 0:
            return
        yield view[:count]
        count -= len(view)
