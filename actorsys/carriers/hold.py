"""What goes on in a participant although no handler runs."""

from __future__ import annotations

from .frames import ToHub
from .outgoing import Outgoing


class Hold:
    """Something that is under way although no handler runs; the run is not quiescent meanwhile.

    It counts from when `HubCarrier.hold` is called until `release`, or the end of a ``with`` block.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._is_released = False
        outgoing.tell(ToHub.HOLD, 1)

    def __repr__(self) -> str:
        return f"<Hold: {'released' if self._is_released else 'held'}>"

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Count it no more; nothing happens the second time."""
        if not self._is_released:
            self._is_released = True
            self._outgoing.tell(ToHub.HOLD, -1)
