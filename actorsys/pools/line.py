"""What a pool and a worker say to each other: messages of their own, inside one stream.

Each message is a frame as on a link, so that a value that cannot be read spoils one call and not
the stream. What is said in one tick of the scheduler travels as one item.

From the pool:

  {"job", "call", "args", ...}        run a function; "kwargs", "left" and "trace" if there are any
  {"cancel"}                          cancel a call, wherever it is
  {"recall"}                          give a call back if it has not begun

From the worker:

  {"job", "return"}, {"job", "error"} how a call has ended
  {"job", "error", "busy"}            so, but its thread still runs
  {"free"}                            the thread of a call has ended
  {"dropped"}                         it was not begun and will not be
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from ..channel import Channel, Flow
from ..channel.tick import acquire_flusher, release_flusher
from ..channel.waiters import Waiters
from ..errors import ActorsysError, RemoteProtocolError
from ..wire.codec import HEADER_BYTES, EncodedFrame

OnMessage = Callable[[dict[str, Any], "ActorsysError | None"], None]
"""Takes a message, and why a value in it cannot be had, or None."""

_ENVELOPE_BYTES = 256  # what the stream's own frame adds, and more
_MAX_BATCH_BYTES = 64 * 1024  # one read at the other end


class Line:
    """One end of the stream between a pool and a worker. `post` never waits.

    What the stream does not take at once is kept, in order, and sent by `run`. That is bounded by
    how many calls a worker may have at hand.
    """

    def __init__(self, channel: Channel, flow: Flow, on_message: OnMessage) -> None:
        self._channel = channel
        self._flow = flow
        self._on_message = on_message
        self._max_bytes = channel.session.peer_max_frame_bytes - _ENVELOPE_BYTES
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._kept: deque[EncodedFrame] = deque()
        self._changed = Waiters()
        self._flusher = acquire_flusher()
        flow.divert(self._take)

    def __repr__(self) -> str:
        return f"<Line: {len(self._batch)} messages to send, {len(self._kept)} items kept>"

    def encode(self, message: dict[str, Any]) -> bytes:
        """Return *message* as `post` takes it.

        Raises:
          EncodeError, LimitExceeded: a value cannot travel.
        """
        parts = self._channel.codec.encode(message, self._max_bytes)
        return parts[0] if len(parts) == 1 else b"".join(parts)  # type: ignore[return-value]

    def post(self, frame: bytes) -> None:
        """Send an encoded message at the latest when this tick of the scheduler ends."""
        if not self._batch:
            self._flusher.queue_early(self)
        elif self._batch_bytes + len(frame) > _MAX_BATCH_BYTES:
            self.end_tick()
        self._batch.append(frame)
        self._batch_bytes += len(frame)

    def end_tick(self) -> None:
        """Pass on to the link what was posted."""
        if not self._batch:
            return
        frame = self._flow.encode(b"".join(self._batch))
        self._batch.clear()
        self._batch_bytes = 0
        if self._kept or not self._send_nowait(frame):
            self._kept.append(frame)
            self._changed.wake_soon()

    def _send_nowait(self, frame: EncodedFrame) -> bool:
        try:
            return self._flow.send_frame_nowait(frame)
        except ActorsysError:
            return True  # whoever follows the end of the call knows that the link is lost

    @property
    def is_behind(self) -> bool:
        """Whether something that was posted is not with the kernel of this machine yet."""
        return bool(self._batch or self._kept) or self._flow.is_behind

    async def write_all(self) -> None:
        """Return when everything that was posted is with the kernel of this machine."""
        self.end_tick()
        self._flow.flush()
        while self._kept:
            await self._changed.wait()
        if self._flow.is_behind:
            await self._flow.wait_written()

    async def run(self) -> None:
        """Send what had to be kept, until this is cancelled."""
        try:
            with contextlib.suppress(ActorsysError):
                while True:
                    while self._kept:
                        await self._flow.send_frame(self._kept[0])
                        self._kept.popleft()
                    self._changed.wake()
                    await self._changed.wait()
            await trio.sleep_forever()
        finally:
            release_flusher(self._flusher)

    def _take(self, item: Any) -> None:
        """Pass on what has come; what makes no sense ends the link, and nothing else."""
        try:
            for frame in split(item, self._channel.limits.segment_bytes):
                self._on_message(*self._channel.codec.decode(frame))
        except Exception as error:
            raise RemoteProtocolError(f"the line of a pool: {error!r}") from error


def split(data: bytes, large_bytes: int) -> list[bytes | bytearray]:
    """Return the frames in *data*; arrays lie in the memory of a large one, and are writable."""
    frames: list[bytes | bytearray] = []
    position = 0
    view = memoryview(data)
    while position < len(data):
        start = position + HEADER_BYTES
        position = start + int.from_bytes(view[start - HEADER_BYTES : start], "little")
        if position > len(data):
            raise ValueError("the last frame is cut short")
        frame = view[start:position]
        frames.append(bytearray(frame) if len(frame) >= large_bytes else bytes(frame))
    return frames
