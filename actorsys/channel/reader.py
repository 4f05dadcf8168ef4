"""What a link brings, and whose turn it is to read it.

A message is best read by the very task that waits for it: where another one reads it and wakes the
one that waits, that takes a pass of the scheduler more. So the turn to read goes round. It is with
the link's own task while nobody else wants it. Once a task that has got what it waited for comes
back for more at once, the turn is offered after each message to whoever waits next; the link's own
task takes it back when whoever the message was for has had its time to come, and nobody came.
"""

from __future__ import annotations

import contextvars

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import ChannelBroken, ChannelClosed, ProtocolError
from ..limits import Limits
from ..transport import ReceiveInterrupted, Transport
from ..wire import Codec, FrameReader, parse_message
from ..wire.codec import HEADER_BYTES
from .dispatch import Dispatcher, Job
from .tick import TickFlusher, is_any_runnable
from .waiters import Waiters

# Whose turn it is to read.
_OWN = "the link's own task"
_OFFERED = "whoever waits next"
_TAKEN = "a task that waits"


class Reader:
    """The receiving side of one link: one task at a time reads, and dispatches what is whole.

    Nothing here waits for user code, so cancellations and results overtake a stuck stream. The
    link owns it, and must have a task in `read` for as long as it is used. ``reads`` counts what
    was received; ``end`` is why nothing more can be.
    """

    def __init__(
        self,
        transport: Transport,
        flusher: TickFlusher,
        codec: Codec,
        dispatcher: Dispatcher,
        limits: Limits,
        leftover: bytes,
    ) -> None:
        self.reads = 0
        self.end: Exception | None = None
        self._transport = transport
        self._flusher = flusher
        self._codec = codec
        self._dispatcher = dispatcher
        self._chunk_bytes = limits.receive_chunk_bytes
        self._frames = FrameReader(limits.max_message_bytes, limits.segment_bytes)
        self._leftover = leftover
        self._jobs: list[Job] = []
        self._fault: Exception | None = None
        # Whoever reads, nothing of its context gets into what is done for others.
        self._context = contextvars.copy_context()
        self._turn = _OWN
        self._own_turn = Waiters()
        self._is_wanted = False
        self._is_queued = False
        self._offered_until = 0
        self._served_at = -1
        self._is_receiving = False

    def __repr__(self) -> str:
        state = f"the turn is with {self._turn}" if self.end is None else f"ended: {self.end}"
        return f"<Reader: {self.reads} reads, {state}>"

    # --- what the link's own task does ---------------------------------------------------

    async def read(self) -> list[Job]:
        """Return calls to run, in order; none when nothing more can be read, also by others.

        When it is cancelled, others read no more either.
        """
        try:
            if self._leftover:
                self._frames.feed(self._leftover)
                self._leftover = b""
                self._dispatch_or_end()
            while not self._jobs and self.end is None:
                if self._turn is not _OWN:
                    await self._own_turn.wait()
                elif await self._read_some() and self._is_wanted and not self._jobs:
                    self._offer(to_others=True)
        except BaseException:
            self.end = self.end or ChannelClosed("this link was closed")
            self.interrupt()
            raise
        if self._fault is not None:
            raise self._fault
        jobs, self._jobs = self._jobs, []
        return jobs

    # --- what a task that waits does -----------------------------------------------------

    @enable_ki_protection
    async def wait(self, waiters: Waiters) -> None:
        """Wait as `Waiters.wait` does, for something that this link brings; maybe by reading it."""
        if self._turn is _OFFERED and waiters.read_by is None:
            is_woken = await self._read_for(waiters)
            if not is_woken:
                await waiters.wait()
        else:
            if self._served_at == self._flusher.ticks:
                self._is_wanted = self._transport.can_interrupt
            await waiters.wait()
        self._served_at = self._flusher.ticks

    async def _read_for(self, waiters: Waiters) -> bool:
        """Read until something has come; return whether *waiters* are woken, by that or otherwise.

        Who is woken is not cancelled any more, as with any other wait: the next checkpoint is.
        """
        self._turn = _TAKEN
        waiters.read_by = self
        messages = 0
        try:
            while waiters.read_by is self and self.end is None and not messages:
                messages = await self._read_some()
        except trio.Cancelled:
            if waiters.read_by is self:
                raise
        finally:
            is_woken = waiters.read_by is not self
            if not is_woken:
                waiters.read_by = None
            self._pass_on(messages, is_for_others=messages > is_woken)
        return is_woken

    def _pass_on(self, messages: int, *, is_for_others: bool) -> None:
        """Give the turn up, and what only the link's own task may do."""
        if messages:
            self._offer(to_others=is_for_others)
        else:
            # Else a task that only polls, in a scope that has expired, could keep the turn.
            self._turn = _OWN
        if not messages or self._jobs or self.end is not None:
            self._own_turn.wake()

    def interrupt(self) -> None:
        """End the waiting of a task that reads because it waits for something of this link."""
        if self._is_receiving and self._turn is _TAKEN:
            self._transport.interrupt()

    # --- whose turn it is ------------------------------------------------------------------

    def _offer(self, *, to_others: bool) -> None:
        """Let whoever waits next in this tick read; *to_others*, in the one where they run."""
        self._turn = _OFFERED
        self._offered_until = self._flusher.ticks + to_others
        if not self._is_queued:
            self._is_queued = True
            self._flusher.queue(self)

    def end_tick(self) -> None:
        """Take the turn back if nobody will take it; called by the flusher."""
        self._is_queued = False
        if self._turn is not _OFFERED:
            return
        if self._flusher.ticks < self._offered_until and is_any_runnable():
            self._is_queued = True
            self._flusher.queue(self)
        else:
            self._turn = _OWN
            self._is_wanted = False
            self._own_turn.wake_soon()

    # --- reading ---------------------------------------------------------------------------

    async def _read_some(self) -> int:
        """Receive once; return how many messages were whole then. At the end, note why."""
        self._is_receiving = True
        try:
            memory = self._frames.large_rest()
            if memory is None:
                data = await self._transport.receive_some(self._chunk_bytes)
                self._frames.feed(data)  # type: ignore[arg-type]
                count = len(data)
            else:
                count = await self._receive_into(memory)
        except ReceiveInterrupted:
            return 0
        except Exception as error:
            self._end_with(error)
            return 0
        finally:
            self._is_receiving = False
        if not count:
            self.end = ChannelBroken("the peer closed the link")
            return 0
        self.reads += 1
        return self._dispatch_or_end()

    async def _receive_into(self, memory: memoryview) -> int:
        """Receive the next bytes of a large frame; return how many."""
        count = 0
        try:
            count = await self._transport.receive_into(memory)
        finally:
            self._frames.fill(count)  # whoever is cancelled must not keep the memory
        return count

    def _dispatch_or_end(self) -> int:
        """Dispatch what is whole; return how many messages. If that cannot be, note why."""
        try:
            return self._context.run(self._dispatch)
        except Exception as error:
            self._end_with(error)
            return 0

    def _dispatch(self) -> int:
        codec, dispatch = self._codec, self._dispatcher.dispatch
        messages = 0
        for frame in self._frames:
            raw, fault = codec.decode(frame)
            if type(frame) is bytearray and not codec.frame_is_shared:
                self._frames.recycle(frame)
            job = dispatch(parse_message(raw, fault, len(frame) + HEADER_BYTES))
            if job is not None:
                self._jobs.append(job)
            messages += 1
        return messages

    def _end_with(self, error: Exception) -> None:
        """Note why nothing more can be read; the link's own task is to raise what is a fault."""
        if isinstance(error, ProtocolError):
            self.end = error
        elif isinstance(error, trio.BrokenResourceError):
            self.end = ChannelBroken(f"the link broke: {error}")
        elif isinstance(error, trio.ClosedResourceError):
            self.end = ChannelClosed("this link was closed")
        else:
            self._fault = error
            self.end = ChannelBroken(f"the link's reader has failed: {error!r}")
