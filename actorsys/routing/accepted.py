"""One message between its acceptance and its end, and whoever waits for that end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..errors import DeadLettered, DeadlineExceeded
from .dead_letters import DeadLetter, DeadReason

if TYPE_CHECKING:
    from .actor_queue import ActorQueue
    from .protocol import RoutedMessage
    from .route import Route


class Reply:
    """What a `request` waits for: what its route has returned, or its dead letter."""

    def __init__(self) -> None:
        self._value: Any = None
        self._letter: DeadLetter | None = None
        self._done = trio.Event()

    def __repr__(self) -> str:
        return f"<Reply: {'there' if self._done.is_set() else 'awaited'}>"

    async def wait(self) -> Any:
        """Return what the route has returned.

        Raises:
          DeadLettered: the message was not delivered; DeadlineExceeded, if it was not in time.
        """
        await self._done.wait()
        letter = self._letter
        if letter is None:
            return self._value
        kind = DeadlineExceeded if letter.reason is DeadReason.EXPIRED else DeadLettered
        message = letter.message
        raise kind(
            f"{message.protocol.name} for actor {message.actor_id!r} was not delivered: "
            f"{letter.reason}, after {letter.age:.3g} s and {letter.attempts} attempts",
            letter=letter,
        ) from letter.error

    def set(self, value: Any) -> None:
        """Take what the route has returned."""
        self._value = value
        self._done.set()

    def fail(self, letter: DeadLetter) -> None:
        """Take the dead letter."""
        self._letter = letter
        self._done.set()


class Accepted:
    """A message that was accepted. Owned by the queue of its actor, or by the route that sends it.

    ``route`` is the last that was given it. When its sending is called off, ``verdict`` says what
    it is to become: dead for this reason, or, for None, the first in its queue again. ``error`` is
    the last that a route has raised for it.
    """

    __slots__ = (
        "accepted_at",
        "attempts",
        "error",
        "expires_at",
        "is_called_off",
        "is_control",
        "is_settled",
        "message",
        "queue",
        "reply",
        "route",
        "verdict",
    )

    def __init__(
        self,
        message: RoutedMessage,
        queue: ActorQueue,
        accepted_at: float,
        expires_at: float,
        is_control: bool,
        reply: Reply | None,
    ) -> None:
        self.message = message
        self.queue = queue
        self.accepted_at = accepted_at
        self.expires_at = expires_at
        self.is_control = is_control
        self.reply = reply
        self.route: Route | None = None
        self.attempts = 0
        self.error: Exception | None = None
        self.is_settled = False
        self.is_called_off = False
        self.verdict: DeadReason | None = None

    def __repr__(self) -> str:
        what = "settled" if self.is_settled else repr(self.message)
        return f"<Accepted {what}: {self.attempts} attempts>"

    def call_off(self, verdict: DeadReason | None) -> None:
        """Say that its sending is to be cancelled, and what it is to become; a reason stays."""
        self.is_called_off = True
        self.verdict = self.verdict or verdict

    def settle(self) -> None:
        """Say that it has come to its end. Its message is let go, whoever still knows of it."""
        self.is_settled = True
        self.message = None  # type: ignore[assignment]  # nobody reads what is settled
