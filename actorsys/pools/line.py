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

from collections.abc import Callable
from typing import Any

import trio

from ..channel import Channel, Flow
from ..channel.backlog import Backlog
from ..channel.tick import acquire_flusher, release_flusher
from ..errors import ActorsysError, RemoteProtocolError
from ..wire.codec import HEADER_BYTES

OnMessage = Callable[[dict[str, Any], "ActorsysError | None"], None]
"""Takes a message, and why a value in it cannot be had, or None."""

_ENVELOPE_BYTES = 256  # what the stream's own frame adds, and more
_MAX_BATCH_BYTES = 64 * 1024  # one read at the other end


class Line(Backlog):
    """One end of the stream between a pool and a worker. `post` never waits.

    How much is kept is bounded by how many calls a worker may have at hand.
    """

    def __init__(self, channel: Channel, flow: Flow, on_message: OnMessage) -> None:
        super().__init__(flow)
        self._channel = channel
        self._on_message = on_message
        self._max_bytes = channel.session.peer_max_frame_bytes - _ENVELOPE_BYTES
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._flusher = acquire_flusher()
        flow.divert(self._take)

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
        self.put(frame)

    @property
    def is_behind(self) -> bool:
        """Whether something that was posted is not with the kernel of this machine yet."""
        return bool(self._batch) or super().is_behind

    async def write_all(self) -> None:
        """Return when everything that was posted is with the kernel of this machine."""
        self.end_tick()
        self.flush()
        await self.wait_written()

    async def run(self) -> None:
        """Send what had to be kept, until this is cancelled."""
        try:
            await super().run()
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
