"""A route: the function that sends, and the one task that calls it."""

from __future__ import annotations

import inspect
import reprlib
import typing
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..channel.pacing import Pacing
from ..limits import RoutingLimits
from .accepted import Accepted
from .actor_queue import ActorQueue
from .dead_letters import DeadReason
from .failures import NotAwaitable
from .protocol import RoutedMessage

Send = Callable[[RoutedMessage], Awaitable[Any]]


class Desk(typing.Protocol):
    """Where a route gets its messages, and tells what became of them."""

    def take(self, route: Route) -> None:
        """Give *route* the next message in turn, if there is one, as its ``in_flight``."""

    def on_sent(self, route: Route, value: Any) -> None:
        """Take note that the message in flight was taken, and what was returned."""

    def on_failed(self, route: Route, error: Exception) -> None:
        """Take note that sending it has failed."""

    def on_called_off(self, route: Route) -> None:
        """Take note that it was cancelled."""

    def on_rest(self, route: Route) -> None:
        """Take note that it has nothing to send at present, or has ended."""


class Route:
    """A way to some actors. Its pump takes their messages in turn, one of each actor.

    Attributes:
      ring: the queues of its actors that have something to send, in turn.
      in_flight: the message that is being sent, which is in no queue then.
      is_channel: whether it is the sending end of a channel, which does not come back once broken.
      is_cancel_safe: whether a send that was cancelled has provably not taken its message.
      failure: the error that has closed it.
      is_open: whether it takes messages.
      is_running: whether its pump has not ended.
    """

    def __init__(
        self,
        name: str,
        send: Send,
        *,
        is_channel: bool,
        is_cancel_safe: bool,
        limits: RoutingLimits,
    ) -> None:
        self.name = name
        self.is_channel = is_channel
        self.is_cancel_safe = is_cancel_safe
        self.ring: deque[ActorQueue] = deque()
        self.in_flight: Accepted | None = None
        self.failure: Exception | None = None
        self.is_open = True
        self.is_running = True
        self._send = send
        self._pacing = Pacing(limits.sends_per_checkpoint, limits.checkpoint_seconds)
        self._resting = trio.lowlevel.ParkingLot()
        self._sending = trio.CancelScope()
        self._life = trio.CancelScope()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        if self.failure is not None:
            state = f"closed by {self.failure!r}"
        return f"<Route {self.name!r}: {state}, {len(self.ring)} actors ready>"

    @property
    def is_busy(self) -> bool:
        """Whether it has something to send, or is sending."""
        return bool(self.ring) or self.in_flight is not None

    def enqueue(self, queue: ActorQueue) -> None:
        """Give the first message of *queue* a turn."""
        queue.ring = self
        self.ring.append(queue)
        self._resting.unpark()

    def dequeue(self, queue: ActorQueue) -> None:
        """Take its turn back."""
        self.ring.remove(queue)
        queue.ring = None

    def close(self, failure: Exception | None = None) -> None:
        """Take no further messages; the pump ends when it is done with the one it has."""
        self.is_open = False
        self.failure = failure
        while self.ring:
            self.ring.popleft().ring = None
        self._resting.unpark_all()

    def call_off(self, verdict: DeadReason | None) -> None:
        """Cancel the send under way; its message becomes *verdict*, or waits again for None."""
        if self.in_flight is not None:
            self.in_flight.call_off(verdict)
            self._sending.cancel()

    def stop(self) -> None:
        """Cancel the pump, and the send under way."""
        self.close(self.failure)
        self._life.cancel()

    async def run(self, desk: Desk) -> None:
        """Be the pump, until the route is closed or cancelled."""
        try:
            with self._life:
                while self.is_open:
                    if self.ring:
                        await self._send_all(desk)
                    else:
                        desk.on_rest(self)
                        await self._resting.park()
        except trio.Cancelled:
            raise
        except BaseException as error:
            error.add_note(f"in the pump of route {self.name!r}")
            raise
        finally:
            self.is_running = False
            desk.on_rest(self)

    async def _send_all(self, desk: Desk) -> None:
        """Send until nothing is left, or the send under way is called off."""
        self._pacing.begin()
        self._sending = trio.CancelScope()
        with self._sending:
            try:
                while self.ring and not self._sending.cancel_called:
                    await self._send_next(desk)
                    if self._pacing.is_pause_due():
                        await self._pacing.pause()
            finally:
                if self.in_flight is not None:
                    desk.on_called_off(self)

    async def _send_next(self, desk: Desk) -> None:
        desk.take(self)
        if self.in_flight is None:
            return
        try:
            sending = self._send(self.in_flight.message)
            if not hasattr(sending, "__await__") and not inspect.isawaitable(sending):
                raise NotAwaitable(
                    f"the function of route {self.name!r} has returned {reprlib.repr(sending)}, "
                    f"which cannot be awaited; a route is an async function"
                )
            value = await sending
        except Exception as error:
            if self.in_flight is not None:  # else it was given up meanwhile, by `abandon`
                desk.on_failed(self, error)
        else:
            if self.in_flight is not None:
                desk.on_sent(self, value)


def sender_of(send: Any) -> tuple[Send, bool]:
    """Return the function that sends, and whether it is a channel's.

    Raises:
      TypeError: it is neither a function nor an object with a method ``send``.
    """
    is_channel = isinstance(send, trio.abc.SendChannel)
    if not is_channel and callable(send):
        return send, False
    method = getattr(send, "send", None)
    if not callable(method):
        raise TypeError(
            f"a route sends with an async function that takes a RoutedMessage, or with an object "
            f"that has one as its .send, such as a stream; not with {send!r}"
        )
    return method, is_channel
