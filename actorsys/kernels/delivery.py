"""The way of a message from the mailbox of a kernel to its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import ActorsysError
from .at_hand import AtHand
from .mailbox import BackpressureStrategy, Mailbox
from .packing import Envelope
from .page import KernelPage
from .ring_kernels import MailboxOptions
from .tally import Counted, counted_in
from .wiring import ToKernel, Wiring

_PREFETCHED = 16  # messages that a kernel has at hand, so that it need not wait for the next one


class Accepted(NamedTuple):
    """A message that was accepted and is not taken."""

    envelope: Envelope
    accepted_at: float
    is_asked: bool


class Delivery:
    """The messages of a kernel, from when they are accepted until its process has taken them.

    Owned by a `Kernel`. They wait here, not in the process: a crash loses none but those that were
    taken. The process has a few at hand, and never one while a better one waits here.

    ``mailbox`` is where they wait; ``wiring`` the link to the process, None while there is none.
    *on_drop* is called with what is dropped because the mailbox is full, *on_unsendable* with what
    cannot travel any more, and why, and *on_drained* when the last one has left the mailbox.
    """

    def __init__(
        self,
        options: MailboxOptions,
        on_drop: Callable[[Accepted], None],
        on_unsendable: Callable[[Accepted, ActorsysError], None],
        on_drained: Callable[[], object],
    ) -> None:
        self.mailbox: Mailbox[Accepted] = Mailbox(
            options.queue_size, options.backpressure, self._pump, on_drop
        )
        self.wiring: Wiring | None = None
        self.is_gate_open = False
        self._on_unsendable = on_unsendable
        self._on_drained = on_drained
        # Where the oldest shall make room, none may have left already.
        keeps_back = options.backpressure is BackpressureStrategy.DROP_OLDEST
        self._prefetched = 0 if keeps_back else min(_PREFETCHED, options.queue_size)
        self._at_hand: AtHand[Accepted] = AtHand()
        self._page = KernelPage.create()
        self._credits = 0
        self._is_pumping = False

    def __repr__(self) -> str:
        gate = "open" if self.is_gate_open else "closed"
        return f"<Delivery: {self.mailbox!r}, {len(self._at_hand)} at hand, gate {gate}>"

    @property
    def is_prefetching(self) -> bool:
        """Whether the process has messages at hand before it asks for them."""
        return bool(self._prefetched)

    @property
    def page_address(self) -> list[int] | None:
        """Where the process notes what it has taken; None if it has to tell before each."""
        return None if self._page is None else list(self._page.address)

    def counted(self) -> Counted:
        """Return what the process has counted in shared memory; nothing if there is none."""
        return Counted() if self._page is None else counted_in(self._page.tally.numbers())

    def forget_counted(self) -> None:
        """Begin anew, since that process is gone."""
        if self._page is not None:
            self._page.tally.clear()

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits in the mailbox."""
        return not self.mailbox.queue

    # --- into and out of the mailbox -----------------------------------------------------

    @enable_ki_protection
    async def put(self, accepted: Accepted) -> None:
        """Put a message into the mailbox, as `Mailbox.put`; past it, if its turn is at once."""
        wiring, mailbox = self.wiring, self.mailbox
        must_wait = not self.is_gate_open or self._credits <= 0 or mailbox.queue or mailbox.is_full
        if wiring is None or must_wait:
            await mailbox.put(accepted, accepted.envelope.priority)
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._give(wiring, accepted, 0.0)

    def link(self, wiring: Wiring) -> None:
        """Deliver over *wiring*, to a process that has nothing yet."""
        self.wiring = wiring
        self._credits = self._prefetched
        wiring.send(ToKernel.GATE, self.is_gate_open)
        self._pump()

    def unlink(self) -> None:
        """Deliver nothing more until there is another process."""
        self.wiring = None

    def set_gate(self, is_open: bool) -> bool:
        """Let messages through or not; return whether that is a change."""
        is_change = self.is_gate_open is not is_open
        if is_change:
            self.is_gate_open = is_open
            if self.wiring is not None:
                self.wiring.send(ToKernel.GATE, is_open)
        self._pump()
        return is_change

    def on_wanted(self, count: int) -> None:
        """Give the process as many more as it wants, and may have.

        Raises:
          ValueError: it has messages at hand without asking, or this is no number of messages.
        """
        if self._prefetched or type(count) is not int or count < 1:
            raise ValueError("a kernel wants messages that it is not to want")
        room = self.mailbox.capacity - len(self._at_hand)
        self._credits = min(max(0, self._credits) + count, room)
        self._pump()

    def _pump(self) -> None:
        """Give the process what it has credit for, and whatever is better than all it has."""
        wiring, queue = self.wiring, self.mailbox.queue
        if wiring is None or not self.is_gate_open or self._is_pumping:
            return
        self._is_pumping = True
        try:
            while queue and (self._credits > 0 or self._at_hand.has_any_below(queue.best)):
                accepted = queue.pop()
                self._give(wiring, accepted, trio.current_time() - accepted.accepted_at)
        finally:
            self._is_pumping = False
        if not queue:
            self._on_drained()

    def _give(self, wiring: Wiring, accepted: Accepted, age: float) -> None:
        """Give the process a message, *age* seconds old; drop one that cannot travel any more."""
        parcel, priority, _ = accepted.envelope
        number = self._at_hand.add(accepted, priority)
        try:
            wiring.send(ToKernel.MESSAGE, number, priority, parcel, age, accepted.is_asked)
        except ActorsysError as error:  # a buffer in it was lost since it was packed
            self._at_hand.remove(number)
            self._on_unsendable(accepted, error)
            self.mailbox.make_room()
            return
        if self._prefetched:
            self.mailbox.held += 1
        self._credits -= 1

    # --- out of the hands of the process -------------------------------------------------

    def find(self, number: int) -> Accepted:
        """Return what the process has at hand as *number*; a KeyError says that it has not."""
        return self._at_hand.find(number)

    def on_taken(self, number: int) -> None:
        """Know that the process has taken *number*: nobody gives it again."""
        self._at_hand.remove(number)
        if self._prefetched:
            self.mailbox.held -= 1
            self._credits += 1
        self.mailbox.make_room()

    def take_back(self) -> set[bytes]:
        """Put what a dead process had at hand in front again; return the ids of all that wait."""
        for accepted in reversed(self._recover()):
            self.mailbox.queue.push_front(accepted, accepted.envelope.priority)
        self.mailbox.make_room()
        return {waiting.envelope.message_id.bytes for waiting in self.mailbox.everything()}

    def clear(self) -> list[Accepted]:
        """Take everything that the process has not taken."""
        return [*self._recover(), *self.mailbox.queue.clear()]

    def _recover(self) -> list[Accepted]:
        """Return what the process had at hand and has not taken."""
        for number in self._page.numbers() if self._page is not None else ():
            self._at_hand.discard(number)
        self.mailbox.held = 0
        return self._at_hand.clear()

    def close(self) -> None:
        """Give its memory back."""
        page, self._page = self._page, None
        if page is not None:
            page.close()
