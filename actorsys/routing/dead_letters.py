"""Messages that were accepted and not delivered, each with the reason."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import ChannelClosed
from .protocol import RoutedMessage


class DeadReason(enum.StrEnum):
    """Why a message was not delivered."""

    EXPIRED = "expired"
    """Its deadline has passed."""

    OVERFLOW = "overflow"
    """There was no room, or a newer one took its place."""

    ROUTE_CLOSED = "route_closed"
    """Its deadline has passed, and the route of its actor was closed or missing; or what is at the
    end of the route was lost with it."""

    ACTOR_REMOVED = "actor_removed"
    """Its actor was removed."""

    SHUTDOWN = "shutdown"
    """The dispatcher was closed."""

    REJECTED = "rejected"
    """The function of the route has raised an error about it, or is not async."""

    ENCODE_ERROR = "encode_error"
    """It cannot travel."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was accepted and not delivered.

    Attributes:
      message: the message, with the id its actor had in the end.
      reason: why; it equals its text, such as ``"expired"``.
      attempts: how often it was given to a route.
      age: seconds since it was accepted.
      error: the last error that a route has raised for it, or None.
      may_have_been_delivered: whether it was given to a route that never said what became of it.
    """

    message: RoutedMessage
    reason: DeadReason
    attempts: int
    age: float
    error: Exception | None = None
    may_have_been_delivered: bool = False


class DeadLetters(trio.abc.ReceiveChannel[DeadLetter]):
    """The dead letters of a dispatcher, oldest first, as a stream that is there to be read.

    It holds *capacity* of them at most: if nobody reads, the oldest is dropped and counted in
    ``dropped``. Nobody ever waits for a reader. After the dispatcher has been closed, what is left
    can be read, and then the stream ends. Of several readers, each letter reaches one.
    """

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._letters: deque[DeadLetter] = deque()
        self._is_complete = False
        self._is_closed = False
        self._readers = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "complete" if self._is_complete else "open"
        return f"<DeadLetters: {len(self)} unread, {self.dropped} dropped, {state}>"

    def __len__(self) -> int:
        return len(self._letters)

    @enable_ki_protection
    async def receive(self) -> DeadLetter:
        """Return the next letter; wait for it. If cancelled, none is lost.

        Raises:
          trio.EndOfChannel: the dispatcher is closed, and all have been read.
          ChannelClosed: this stream was closed with `aclose`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return self.receive_nowait()
            except trio.WouldBlock:
                await self._readers.park()

    def receive_nowait(self) -> DeadLetter:
        """Return the next letter, if there is one.

        Raises:
          trio.WouldBlock: there is none now.
          trio.EndOfChannel, ChannelClosed: as `receive`.
        """
        if self._letters:
            return self._letters.popleft()
        if self._is_closed:
            raise ChannelClosed("this stream of dead letters was closed here")
        if self._is_complete:
            raise trio.EndOfChannel
        raise trio.WouldBlock

    async def aclose(self) -> None:
        """Read no more: letters are counted as dropped from now on."""
        self._is_closed = True
        self.dropped += len(self._letters)
        self._letters.clear()
        self._readers.unpark_all()
        await trio.lowlevel.checkpoint()

    # --- what the dispatcher does ---------------------------------------------------------

    def add(self, letter: DeadLetter) -> None:
        """Put *letter* in, and drop the oldest one if there is no room."""
        if self._is_closed:
            self.dropped += 1
            return
        if len(self._letters) >= self._capacity:
            self._letters.popleft()
            self.dropped += 1
        self._letters.append(letter)
        self._readers.unpark()

    def complete(self) -> None:
        """Say that no more letters will come."""
        self._is_complete = True
        self._readers.unpark_all()
