"""An actor that was not started here, behind a portal: it is reached over a link of its own."""

from __future__ import annotations

from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Channel
from ..errors import ActorUnavailable, LocalProtocolError, Uid
from .introductions import open_direct_link
from .monitor import Down, Monitors
from .portal import PeerState, Portal
from .runtime import Actor


class LinkedPeer:
    """What stands behind the portal to an actor that somebody else has started.

    It is gone for good once its link is lost. `tend` must run from when there is a link.
    """

    def __init__(self, owner: Actor, uid: Uid, pid: int | None) -> None:
        self.owner = owner
        self.uid = uid
        self.pid = pid
        self.monitors = Monitors()
        self.gone: ActorUnavailable | None = None
        self._channel: Channel | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uid[0]!r}: {self.state}>"

    @property
    def state(self) -> PeerState:
        """Whether its link is open, or can be opened."""
        is_lost = self._channel is not None and not self._channel.is_open
        return "gone" if is_lost or self.gone is not None else "alive"

    @property
    def open_channel(self) -> Channel | None:
        """Its link while that is open, or None."""
        channel = self._channel
        return channel if channel is not None and channel.is_open else None

    async def channel(self) -> Channel:
        """Return the open link.

        Raises:
          ActorUnavailable: it is lost; nothing was sent.
        """
        if self.open_channel is not None:
            return self.open_channel
        if self._channel is not None:
            await self._channel.lost.wait()
        raise self._make_error(False)

    async def result(self) -> Any:
        """Refuse: it is no one-shot of this actor."""
        raise LocalProtocolError(f"actor {self.uid[0]!r} was not started here and has no result")

    async def stop(self, grace: float | None) -> None:
        """Refuse: only who has started an actor can stop it."""
        raise LocalProtocolError(
            f"actor {self.uid[0]!r} was not started here; only who has started it can stop it"
        )

    @enable_ki_protection
    async def tend(self) -> None:
        """Wait for the end of the link, and `settle`."""
        assert self._channel is not None
        await self._channel.lost.wait()
        self.settle()

    @enable_ki_protection
    def settle(self) -> None:
        """Tell whoever is concerned, once, that the link has ended."""
        if self.gone is None:
            self.gone = self._make_error(False)
            if self._channel is not None:
                self._channel.fail_calls(self._make_error)
            self.monitors.tell(Down(self.uid, self._make_error(True)))
            self.monitors.close()

    def _make_error(self, may_have_run: bool) -> ActorUnavailable:
        channel = self._channel
        if channel is None:
            return ActorUnavailable(f"actor {self.uid[0]!r} has ended", may_have_run=False)
        reason = channel.reason or channel.outbox.broken
        return ActorUnavailable(
            f"the link to actor {self.uid[0]!r} is lost: {reason}", may_have_run=may_have_run
        )


class RemotePeer(LinkedPeer):
    """An actor of another tree. Owned by `open_link`."""

    def __init__(self, owner: Actor, channel: Channel) -> None:
        super().__init__(owner, channel.session.peer_uid, None)
        self._channel = channel


class FoundPeer(LinkedPeer):
    """An actor of this tree that somebody else has started.

    Its link is opened when it is first used, and kept for as long as both live. Then its tasks,
    in the services of *owner*, own it.
    """

    def __init__(self, owner: Actor, uid: Uid, pid: int | None) -> None:
        super().__init__(owner, uid, pid)
        self.portal = Portal(self)
        self._opening = trio.Lock()

    @enable_ki_protection
    async def channel(self) -> Channel:
        """Return the open link; the first call opens it.

        Raises:
          ActorUnavailable: the actor has ended, or cannot be reached now; nothing was sent.
        """
        async with self._opening:
            if self._channel is None and self.gone is None:
                await self._open()
        return await super().channel()

    @classmethod
    def to(cls, owner: Actor, uid: Uid, pid: int | None) -> FoundPeer:
        """Return the one that *owner* has already, or a new one."""
        peer = owner.found_peers.get(uid)
        if peer is None or peer.state == "gone":
            peer = owner.found_peers[uid] = cls(owner, uid, pid)
        return peer

    async def _open(self) -> None:
        channel = await open_direct_link(self.owner, self.uid)
        if channel is None:
            self.settle()
            return
        self._channel = channel
        self.owner.services.start_soon(self.tend)
