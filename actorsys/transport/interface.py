"""What a transport and a listener must do."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Sequence
from typing import Union

import trio

Buffer = Union[bytes, bytearray, memoryview]

_DEFAULT_RECEIVE_BYTES = 65536


class ReceiveInterrupted(Exception):
    """Nothing was received: `Transport.interrupt` was called. The transport stays usable."""


class Transport(trio.abc.Stream):
    """A stream of bytes to one peer.

    Beside the methods of `trio.abc.Stream` it can take bytes without waiting and receive into
    memory that is already there. If ``can_interrupt``, a task that waits for bytes can be told to
    stop; and if it is cancelled in the very pass of the scheduler in which they come, it takes
    none.
    """

    can_interrupt = False

    @abstractmethod
    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        """Send as much of *parts*, in order, as can be sent at once; return how many bytes.

        What was not sent has to be offered next, the same bytes in the same order: a transport may
        have prepared it already.

        May be called outside a task, between two passes of the scheduler.

        Raises:
          trio.BrokenResourceError: the peer or the network closed it.
          trio.ClosedResourceError: we closed it.
        """

    @abstractmethod
    async def receive_into(self, memory: memoryview) -> int:
        """Receive at least one byte into *memory*; return how many, 0 at the end of the stream.

        Raises:
          trio.BrokenResourceError, trio.ClosedResourceError: as `receive_some`.
        """

    def interrupt(self) -> None:
        """Have a task that waits for bytes, if one does, raise `ReceiveInterrupted`.

        It may find, all the same, that bytes have come.
        """
        raise NotImplementedError(f"{type(self).__qualname__} cannot interrupt")


class Listener(trio.abc.Listener[Transport]):
    """Where peers connect. ``address`` is what they need for it."""

    address: str


def checked_count(max_bytes: int | None) -> int:
    """Return how many bytes `receive_some` may read.

    Raises:
      ValueError, TypeError: *max_bytes* is no positive number.
    """
    if max_bytes is None:
        return _DEFAULT_RECEIVE_BYTES
    count = operator.index(max_bytes)
    if count < 1:
        raise ValueError("max_bytes must be at least 1")
    return count
