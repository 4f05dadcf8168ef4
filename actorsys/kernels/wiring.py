"""What a runtime and the process of a kernel say to each other, over the stream of a context.

Each item is a list with its kind in front. Messages travel as the bytes that `encode_message` has
made when they were sent: what the sender does with its objects later does not matter, a message
that cannot travel fails where it is sent, and neither mailbox has to understand it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..channel import Flow
from ..channel.backlog import Backlog
from ..channel.tick import Flushable
from ..errors import RemoteProtocolError


class ToKernel:
    """What the runtime tells the process of a kernel."""

    MESSAGE = 0  # number, priority, bytes, seconds since accepted, whether a reply is waited for
    GATE = 1  # whether messages may be taken from now on
    TERMINATE = 2  # whether what has arrived shall be handled first
    ROOM = 3  # how many more responses may be sent
    ANSWER = 4  # number of a request, error text or None, bytes or None
    COUNT = 5  # answer with COUNTED
    WATCH = 6  # answer with IDLE once nothing has arrived that is not processed


class ToRuntime:
    """What the process of a kernel tells the runtime.

    Behind the kind stands the number of a message that the kernel has in its hands since, or None.
    """

    TAKEN = 0  # nothing but that
    WANTED = 1  # how many more messages may be sent
    RESPONSE = 2  # bytes, priority, correlation id or None
    GATED = 3  # the gate is as it was told
    REQUEST = 4  # number, verb, name, [bytes, priority, message id], timeout or None
    COUNTED = 5  # the numbers of a tally
    GIVEN_UP = 7  # number of a request whose answer nobody waits for any more
    IDLE = 8  # nothing has arrived that is not processed
    UNREADABLE = 6  # number of a message that nobody here can read, and why


class Wiring(Backlog):
    """One end of the stream between a runtime and a kernel. Sending never waits.

    How much is kept is bounded by the credits that both ends give each other for messages. If the
    link is lost, whoever follows the end of the call gives again what was not taken.
    """

    def __init__(self, flow: Flow, on_item: Callable[[list[Any]], None]) -> None:
        super().__init__(flow)
        self._flusher = flow.channel.flusher
        self._on_item = on_item

    def listen(self) -> None:
        """Pass on what comes from now on, and what came while the link was being opened."""
        self._flow.divert(self._take)

    def _take(self, item: Any) -> None:
        """Pass on what has come; what makes no sense ends the link, and nothing else."""
        try:
            self._on_item(item)
        except Exception as error:
            raise RemoteProtocolError(f"a kernel's link: {error!r}") from error

    def send(self, *item: Any) -> None:
        """Send an item, now or as soon as the stream takes it."""
        frame = self._flow.encode(list(item))
        if len(frame) > 1:
            frame = [b"".join(bytes(part) for part in frame)]
        self.put(frame)

    def remind(self, item: Flushable) -> None:
        """Ask *item* what it has to send when there is nothing else to do, or some ticks later."""
        self._flusher.queue_late(item)
