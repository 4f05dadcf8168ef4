"""Where the children of an actor connect, and how strangers are turned away.

The listener is opened with the first child. A peer has to prove within three seconds and 256
bytes that it is one of those expected; each key is good for one connection.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import accept_channel
from ..errors import HandshakeError, Uid
from ..limits import Limits
from ..transport import Listener, Transport
from ..wire import Credentials, Session
from .host import Host

logger = logging.getLogger("actorsys.reception")

_OUT_OF_RESOURCES = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
_RETRY_SECONDS = 0.1  # trio's own listeners wait as long when descriptors run out


class Expected:
    """A peer that is expected: its key, and its connection once it has come."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.arrived = trio.Event()
        self.connection: tuple[Transport, Session, bytes] | None = None

    def __repr__(self) -> str:
        return f"<Expected: {'arrived' if self.connection else 'waiting'}>"


class Reception:
    """The listener of one actor, and whom it expects."""

    def __init__(
        self, uid: Uid, limits: Limits, host: Host, scheme: str, services: trio.Nursery
    ) -> None:
        self.scheme = scheme
        self._limits = limits
        self._host = host
        self._services = services
        self._expected: dict[Uid, Expected] = {}
        self._credentials = Credentials(uid, self._key_of)
        self._waiting: dict[trio.CancelScope, None] = {}
        self._opening = trio.Lock()
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"<Reception: {len(self._expected)} expected, {len(self._waiting)} at the door>"

    @enable_ki_protection
    async def address(self) -> str:
        """Return where to connect; the first call opens the listener."""
        async with self._opening:
            if self._listener is None:
                self._listener = await self._host.listen(self.scheme, self._limits.listen_backlog)
                self._services.start_soon(self._run, self._listener)
            return self._listener.address

    @contextmanager
    def expect(self, uid: Uid, key: bytes) -> Iterator[Expected]:
        """Let the peer *uid* connect once, with *key*, while the block runs."""
        expected = self._expected[uid] = Expected(key)
        try:
            yield expected
        finally:
            self._expected.pop(uid, None)

    def _key_of(self, uid: Uid) -> bytes | None:
        expected = self._expected.get(uid)
        return expected.key if expected is not None else None

    @enable_ki_protection
    async def _run(self, listener: Listener) -> None:
        async with listener, trio.open_nursery() as greetings:
            while True:
                try:
                    transport = await listener.accept()
                except OSError as error:
                    if error.errno not in _OUT_OF_RESOURCES:
                        raise
                    logger.warning("cannot accept a connection: %s", error)
                    await trio.sleep(_RETRY_SECONDS)
                    continue
                self._make_room()
                greetings.start_soon(self._greet, transport)

    def _make_room(self) -> None:
        """Turn the peer away that has waited longest, when too many wait.

        A child is through within milliseconds; who has waited longest is the least likely one.
        """
        if len(self._waiting) >= self._limits.max_waiting_peers:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel()

    @enable_ki_protection
    async def _greet(self, transport: Transport) -> None:
        with trio.CancelScope() as scope:
            self._waiting[scope] = None
            try:
                session, rest = await accept_channel(transport, self._credentials, self._limits)
            except HandshakeError as error:
                logger.info("turned a peer away: %s", error)
                return
            finally:
                self._waiting.pop(scope, None)
            expected = self._expected.pop(session.peer_uid, None)
            if expected is None:
                await trio.aclose_forcefully(transport)
                return
            expected.connection = (transport, session, rest)
            expected.arrived.set()
