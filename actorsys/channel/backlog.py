"""What is to be sent on a stream by somebody who must not wait."""

from __future__ import annotations

from collections import deque

from ..errors import ActorsysError
from ..wire import EncodedFrame
from .flow import Flow
from .waiters import Waiters


class Backlog:
    """Sends frames on *flow*, in order: what it does not take at once is kept, and sent by `run`.

    Its user bounds how much that can be, by credits that both ends give each other for what they
    send. When the stream is over, what is put here goes nowhere: how it has ended is told to
    whoever follows its call. ``reader`` is what reads the link, which brings the answers.
    """

    def __init__(self, flow: Flow) -> None:
        self.reader = flow.channel.reader
        self._flow = flow
        self._outbox = flow.channel.outbox
        self._kept: deque[EncodedFrame] = deque()
        self._is_over = False
        self._changed = Waiters()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._kept)} frames kept, {self._flow!r}>"

    def put(self, frame: EncodedFrame) -> None:
        """Send *frame*, now or as soon as the stream takes it; never waits, never raises.

        May be called between two passes of the scheduler.
        """
        try:
            if not self._kept and self._flow.send_frame_nowait(frame):
                return
        except ActorsysError:
            return
        if not self._is_over:
            self._kept.append(frame)
            self._changed.wake_soon()

    async def run(self) -> None:
        """Send what had to be kept, until the stream is over or this is cancelled."""
        try:
            while True:
                while self._kept:
                    await self._flow.send_frame(self._kept[0])
                    self._kept.popleft()
                self._changed.wake()
                await self._changed.wait()
        except ActorsysError:
            return
        finally:
            self._is_over = True
            self._kept.clear()
            self._changed.wake()

    @property
    def is_behind(self) -> bool:
        """Whether something that was put here is not with the kernel of this machine yet."""
        return bool(self._kept) or self._outbox.size > 0

    def flush(self) -> None:
        """Write what the stream has taken, in place of at the end of the scheduler's tick."""
        self._outbox.flush()

    async def wait_taken(self) -> None:
        """Wait until the stream has taken everything, or is over."""
        while self._kept:
            await self._changed.wait()

    async def wait_written(self) -> None:
        """Wait until everything is with the kernel of this machine, or the stream is over."""
        await self.wait_taken()
        await self._outbox.wait_written(self._outbox.enqueued)
