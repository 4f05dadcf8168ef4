"""A listener and who may come in: strangers are turned away before anything of them is looked at.

A peer has to prove within three seconds and 256 bytes that it is one of those who may come.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import accept_channel
from ..errors import HandshakeError
from ..limits import Limits
from ..transport import Listener, Transport
from ..wire import Credentials, Session

logger = logging.getLogger("actorsys.door")

_NOT_LISTENING = frozenset([errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP])
"""Every other error is of one connection, or of a host that is short of something for now."""
_RETRY_SECONDS = 0.1  # trio's own listeners wait as long when descriptors run out

Admit = Callable[[Transport, Session, bytes], bool]
"""Takes over the connection of a peer that has proved who it is; False turns it away."""


class Door:
    """Accepts connections and does the handshake with each. It owns *listener*."""

    def __init__(
        self, listener: Listener, credentials: Credentials, limits: Limits, admit: Admit
    ) -> None:
        self.address = listener.address
        self._listener = listener
        self._credentials = credentials
        self._limits = limits
        self._admit = admit
        self._waiting: dict[trio.CancelScope, None] = {}
        self._is_failing = False

    def __repr__(self) -> str:
        return f"<Door at {self.address}: {len(self._waiting)} waiting>"

    @enable_ki_protection
    async def run(self) -> None:
        """Let peers in until cancelled."""
        async with self._listener, trio.open_nursery() as greetings:
            while True:
                try:
                    transport = await self._listener.accept()
                except OSError as error:
                    if error.errno in _NOT_LISTENING:
                        raise
                    await self._wait_a_moment(error)
                else:
                    self._is_failing = False
                    self._make_room()
                    greetings.start_soon(self._greet, transport)

    async def _wait_a_moment(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            logger.warning("cannot accept a connection, and will try again: %s", error)
        await trio.sleep(_RETRY_SECONDS)

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
            if not self._admit(transport, session, rest):
                logger.info("turned %r away, who had proved its name", session.peer_uid[0])
                await trio.aclose_forcefully(transport)
