"""The calls of one link, both ways, by cid.

A cid is a number in hexadecimal. The end that connected counts 1, 3, 5, ..., the other end 2, 4,
6, ...; each only grows. So the two directions never meet, a reused cid is known without a memory
of old ones, and one whose call has ended is told from one that never was.
"""

from __future__ import annotations

from typing import Union

from ..errors import RemoteProtocolError
from .call import IncomingCall, OutgoingCall
from .waiters import Waiters

AnyCall = Union[OutgoingCall, IncomingCall]


class CallTable:
    """Which cids are in use. Changed by callers, by the reader, and by ended calls."""

    def __init__(self, *, is_client: bool) -> None:
        self.calls: dict[str, AnyCall] = {}
        self.received_count = 0
        self._next = 1 if is_client else 2
        self._last_received = 0 if is_client else -1
        self._incoming_count = 0
        self._idle = Waiters()

    def __repr__(self) -> str:
        return f"<CallTable: {len(self.calls)} in flight>"

    @property
    def made_count(self) -> int:
        """How many cids were taken for calls of our own."""
        return (self._next - 1) // 2

    def take_cid(self) -> str:
        """Return the cid for a new call of our own."""
        number = self._next
        self._next = number + 2
        return f"{number:x}"

    def check_received_cid(self, cid: str) -> None:
        """Take note of a call of the peer.

        Raises:
          RemoteProtocolError: the cid was used before, or is not the peer's to use.
        """
        number = _number(cid)
        if number % 2 == self._next % 2 or number <= self._last_received:
            raise RemoteProtocolError("a cid was used twice, or belongs to the other side")
        self._last_received = number
        self.received_count += 1

    def was_used(self, cid: str) -> bool:
        """Tell whether there has ever been a call *cid*.

        Raises:
          RemoteProtocolError: it is no cid at all.
        """
        number = _number(cid)
        if number % 2 == self._next % 2:
            return number < self._next
        return number <= self._last_received

    def add(self, call: AnyCall) -> None:
        """Put *call* in; `forget` takes it out."""
        self.calls[call.cid] = call
        self._incoming_count += type(call) is IncomingCall

    def forget(self, cid: str) -> None:
        """Take a call out, if it is still in; what may still come for it is dropped."""
        call = self.calls.pop(cid, None)
        if type(call) is IncomingCall:
            self._incoming_count -= 1
            if not self._incoming_count:
                self._idle.wake()

    def outgoing(self) -> list[OutgoingCall]:
        """Return the calls that we made."""
        return [call for call in self.calls.values() if isinstance(call, OutgoingCall)]

    def incoming(self) -> list[IncomingCall]:
        """Return the calls that the peer made."""
        return [call for call in self.calls.values() if isinstance(call, IncomingCall)]

    async def wait_idle(self) -> None:
        """Wait until no call of the peer is running."""
        while self._incoming_count:
            await self._idle.wait()


def _number(cid: str) -> int:
    try:
        number = int(cid, 16)
    except ValueError:
        number = 0
    if number < 1 or f"{number:x}" != cid:
        raise RemoteProtocolError("a cid is a positive number in lower-case hexadecimal")
    return number
