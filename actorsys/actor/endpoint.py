"""Where other trees connect: an address, the functions it offers, and who may call them."""

from __future__ import annotations

import logging
import sys
import types
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Channel, Exposure
from ..errors import Uid
from ..transport import Transport, is_local, listen_at
from ..transport.tls import Tls
from ..wire import Credentials, Session
from ..wire.handshake import KEY_BYTES
from .current import current_actor
from .door import Door
from .runtime import Actor, open_services
from .serve import make_channel

logger = logging.getLogger("actorsys.endpoint")


class Endpoint:
    """An open endpoint of this actor. ``address`` is what peers need to connect."""

    def __init__(
        self, actor: Actor, exposure: Exposure, allow: Mapping[str, bytes], links: trio.Nursery
    ) -> None:
        self.address = ""
        self._actor = actor
        self._exposure = exposure
        self._allow = dict(allow)
        self._links = links
        self._channels: set[Channel] = set()

    def __repr__(self) -> str:
        return f"<Endpoint at {self.address}: {len(self._channels)} links>"

    @property
    def peers(self) -> tuple[Uid, ...]:
        """Who is connected right now."""
        return tuple(channel.session.peer_uid for channel in self._channels)

    def key_of(self, uid: Uid) -> bytes | None:
        """Return the key of a peer on the allow-list, or None."""
        return self._allow.get(uid[0])

    def admit(self, transport: Transport, session: Session, rest: bytes) -> bool:
        """Take the connection of a peer that has proved its name, unless it has too many."""
        limits = self._actor.limits
        counts = Counter(name for name, _ in self.peers)
        if counts[session.peer_uid[0]] >= limits.max_links_per_peer:
            logger.warning(
                "%r has %d links already (limits.max_links_per_peer)",
                session.peer_uid[0],
                limits.max_links_per_peer,
            )
            return False
        connection = transport, session, rest
        channel = make_channel(self._actor, connection, self._exposure, is_remote=True)
        self._channels.add(channel)
        self._links.start_soon(self._serve, channel)
        return True

    @enable_ki_protection
    async def _serve(self, channel: Channel) -> None:
        try:
            await self._actor.run_channel(channel)
        finally:
            self._channels.discard(channel)

    @enable_ki_protection
    async def end_calls(self) -> None:
        """Cancel what peers have called, and tell them, for as long as a clean-up may take."""
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + self._actor.limits.cancel_ack_seconds
            for channel in self._channels:
                channel.cancel_incoming(self._actor.uid, "the endpoint was closed")
            for channel in list(self._channels):
                await channel.table.wait_idle()
                await channel.wait_flushed()


@asynccontextmanager
@enable_ki_protection
async def open_endpoint(
    address: str,
    *,
    modules: Iterable[str | types.ModuleType],
    allow: Mapping[str, bytes],
    tls: Tls | None = None,
    insecure: bool = False,
) -> AsyncIterator[Endpoint]:
    """Let other trees call the public functions of *modules*; yield the `Endpoint`.

    *address* is ``"tcp:host:port"``, or ``"tls:host:port"`` with *tls*; port 0 takes a free one.
    *allow* maps the names of the actors that may connect to their keys, 32 bytes each. Leaving the
    block cancels what peers have called, and closes their links.

    Raises:
      ValueError: the address is not on this host and there is no TLS. *insecure* allows that all
        the same: then whoever is on the network can read and change what travels.
      OSError: the address cannot be listened at.
      NoRuntime: there is no actor runtime here.
    """
    actor = current_actor()
    _check_keys(allow)
    _check_reach(address, insecure)
    if isinstance(modules, (str, types.ModuleType)):
        raise TypeError(f"modules is a list of modules or their names, not {modules!r}")
    exposure = Exposure([_loaded(module) for module in modules])
    async with open_services() as links:
        endpoint = Endpoint(actor, exposure, allow, links)
        listener = await listen_at(address, actor.limits.listen_backlog, tls)
        credentials = Credentials(actor.uid, endpoint.key_of)
        door = Door(listener, credentials, actor.limits, endpoint.admit)
        endpoint.address = door.address
        links.start_soon(door.run)
        try:
            yield endpoint
        finally:
            await endpoint.end_calls()


def check_key(key: object) -> bytes:
    """Return *key* if it is one.

    Raises:
      ValueError: it is none.
    """
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise ValueError(
            f"a key is {KEY_BYTES} random bytes, as secrets.token_bytes({KEY_BYTES}) makes them"
        )
    return key


def _check_keys(allow: Mapping[str, bytes]) -> None:
    if not isinstance(allow, Mapping) or not allow:
        raise ValueError(
            f"allow maps the names of those who may connect to their keys; it is {allow!r}"
        )
    for key in allow.values():
        check_key(key)


def _check_reach(address: str, insecure: bool) -> None:
    has_port = address.rpartition(":")[2].isdecimal()
    if not has_port or address.startswith("tls:") or is_local(address):
        return
    if not insecure:
        raise ValueError(
            f"{address} can be reached from other machines, and is not encrypted; use "
            f"'tls:host:port' with tls=Tls(...), or bind to 127.0.0.1"
        )
    logger.warning(
        "%s IS NOT ENCRYPTED: whoever is on the network can read and change what travels", address
    )


def _loaded(module: str | types.ModuleType) -> types.ModuleType:
    if isinstance(module, types.ModuleType):
        return module
    found = sys.modules.get(module)
    if found is None:
        raise ValueError(f"module {module!r} is not imported; import it first, or give it itself")
    return found
