"""Who waits for a reply of a kernel, and which replies nobody waits for any more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container

from ..actor.parcels import Parcel
from ..channel.waiters import Wait, Waiters

_MAX_LATE = 10_000  # replies that are owed to nobody any more; an older one would be a response


class Ask:
    """Somebody who waits, by *wait*, for the reply to the message with the id *key*."""

    def __init__(self, key: bytes, wait: Wait) -> None:
        self.key = key
        self.is_sent = False
        self.has_ended = False
        self._reply: Parcel | Exception = b""
        self._wait = wait
        self._done = Waiters()

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "sent" if self.is_sent else "not sent"
        return f"<Ask {self.key.hex()}: {state}>"

    async def wait(self) -> Parcel:
        """Return the reply, packed, or raise why there is none."""
        while not self.has_ended:
            await self._wait(self._done)
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply

    def end(self, reply: Parcel | Exception) -> None:
        """Take the reply, or why there will be none; the first one counts."""
        if not self.has_ended:
            self.has_ended = True
            self._reply = reply
            self._done.wake()


class Asks:
    """The asks of one kernel, by the id of their message. Owned by a `Kernel`.

    *wait* waits for what its process sends.
    """

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._waiting: dict[bytes, Ask] = {}
        self._late: OrderedDict[bytes, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Asks: {len(self._waiting)} waiting, {len(self._late)} given up>"

    def open(self, key: bytes) -> Ask:
        """Wait for the reply to the message *key* from now on, until `close`.

        Raises:
          ValueError: somebody does so already.
        """
        if key in self._waiting:
            raise ValueError(f"somebody waits for the reply to message {key.hex()} already")
        ask = self._waiting[key] = Ask(key, self._wait)
        return ask

    def close(self, ask: Ask) -> None:
        """Wait no more; if it was sent and has not ended, its reply comes late."""
        del self._waiting[ask.key]
        if ask.is_sent and not ask.has_ended:
            self._late[ask.key] = None
            if len(self._late) > _MAX_LATE:
                self._late.popitem(last=False)

    def answer(self, key: bytes, reply: Parcel | Exception) -> bool:
        """End the ask for *key*; return whether there is one that has not ended."""
        ask = self._waiting.get(key)
        if ask is None or ask.has_ended:
            return False
        ask.end(reply)
        return True

    def forget_late(self, key: bytes) -> bool:
        """Return whether a reply to *key* comes late. There is one at most, and it is this one."""
        if key not in self._late:
            return False
        del self._late[key]
        return True

    def end_all(self, make_error: Callable[[], Exception], but: Container[bytes] = ()) -> None:
        """Raise an error at everybody who waits, *but* for these."""
        for key, ask in self._waiting.items():
            if key not in but:
                ask.end(make_error())
