"""The buffers of an actor, loaded when it meets the first one: many never do."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import trio

from ..buffers.codes import BUFFER, SHARED_ARRAY
from ..channel import Channel
from ..limits import Limits
from ..wire.extensions import NUMPY_ARRAY

if TYPE_CHECKING:
    from ..buffers.settling import RunBlocking
    from ..buffers.store import BufferStore


class BufferAccess:
    """Lets buffers travel over the links of an actor, and loads its store for the first. Owned by
    the `Actor`.
    """

    def __init__(self, limits: Limits, services: trio.Nursery, run_blocking: RunBlocking) -> None:
        self._limits = limits
        self._services = services
        self._run_blocking = run_blocking
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._links: dict[Channel, None] = {}
        self._store: BufferStore | None = None

    def __repr__(self) -> str:
        return f"<BufferAccess: {self._store or 'nothing loaded'}>"

    @property
    def store(self) -> BufferStore:
        """The buffers of the actor; of a thread, only one that trio has started may be first."""
        if self._store is not None:
            return self._store
        if threading.get_ident() == self._thread:
            return self._load()
        return trio.from_thread.run_sync(self._load, trio_token=self._token)

    def _load(self) -> BufferStore:
        from ..buffers.store import BufferStore

        if self._store is None:
            self._store = BufferStore(self._limits, self._services, self._run_blocking)
            for channel in self._links:
                self._store.attach(channel)
        return self._store

    # --- the links -----------------------------------------------------------------------

    def attach(self, channel: Channel) -> None:
        """Let buffers travel over *channel*."""
        self._links[channel] = None
        if self._store is not None:
            self._store.attach(channel)
            return
        channel.codec.extend_later((BUFFER, SHARED_ARRAY), self._load)
        if not channel.is_remote:
            pack = functools.partial(self._pack_array, channel)
            channel.codec.divert(NUMPY_ARRAY, SHARED_ARRAY, pack)

    def _pack_array(self, channel: Channel, array: Any) -> bytes | None:
        """Put the first array that is large enough into shared memory."""
        if array.nbytes < self._limits.shared_array_bytes:
            return None
        return self._load().pack_array(channel, array)

    def on_note(self, channel: Channel, note: dict[str, Any]) -> None:
        """Take note of what the peer does with what it was lent.

        Raises:
          RemoteProtocolError: it was not lent that.
        """
        self._load().on_note(channel, note)

    def detach(self, channel: Channel) -> None:
        """Revoke what was lent over *channel*, which is lost."""
        del self._links[channel]
        if self._store is not None:
            self._store.detach(channel)

    # --- the end -------------------------------------------------------------------------

    async def wait_accepted(self) -> None:
        """Wait until all that was handed over is open there."""
        if self._store is not None:
            await self._store.wait_accepted()

    def close(self) -> None:
        """Give all memory back that is not in use here."""
        if self._store is not None:
            self._store.close()
