"""What the function of a kernel is given: its mailbox, its replies, its neighbours."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import trio

from ..errors import ReceiveTimeout
from .checkpoint import Checkpoint, open_checkpoint
from .messages import correlated

if TYPE_CHECKING:
    from .hosting import KernelHost


class Idle(ReceiveTimeout):
    """The mailbox of a kernel was empty for as long as it wanted to wait."""


class KernelContext:
    """The world of one kernel, as its function sees it.

    Attributes:
      kernel_id: the name under which the kernel was launched.
    """

    def __init__(self, host: KernelHost, kernel_id: str) -> None:
        self.kernel_id = kernel_id
        self._host = host

    def __repr__(self) -> str:
        return f"<KernelContext of {self.kernel_id!r}: {self._host!r}>"

    # --- its state -----------------------------------------------------------------------

    @property
    def should_terminate(self) -> bool:
        """Whether the kernel is asked to end; what was to be handled before that is handled."""
        return self._host.look_up()

    @property
    def is_active(self) -> bool:
        """Whether messages may be taken."""
        return self._host.is_active

    async def wait_active(self) -> None:
        """Wait until messages may be taken, or the kernel is asked to end."""
        await trio.lowlevel.checkpoint()
        await self._host.wait_active()

    # --- receiving -----------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> Any:
        """Return the next message: of the highest priority, the oldest one.

        *timeout* is in seconds; time during which the kernel is not active does not count.

        Raises:
          ReceiveTimeout: none has come in time, or the kernel is asked to end; then
            `should_terminate` is true. It is a `TimeoutError` as well.
          trio.EndOfChannel: the kernel is asked to end, and there was no timeout.
        """
        host = self._host
        message = await host.take(math.inf if timeout is None else timeout)
        if message is not None:
            return message
        if timeout is None:
            raise trio.EndOfChannel
        raise Idle(f"kernel {self.kernel_id!r} received nothing within {timeout:g} s")

    async def receive_batch(self, max: int, within: float) -> list[Any]:
        """Return up to *max* messages: wait for the first, then at most *within* seconds.

        The list is empty when the kernel is asked to end.
        """
        if max < 1:
            raise ValueError(f"a batch has at least one message, not {max!r}")
        first = await self._host.take(math.inf)
        batch = [] if first is None else [first]
        deadline = trio.current_time() + within
        while batch and len(batch) < max:
            left = deadline - trio.current_time()
            message = await self._host.take(left if left > 0 else 0.0, keeps_in_hand=True)
            if message is None:
                break
            batch.append(message)
        return batch

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """Return the next message; the loop ends when the kernel is asked to."""
        message = await self._host.take(math.inf)
        if message is None:
            raise StopAsyncIteration
        return message

    # --- sending -------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Put *message* out: to whoever asked what it is correlated with, else to `receive`.

        It waits while ``output_queue_size`` responses have not been received.

        Raises:
          EncodeError, LimitExceeded: it cannot travel; class and field are named.
          TypeError: it is no message.
        """
        await self._host.put_out(message)

    async def reply(self, request: Any, response: Any) -> None:
        """Send *response*, correlated with *request*; else as `send`."""
        await self.send(correlated(response, request))

    async def send_to(self, name: str, message: Any) -> None:
        """Send *message* to the kernel *name*; else as `RingKernelRuntime.send`."""
        await self._host.request("send", name, message, None)

    async def ask(self, name: str, message: Any, timeout: float | None = None) -> Any:
        """Send *message* to the kernel *name* and return the reply to it.

        Raises:
          ReceiveTimeout: it has not come within *timeout* seconds.
        """
        return await self._host.request("ask", name, message, timeout)

    async def publish(self, topic: str, message: Any) -> None:
        """Send *message* to every kernel that is subscribed to *topic*."""
        await self._host.request("publish", topic, message, None)

    # --- state that lasts ----------------------------------------------------------------

    def checkpoint(
        self, path: str | os.PathLike[str], default: Any = None, *, every: int = 100
    ) -> AbstractAsyncContextManager[Checkpoint]:
        """Open state that survives: read from *path*, or *default* where there is no such file.

        `Checkpoint.count` after each message writes it after every *every* of them, and leaving the
        block once more, unless by an error. Writing is atomic.

        Raises:
          OSError: *path* cannot be read, or nothing could be written there; when it is opened.
          ValueError: the file holds no JSON.
        """
        return open_checkpoint(path, default, every)
