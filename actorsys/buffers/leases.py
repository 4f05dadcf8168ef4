"""Who was lent what over one link.

The kernel's locks keep memory from being used again under somebody (`block`). Leases tell in time:
what was lent comes back as soon as it is not used any more, not when it is looked for.

A lease is *pending* from when a buffer is put into a frame, *accepted* once the peer has it open,
and over when the peer *releases* it, or when it is *revoked* because the link has ended. To hand on
what was borrowed makes another lease (a *fork*): the first one stays until that is over as well.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from ..channel import Channel
from ..channel.waiters import Waiters
from ..errors import RemoteProtocolError
from .codes import NOTE
from .holding import Holding

_NOTED_AT_ONCE = 40  # two lists of so many fit into the smallest message that a peer may announce


class LeaseState(enum.Enum):
    """Where a lease is in its life."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    RELEASED = "released"
    REVOKED = "revoked"


class Lease:
    """A buffer that a peer may use. Owned by the `Ledger` of the link to it."""

    __slots__ = ("holding", "number", "state")

    def __init__(self, number: int, holding: Holding) -> None:
        self.number = number
        self.holding = holding
        self.state = LeaseState.PENDING
        holding.grab()

    def __repr__(self) -> str:
        return f"<Lease {self.number}: {self.state.value}, {self.holding!r}>"

    def end(self, state: LeaseState) -> None:
        """Let the buffer go; once."""
        self.state = state
        self.holding.drop()


class Ledger:
    """What was lent and borrowed over one link. Owned by the `BufferStore` of an actor.

    *before_notes* is called before notes are sent: there may be more to note then.
    """

    def __init__(self, channel: Channel, before_notes: Callable[[], None]) -> None:
        self.channel = channel
        self._before_notes = before_notes
        self._lent: dict[int, Lease] = {}
        self._next_number = 0
        self._accepted: list[int] = []
        self._released: list[int] = []
        self._has_notes = False
        self._is_closed = False
        self._changed = Waiters()

    def __repr__(self) -> str:
        return f"<Ledger of {self.channel!r}: {len(self._lent)} leases>"

    # --- as the lender -------------------------------------------------------------------

    def lend(self, holding: Holding) -> Lease:
        """Lend a buffer to the peer; `take_back` if that is not told."""
        lease = Lease(self._next_number, holding)
        self._next_number += 1
        self._lent[lease.number] = lease
        return lease

    def take_back(self, lease: Lease) -> None:
        """End a lease that the peer was never told of."""
        if self._lent.pop(lease.number, None) is not None:
            lease.end(LeaseState.RELEASED)

    def has_lent(self, holding: Holding) -> bool:
        """Tell whether the peer has a lease of it."""
        return any(lease.holding is holding for lease in self._lent.values())

    def on_note(self, note: dict[str, Any]) -> None:
        """Take note of what the peer does with what it was lent.

        Raises:
          RemoteProtocolError: it was not lent that.
        """
        for number in note.get("accepted", ()):
            lease = self._find(number)
            if lease.state is not LeaseState.PENDING:
                raise RemoteProtocolError(f"lease {number} is accepted twice")
            lease.state = LeaseState.ACCEPTED
        for number in note.get("released", ()):
            self._find(number).end(LeaseState.RELEASED)
            del self._lent[number]
        self._changed.wake_soon()

    async def wait_accepted(self) -> None:
        """Wait until the peer has everything open that it was lent, or the link has ended."""
        while any(lease.state is LeaseState.PENDING for lease in self._lent.values()):
            await self._changed.wait()

    def _find(self, number: Any) -> Lease:
        lease = self._lent.get(number) if type(number) is int else None
        if lease is None:
            raise RemoteProtocolError("a note about a buffer that was not lent over this link")
        return lease

    def states(self) -> list[LeaseState]:
        """Return the states of what is lent."""
        return [lease.state for lease in self._lent.values()]

    # --- as the borrower -----------------------------------------------------------------

    def accept(self, number: int) -> None:
        """Tell the lender that we have it."""
        self._accepted.append(number)
        self._note()

    def give_back(self, number: int) -> None:
        """Tell the lender that we do not need it any more."""
        if number in self._accepted:
            self._accepted.remove(number)  # it was so short that one word is enough
        self._released.append(number)
        self._note()

    def _note(self) -> None:
        if not self._has_notes:
            self._has_notes = True
            self.channel.join_next_write(self)

    def end_tick(self) -> None:
        """Send the notes there are."""
        if not self._has_notes:
            return
        self._before_notes()
        self._has_notes = False
        accepted, self._accepted = self._accepted, []
        released, self._released = self._released, []
        for start in range(0, max(len(accepted), len(released)), _NOTED_AT_ONCE):
            part = slice(start, start + _NOTED_AT_ONCE)
            if not self._is_closed:
                note = {"accepted": accepted[part], "released": released[part]}
                self.channel.send_runtime_call(NOTE, note)

    # --- its end -------------------------------------------------------------------------

    def close(self) -> None:
        """Revoke everything: the link has ended."""
        self._is_closed = True
        lent, self._lent = self._lent, {}
        for lease in lent.values():
            lease.end(LeaseState.REVOKED)
        self._changed.wake_soon()
