"""Where the children of an actor connect. Each is expected, once, under a key of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import Uid
from ..limits import Limits
from ..transport import Transport
from ..wire import Credentials, Session
from .door import Door
from .host import Host


class Expected:
    """A peer that is expected: its key, and its connection once it has come.

    ``arrived`` is set when it has come, or will not.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.arrived = trio.Event()
        self.connection: tuple[Transport, Session, bytes] | None = None

    def __repr__(self) -> str:
        return f"<Expected: {'arrived' if self.connection else 'waiting'}>"


class Reception:
    """The door of one actor for its children, and whom it expects.

    The door is opened with the first child.
    """

    def __init__(
        self, uid: Uid, limits: Limits, host: Host, scheme: str, services: trio.Nursery
    ) -> None:
        self.scheme = scheme
        self._limits = limits
        self._host = host
        self._services = services
        self._expected: dict[Uid, Expected] = {}
        self._credentials = Credentials(uid, self._key_of)
        self._opening = trio.Lock()
        self._door: Door | None = None

    def __repr__(self) -> str:
        return f"<Reception: {len(self._expected)} expected, {self._door}>"

    @enable_ki_protection
    async def address(self) -> str:
        """Return where to connect; the first call opens the door."""
        async with self._opening:
            if self._door is None:
                listener = await self._host.listen(self.scheme, self._limits.listen_backlog)
                self._door = Door(listener, self._credentials, self._limits, self._admit)
                self._services.start_soon(self._door.run)
            return self._door.address

    @contextmanager
    def expect(self, uid: Uid, key: bytes) -> Iterator[Expected]:
        """Let the peer *uid* connect once, with *key*, while the block runs.

        Who expects it already will not see it: that one is told at once.
        """
        before = self._expected.get(uid)
        if before is not None:
            before.arrived.set()
        expected = self._expected[uid] = Expected(key)
        try:
            yield expected
        finally:
            if self._expected.get(uid) is expected:
                del self._expected[uid]

    def _key_of(self, uid: Uid) -> bytes | None:
        expected = self._expected.get(uid)
        return expected.key if expected is not None else None

    def _admit(self, transport: Transport, session: Session, rest: bytes) -> bool:
        expected = self._expected.pop(session.peer_uid, None)
        if expected is None:
            return False
        expected.connection = (transport, session, rest)
        expected.arrived.set()
        return True
