"""Routes that note what they are given, and can be full, slow or broken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from actorsys import DeadLetter, Protocol, RoutedMessage, RouterDispatcher

ASK = Protocol.REQUEST_INFERENCE
UPDATE = Protocol.MODEL_UPDATE


class Receiver:
    """The far end of a route: a function that notes the messages it is given.

    ``errors`` are raised in place of the next messages; while it is shut, messages wait in it.
    """

    def __init__(self) -> None:
        self.messages: list[RoutedMessage] = []
        self.times: list[float] = []
        self.errors: list[BaseException] = []
        self.held: RoutedMessage | None = None
        self._gate = trio.Event()
        self._gate.set()

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.messages]

    def of(self, actor_id: Any) -> list[Any]:
        """Return the payloads for one actor."""
        return [m.payload for m in self.messages if m.actor_id == actor_id]

    def shut(self) -> None:
        self._gate = trio.Event()

    def open(self) -> None:
        self._gate.set()

    async def __call__(self, message: RoutedMessage) -> str:
        """Take *message*, and answer."""
        self.times.append(trio.current_time())
        self.held = message
        try:
            await self._gate.wait()
        finally:
            self.held = None
        if self.errors:
            raise self.errors.pop(0)
        self.messages.append(message)
        return f"answer to {message.payload}"


class Channel(Receiver, trio.abc.SendChannel[RoutedMessage]):
    """The same as a channel: a send that was cancelled has not taken its message."""

    async def send(self, value: RoutedMessage) -> None:
        await self(value)

    async def aclose(self) -> None:
        pass


def ask(actor_id: Any, payload: Any = None, **options: Any) -> RoutedMessage:
    """Return a message of the kind with the shortest deadline."""
    return RoutedMessage(actor_id, ASK, payload, **options)


async def dispatch_all(
    dispatcher: RouterDispatcher, actor_id: Any, payloads: Iterable[Any]
) -> None:
    """Dispatch a message for each payload, and let the dispatcher come to rest."""
    for payload in payloads:
        await dispatcher.dispatch(ask(actor_id, payload))
    await wait_all_tasks_blocked()


async def later(seconds: float) -> None:
    """Let *seconds* pass, and all that is due then happen."""
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()


def letters_of(dispatcher: RouterDispatcher) -> list[DeadLetter]:
    """Return the dead letters there are, and take them out."""
    return [dispatcher.dead_letters.receive_nowait() for _ in range(len(dispatcher.dead_letters))]


def reasons_of(dispatcher: RouterDispatcher) -> list[tuple[Any, str]]:
    """Return payload and reason of the dead letters there are, and take them out."""
    return [(letter.message.payload, str(letter.reason)) for letter in letters_of(dispatcher)]


def is_balanced(dispatcher: RouterDispatcher) -> bool:
    """Tell whether each message that was accepted is delivered, dead or pending."""
    counts = dispatcher.statistics()
    return counts.accepted == counts.delivered + counts.dead + counts.pending
