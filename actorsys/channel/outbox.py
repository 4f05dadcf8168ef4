"""What is to be written to a link, in order, and the one place that writes it.

Frames are queued whole and only this module touches the transport's sending side, so a cancelled
caller never leaves half a frame behind.

When to write is the trade between latency and system calls. The first frame of a scheduler tick is
written at once, so that the peer works on it while this process is still busy with its own
bookkeeping; the rest of the tick's frames leave in one write when the tick ends. If the tick before
had several frames, this one is expected to have as well, and even the first one waits for the end.
"""

from __future__ import annotations

import itertools
import math
from collections import deque

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import ChannelBroken, ChannelClosed
from ..limits import Limits
from ..transport import Transport
from ..wire import EncodedFrame
from .tick import Flushable, TickFlusher
from .waiters import Waiters

_BATCH_PARTS = 16
_JOIN_BYTES = 16384  # parts below are joined: copying so little is cheaper than one more iovec


class Outbox:
    """The sending side of one link.

    ``enqueued`` and ``written`` count bytes since the link was opened: a frame whose first byte
    has not been written provably never reached the peer. A peer that takes nothing for
    *patience_seconds* is cut off.
    """

    def __init__(
        self,
        transport: Transport,
        flusher: TickFlusher,
        limits: Limits,
        patience_seconds: float = math.inf,
    ) -> None:
        self.enqueued = 0
        self.written = 0
        self.broken: Exception | None = None
        self._transport = transport
        self._flusher = flusher
        self._limits = limits
        self._patience_seconds = patience_seconds
        self._parts: deque[bytes | bytearray | memoryview] = deque()
        self._is_queued = False
        self._last_put_tick = -1
        self._puts_in_tick = 0
        self._was_busy = False
        self._is_stuck = False
        self._stuck = Waiters()
        self.companions: list[Flushable] = []
        """Those who have something to add to the next write."""
        self._sending = trio.CancelScope()
        self._progress = Waiters()

    def __repr__(self) -> str:
        state = "broken" if self.broken else "stuck" if self._is_stuck else "open"
        return f"<Outbox: {state}, {self.size} bytes queued>"

    @property
    def size(self) -> int:
        """Bytes that are queued and not written."""
        return self.enqueued - self.written

    @property
    def is_full(self) -> bool:
        """Whether senders should `wait_room` first."""
        return self.enqueued - self.written > self._limits.outbox_high_water_bytes

    @enable_ki_protection
    def put(self, frame: EncodedFrame) -> None:
        """Queue *frame*; it is written at the latest when this scheduler tick ends.

        Raises:
          ChannelBroken, ChannelClosed: it cannot be written any more.
        """
        if self.broken is not None:
            raise self.broken
        for part in frame:
            self._parts.append(part)
            self.enqueued += len(part)
        if self.companions:
            companions, self.companions = self.companions, []
            for companion in companions:
                companion.end_tick()
        if self._last_put_tick != self._flusher.ticks:
            self._last_put_tick = self._flusher.ticks
            self._was_busy = self._puts_in_tick > 1
            self._puts_in_tick = 0
        self._puts_in_tick += 1
        if self._puts_in_tick == 1 and not self._was_busy:
            self.flush()
        if self._parts and not self._is_queued:
            self._is_queued = True
            self._flusher.queue(self)

    @enable_ki_protection
    def end_tick(self) -> None:
        """Write what this tick has left; called by the flusher, between two passes."""
        self._is_queued = False
        self.flush()

    def flush(self) -> None:
        """Write what the transport takes without waiting. Never raises, never blocks."""
        if self._is_stuck or self.broken is not None or not self._parts:
            return
        try:
            self._write_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.fail(ChannelBroken(f"the link broke while writing: {error}"))
        if self._parts and self.broken is None:
            self._is_stuck = True
            self._stuck.wake_soon()
        self._progress.wake_soon()

    @enable_ki_protection
    async def run(self) -> None:
        """Write what `flush` had to leave; return when nothing can be written any more."""
        while self.broken is None:
            if not self._is_stuck:
                await self._stuck.wait()
                continue
            try:
                with trio.CancelScope() as self._sending:
                    while self._parts:
                        await self._wait_writable()
                        self._write_some()
                        self._progress.wake()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self.fail(ChannelBroken(f"the link broke while writing: {error}"))
            self._is_stuck = False

    async def _wait_writable(self) -> None:
        with trio.move_on_after(self._patience_seconds) as patience:
            await self._transport.wait_send_all_might_not_block()
        if patience.cancelled_caught:
            raise trio.BrokenResourceError(
                f"the peer has read nothing for {self._patience_seconds:g} s"
            )

    async def wait_progress(self) -> None:
        """Wait until something was written, the link broke, or `wake_waiting`."""
        await self._progress.wait()

    def wake_waiting(self) -> None:
        """Have those who wait for anything here look again whether they still have to."""
        self._progress.wake()

    async def wait_room(self) -> None:
        """Wait until the peer has read enough for more to be queued."""
        while self.is_full and self.broken is None:
            await self._progress.wait()

    async def wait_written(self, position: int) -> None:
        """Wait until everything up to *position*, a value of ``enqueued``, is written."""
        while self.written < position and self.broken is None:
            await self._progress.wait()

    @enable_ki_protection
    async def give_back(self, position: int) -> None:
        """Wait until the memory of everything up to *position* is the caller's again.

        That is when it is written. A cancellation cuts the wait short, by copying what is left,
        and is not raised here: what was queued will be sent.
        """
        while self.written < position and self.broken is None:
            if await self._progress.wait_or_be_cancelled():
                self._parts = deque(bytes(part) for part in self._parts)
                return

    def fail(self, error: Exception) -> None:
        """Refuse everything from now on."""
        if self.broken is None:
            self.broken = error
            self._parts.clear()
            self._progress.wake_soon()
            self._stuck.wake_soon()
            trio.lowlevel.current_trio_token().run_sync_soon(self._sending.cancel)

    def close(self) -> None:
        """Refuse everything from now on, because we closed the link."""
        self.fail(ChannelClosed("this link was closed"))

    def _write_some(self) -> None:
        """Write until everything is written or the transport takes no more."""
        parts = self._parts
        while parts:
            batch = [parts[0]] if len(parts) == 1 else self._next_batch()
            size = sum(map(len, batch))
            sent = self._transport.send_nowait(batch)
            self.written += sent
            if sent < size:
                self._drop(sent)
                if not sent:
                    return
            else:
                for _ in batch:
                    parts.popleft()

    def _next_batch(self) -> list[bytes | bytearray | memoryview]:
        """Return the parts to write next; small neighbours are joined into one first."""
        parts = self._parts
        small: list[bytes | bytearray | memoryview] = []
        size = 0
        while parts and len(parts[0]) < _JOIN_BYTES and size < self._limits.receive_chunk_bytes:
            size += len(parts[0])
            small.append(parts.popleft())
        if len(small) > 1:
            parts.appendleft(b"".join(small))
        elif small:
            parts.appendleft(small[0])
        return list(itertools.islice(parts, _BATCH_PARTS))

    def _drop(self, sent: int) -> None:
        """Take the first *sent* bytes off the queue."""
        parts = self._parts
        while sent:
            first = parts.popleft()
            if len(first) > sent:
                parts.appendleft(memoryview(first)[sent:])
                return
            sent -= len(first)
