"""What an algorithm sees of the others: five methods, and what every carrier adds to them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ..errors import CarrierError

Meta = dict[str, Any]
"""What comes with a message: ``sender``, ``message_id`` and what its sender has added."""


class Algorithm(Protocol):
    """What a participant does with a message."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: Meta) -> Any:
        """Handle a message; what is returned is not used."""


class Coordinator(Protocol):
    """What leads the others through a run."""

    async def start_optimization(self, carrier: Any, content: Any, meta: Meta) -> Any:
        """Lead a run that begins with *content*, and return its result."""


def find_start(algorithm: Any) -> Callable[..., Awaitable[Any]]:
    """Return ``start_optimization`` of *algorithm*.

    Raises:
      CarrierError: it has none, so it is no coordinator.
    """
    start: Callable[..., Awaitable[Any]] | None = getattr(algorithm, "start_optimization", None)
    if start is None:
        raise CarrierError(
            f"the coordinator is a {type(algorithm).__name__}, which has no start_optimization"
        )
    return start


class Carrier(ABC):
    """The messages between one participant and the others, whatever transports them.

    The five methods are plain functions, called from asyncio code. None of them waits.
    """

    @abstractmethod
    def send_to_other(self, content: Any, receiver: Any, meta: Meta | None = None) -> Any:
        """Send *content* to *receiver*, one way; return an awaitable.

        *meta* is added to what comes with the message, and may replace it.
        """

    @abstractmethod
    def reply_to_other(self, content: Any, meta: Meta) -> Any:
        """Answer the message that came with *meta*; return an awaitable."""

    @abstractmethod
    def send_awaitable(self, content: Any, receiver: Any, meta: Meta | None = None) -> Any:
        """Send *content* to *receiver*; return a future of the content of its first reply."""

    @abstractmethod
    def others(self, participant_id: Any) -> list[Any]:
        """Return the addresses of all others, in their order; the argument is not used."""

    @abstractmethod
    def get_address(self) -> Any:
        """Return the address of this participant."""

    async def wait_for(self, awaitable: Awaitable[Any] | EventWithValue) -> Any:
        """Wait for an awaitable, or for an `EventWithValue`, and return its value."""
        wait = getattr(awaitable, "wait", None)
        return await (awaitable if wait is None else wait())  # type: ignore[misc]


class EventWithValue:
    """An asyncio event that has a value once it is set."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.value: Any = None

    def __repr__(self) -> str:
        state = f"set to {self.value!r}" if self.event.is_set() else "not set"
        return f"<EventWithValue: {state}>"

    def set(self, value: Any = None) -> None:
        """Set it, and let those who wait have *value*."""
        self.value = value
        self.event.set()

    async def wait(self) -> Any:
        """Wait until it is set; return its value."""
        await self.event.wait()
        return self.value
