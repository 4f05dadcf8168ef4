"""A link to an actor of another tree, and the portal to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from trio.lowlevel import enable_ki_protection

from ..channel import Channel, Exposure, connect_channel
from ..errors import ActorUnavailable, LocalProtocolError, Uid
from ..transport import Tls, connect
from ..wire import Credentials
from .current import current_actor
from .endpoint import check_key
from .monitor import Down, Monitors
from .portal import PeerState, Portal
from .runtime import Actor, check_name, open_services
from .serve import make_channel


class RemotePeer:
    """What stands behind the portal to an actor of another tree. Owned by `open_link`."""

    def __init__(self, owner: Actor, channel: Channel) -> None:
        self.owner = owner
        self.monitors = Monitors()
        self.gone: ActorUnavailable | None = None
        self.pid: int | None = None
        self._channel = channel

    def __repr__(self) -> str:
        return f"<RemotePeer {self.uid[0]!r}: {self.state}>"

    @property
    def uid(self) -> Uid:
        """Who it has proved to be."""
        return self._channel.session.peer_uid

    @property
    def state(self) -> PeerState:
        """Whether its link is open."""
        return "alive" if self.open_channel is not None else "gone"

    @property
    def open_channel(self) -> Channel | None:
        """Its link while that is open, or None."""
        return self._channel if self._channel.is_open else None

    async def channel(self) -> Channel:
        """Return the open link.

        Raises:
          ActorUnavailable: it is lost; nothing was sent.
        """
        await self._channel.lost.wait()
        raise self._make_error(False)

    async def result(self) -> Any:
        """Refuse: it is no one-shot."""
        raise LocalProtocolError(f"actor {self.uid[0]!r} was not started here and has no result")

    async def stop(self, grace: float | None) -> None:
        """Refuse: only who has started an actor can stop it."""
        raise LocalProtocolError(
            f"actor {self.uid[0]!r} was not started here; only its own tree can stop it"
        )

    @enable_ki_protection
    async def tend(self) -> None:
        """Wait for the end of the link, and `settle`."""
        await self._channel.lost.wait()
        self.settle()

    @enable_ki_protection
    def settle(self) -> None:
        """Tell whoever is concerned, once, that the link has ended."""
        if self.gone is None:
            self.gone = self._make_error(False)
            self._channel.fail_calls(self._make_error)
            self.monitors.tell(Down(self.uid, self._make_error(True)))
            self.monitors.close()

    def _make_error(self, may_have_run: bool) -> ActorUnavailable:
        reason = self._channel.reason or self._channel.outbox.broken
        return ActorUnavailable(
            f"the link to actor {self.uid[0]!r} is lost: {reason}", may_have_run=may_have_run
        )


@asynccontextmanager
@enable_ki_protection
async def open_link(
    address: str, *, key: bytes, name: str | None = None, tls: Tls | None = None
) -> AsyncIterator[Portal]:
    """Connect to an endpoint of another tree and yield a portal to its actor.

    *key* is what the endpoint's allow-list has for *name*, by default the name of this actor. When
    the link is lost, calls in flight raise `ActorUnavailable`; it is not opened again by itself.
    A peer that falls silent is noticed after 4 to 5 s.

    Raises:
      OSError: nobody listens there.
      HandshakeError: the two ends do not accept each other.
      NoRuntime: there is no actor runtime here.
    """
    actor = current_actor()
    check_key(key)
    limits = actor.limits
    own_uid = (actor.name if name is None else name, actor.uid[1])
    check_name(own_uid[0], limits)
    transport = await connect(address, tls)
    session, rest = await connect_channel(transport, Credentials(own_uid, lambda _: key), limits)
    channel = make_channel(actor, (transport, session, rest), Exposure(), is_remote=True)
    peer = RemotePeer(actor, channel)
    try:
        async with open_services() as services:
            services.start_soon(actor.run_channel, channel)
            services.start_soon(peer.tend)
            yield Portal(peer)
    finally:
        peer.settle()
