"""A link to an actor of another tree, and the portal to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trio.lowlevel import enable_ki_protection

from ..channel import Exposure, connect_channel
from ..transport import connect
from ..transport.tls import Tls
from ..wire import Credentials
from .current import current_actor
from .endpoint import check_key
from .linked_peer import RemotePeer
from .portal import Portal
from .runtime import check_name, open_services
from .serve import make_channel


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
