"""Connections that go wrong: cut, slow, in pieces, stuck, or silent.

Put a `FaultyTransport` around one end of a connection and steer it while it is used::

    faults = Faults(random.Random(seed))
    transport = FaultyTransport(inner, faults)
    faults.split()                    # bytes arrive in small pieces
    faults.outgoing.delay(0.2)        # what is sent takes 0.2 s
    faults.incoming.cut(after=100)    # after 100 more bytes from the peer, it is over

Times are trio's, so a mock clock works. Every random choice comes from the one source given.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .faulty_transport import FaultyTransport

_PIECE_BYTES = (1, 16, 256, 4096)
"""How long pieces are at most, each as likely: headers are cut in two, and large values still
come through in a reasonable number of pieces."""


class Direction:
    """What goes wrong with the bytes of one direction, from now on.

    Attributes:
      is_split, is_stalled, is_swallowing: what is switched on.
      delay_seconds: least and greatest delay.
    """

    def __init__(self, chance: random.Random, cut: Callable[[], None]) -> None:
        self.is_split = False
        self.is_stalled = False
        self.is_swallowing = False
        self.delay_seconds = (0.0, 0.0)
        self._chance = chance
        self._cut = cut
        self._bytes_left: int | None = None
        self._watchers: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        names = ("split", "stalled", "swallowing")
        found = [name for name in names if getattr(self, f"is_{name}")]
        if self._bytes_left is not None:
            found.append(f"cut in {self._bytes_left} bytes")
        if self.is_delaying:
            found.append("delayed by {} to {} s".format(*self.delay_seconds))
        return f"<Direction: {', '.join(found) or 'sound'}>"

    @property
    def is_delaying(self) -> bool:
        """Whether bytes take any time."""
        return self.delay_seconds[1] > 0

    # --- switching -----------------------------------------------------------------------

    def cut(self, after: int = 0) -> None:
        """Cut the connection when *after* more bytes have passed in this direction."""
        if after < 0:
            raise ValueError(f"a cut comes after 0 bytes or more, not {after}")
        self._bytes_left = after
        if not after:
            self._cut()

    def delay(self, least: float, most: float | None = None) -> None:
        """Let bytes take from *least* to *most* seconds, *least* unless given; they keep order."""
        most = least if most is None else most
        if not 0 <= least <= most < math.inf:
            raise ValueError(f"a delay is from 0 s up, least before most, not {least} to {most}")
        self.delay_seconds = (least, most)
        self.wake()

    def split(self) -> None:
        """Let bytes pass in small pieces of random length."""
        self.is_split = True

    def stall(self) -> None:
        """Take no more bytes, as a peer that does not read; nothing is lost."""
        self.is_stalled = True
        self.wake()

    def swallow(self) -> None:
        """Take all bytes, and the end of the stream, and pass nothing on: a black hole.

        The bytes are lost, so a stream that is healed afterwards has a gap.
        """
        self.is_swallowing = True
        self.wake()

    def heal(self) -> None:
        """Switch everything off; a cut that has happened stays."""
        self.is_split = self.is_stalled = self.is_swallowing = False
        self.delay_seconds = (0.0, 0.0)
        self._bytes_left = None
        self.wake()

    # --- what a transport asks -----------------------------------------------------------

    def grant(self, wanted: int) -> int:
        """Return how many of *wanted* bytes may pass at once, at least one."""
        if self.is_split:
            wanted = min(wanted, self._chance.randint(1, self._chance.choice(_PIECE_BYTES)))
        return wanted if self._bytes_left is None else min(wanted, self._bytes_left)

    def count(self, passed: int) -> None:
        """Take note that bytes have passed; this may cut the connection."""
        if self._bytes_left is not None and passed:
            self.cut(self._bytes_left - passed)

    def due(self) -> float:
        """Return when bytes that set out now arrive."""
        return trio.current_time() + self._chance.uniform(*self.delay_seconds)

    async def watch(
        self, wait: Callable[[], Awaitable[object]], deadline: float = math.inf
    ) -> bool:
        """Await *wait*; False if the faults have changed, or the deadline has passed, before."""
        with trio.CancelScope(deadline=deadline) as scope:
            self._watchers.add(scope)
            try:
                await wait()
                return True
            finally:
                self._watchers.discard(scope)
        return False

    def wake(self) -> None:
        """Have whoever waits look again, also when called between two scheduler passes."""
        if self._watchers:
            for scope in self._watchers:
                scope.cancel()
            # Without this the loop may already be on its way to sleep.
            trio.lowlevel.current_trio_token().run_sync_soon(_nothing, idempotent=True)


def _nothing() -> None:
    """Make the scheduler take one more turn."""


class Faults:
    """What goes wrong with a connection: ``outgoing`` and ``incoming``, seen from its near end.

    Its methods do to both directions what those of a `Direction` do to one. They may be called at
    any time from trio's thread. Transports that share one fail together.
    """

    def __init__(self, chance: random.Random) -> None:
        self.is_cut = False
        self.outgoing = Direction(chance, self.cut)
        self.incoming = Direction(chance, self.cut)
        self._transports: list[FaultyTransport] = []

    def __repr__(self) -> str:
        state = "cut" if self.is_cut else f"out {self.outgoing!r}, in {self.incoming!r}"
        return f"<Faults: {state}>"

    def cut(self) -> None:
        """Cut the connection now.

        Whoever uses the near end gets `trio.BrokenResourceError`; the far end is closed. What was
        on its way, or not yet received, may be lost.
        """
        if not self.is_cut:
            self.is_cut = True
            self._wake()
            for transport in self._transports:
                transport.close_inner_soon()

    def delay(self, least: float, most: float | None = None) -> None:
        """Let bytes take from *least* to *most* seconds."""
        self.outgoing.delay(least, most)
        self.incoming.delay(least, most)

    def split(self) -> None:
        """Let bytes pass in small pieces of random length."""
        self.outgoing.split()
        self.incoming.split()

    def stall(self) -> None:
        """Take no more bytes; nothing is lost."""
        self.outgoing.stall()
        self.incoming.stall()

    def swallow(self) -> None:
        """Take all bytes and pass nothing on."""
        self.outgoing.swallow()
        self.incoming.swallow()

    def heal(self) -> None:
        """Switch everything off; a cut that has happened stays."""
        self.outgoing.heal()
        self.incoming.heal()

    def attach(self, transport: FaultyTransport) -> None:
        """Let these be the faults of *transport*."""
        self._transports.append(transport)

    def detach(self, transport: FaultyTransport) -> None:
        """Forget *transport*, which is being closed."""
        if transport in self._transports:
            self._transports.remove(transport)
        self._wake()

    def _wake(self) -> None:
        self.outgoing.wake()
        self.incoming.wake()
