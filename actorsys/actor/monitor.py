"""Learn of deaths: each one exactly once."""

from __future__ import annotations

import copy
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from ..errors import ActorUnavailable, LocalProtocolError, Uid
from .current import current_actor
from .portal import Portal


class Down(NamedTuple):
    """One death: whose, and why."""

    uid: Uid
    reason: ActorUnavailable


class Monitors:
    """Who wants to know of the deaths of one actor. Owned by what stands behind its portal."""

    def __init__(self) -> None:
        self._senders: list[trio.MemorySendChannel[Down]] = []

    def __repr__(self) -> str:
        return f"<Monitors: {len(self._senders)}>"

    def open(self) -> tuple[trio.MemorySendChannel[Down], trio.MemoryReceiveChannel[Down]]:
        """Add one; closing the sending end removes it."""
        # Unbounded in name only: an actor dies no more often than its nursery restarts it.
        sender, receiver = trio.open_memory_channel[Down](math.inf)
        self._senders.append(sender)
        return sender, receiver

    def remove(self, sender: trio.MemorySendChannel[Down]) -> None:
        """Remove one; it is told nothing more."""
        if sender in self._senders:
            self._senders.remove(sender)
        sender.close()

    def tell(self, down: Down) -> bool:
        """Tell everybody of a death; return whether there was anybody."""
        for sender in self._senders:
            sender.send_nowait(down)
        return bool(self._senders)

    def close(self) -> None:
        """There will be no more deaths: let everybody come to an end."""
        for sender in self._senders:
            sender.close()
        self._senders.clear()


@asynccontextmanager
async def monitor(portal: Portal) -> AsyncIterator[trio.MemoryReceiveChannel[Down]]:
    """Watch the actor behind *portal*: yield a channel with one `Down` for each of its deaths.

    It goes on across restarts, and ends when the actor will not come back. A death that a monitor
    was told of does not fail the nursery as well.

    Raises:
      TypeError: *portal* is none.
      LocalProtocolError: it belongs to another actor; only that one can monitor it.
      ActorUnavailable: the actor is gone already, and will not come back.
      NoRuntime: there is no actor runtime here.
    """
    if not isinstance(portal, Portal):
        raise TypeError(f"monitor takes a portal, not {portal!r}")
    actor = current_actor()
    peer = portal.peer
    if peer.owner is not actor:
        raise LocalProtocolError(
            f"{portal!r} belongs to actor {peer.owner.name!r}; only there can it be monitored, "
            f"and this is {actor.name!r}"
        )
    if peer.gone is not None:
        gone = copy.copy(peer.gone)
        gone.may_have_run = False
        raise gone
    if peer.open_channel is None and peer.state == "alive":
        await peer.channel()  # of an actor that was found: without a link its end is not seen
    sender, receiver = peer.monitors.open()
    try:
        yield receiver
    finally:
        peer.monitors.remove(sender)
        receiver.close()
