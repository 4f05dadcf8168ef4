"""Flow control of one stream: the receiver grants bytes, the sender spends them.

Both sides count whole frames, headers included, so they always agree. A sender may send while its
credit is positive; the frame may take it below zero. So an item of any size passes, and what is
under way never exceeds the window by more than one item.
"""

from __future__ import annotations

from ..errors import RemoteProtocolError


class SendCredit:
    """What the peer lets us send."""

    __slots__ = ("available",)

    def __init__(self, window: int) -> None:
        self.available = window

    def __repr__(self) -> str:
        return f"<SendCredit: {self.available} bytes>"

    def spend(self, size: int) -> None:
        """Count a frame that is sent."""
        self.available -= size

    def grant(self, size: int) -> None:
        """Count a grant of the peer."""
        self.available += size


class ReceiveWindow:
    """What we let the peer send, and what of it has been consumed."""

    __slots__ = ("_consumed", "_received", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._received = 0
        self._consumed = 0

    def __repr__(self) -> str:
        return f"<ReceiveWindow: {self._received} of {self._window} bytes unread>"

    def receive(self, size: int) -> None:
        """Count a frame that arrived.

        Raises:
          RemoteProtocolError: the peer had no credit left.
        """
        if self._received >= self._window:
            raise RemoteProtocolError("the peer sent more than it was granted")
        self._received += size

    def consume(self, size: int) -> int:
        """Count a frame that user code took; return what to grant, or 0 for not yet.

        Grants are saved up to half a window, so that they cost few messages.
        """
        self._consumed += size
        if self._consumed * 2 < self._window:
            return 0
        granted, self._consumed = self._consumed, 0
        self._received -= granted
        return granted
