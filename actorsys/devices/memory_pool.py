"""`MemoryPool`: unified buffers to be had and given back, again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..actor import Actor, current_actor
from ..buffers.buffer import Buffer
from ..buffers.layout import Layout
from ..buffers.store import BufferStore
from .unified_buffer import UnifiedBuffer


class PoolStatistics(NamedTuple):
    """Counts of a pool.

    Attributes:
      in_use, peak: buffers that are not given back, and how many there were at most.
      acquired: buffers handed out so far; ``reused`` of them got memory that had been used before.
      bytes: of the memory in use and at rest, out of ``max_bytes``.
    """

    in_use: int
    peak: int
    acquired: int
    reused: int
    bytes: int
    max_bytes: int


class MemoryPool:
    """The unified buffers of one actor. Its memory is that of all its buffers."""

    def __init__(self, store: BufferStore) -> None:
        self._store = store
        self._in_use = 0
        self._peak = 0
        self._acquired = 0

    def __repr__(self) -> str:
        return f"<MemoryPool: {self._in_use} in use>"

    def acquire(
        self, shape: int | Sequence[int], dtype: Any = "float32", *, pinned: bool = False
    ) -> UnifiedBuffer:
        """Return a buffer of zeros; `release` it.

        Raises:
          BufferPoolFull: there is no room; `lease` waits for it.
          NotShareable: *dtype* holds Python objects.
        """
        return self._hand_out(self._store.open(Layout(shape, dtype)), pinned)

    def release(self, buffer: UnifiedBuffer) -> None:
        """Take a buffer back.

        Raises:
          BufferReleased: it was given back before.
        """
        buffer.release()
        self._in_use -= 1

    @asynccontextmanager
    async def lease(
        self, shape: int | Sequence[int], dtype: Any = "float32", *, pinned: bool = False
    ) -> AsyncIterator[UnifiedBuffer]:
        """Yield a buffer of zeros, for the block; wait for room.

        Raises:
          BufferPoolFull: there never will be: it is larger than the pool.
        """
        opened = await self._store.open_when_free(Layout(shape, dtype))
        buffer = self._hand_out(opened, pinned)
        try:
            yield buffer
        finally:
            if not buffer.is_released:
                self.release(buffer)

    def statistics(self) -> PoolStatistics:
        """Return the counts."""
        pool = self._store.pool
        return PoolStatistics(
            in_use=self._in_use,
            peak=self._peak,
            acquired=self._acquired,
            reused=pool.reuses,
            bytes=pool.size,
            max_bytes=pool.max_bytes,
        )

    def _hand_out(self, buffer: Buffer, pinned: bool) -> UnifiedBuffer:
        unified = UnifiedBuffer(buffer.shape, buffer.dtype, pinned=pinned, buffer=buffer)
        self._acquired += 1
        self._in_use += 1
        self._peak = max(self._peak, self._in_use)
        return unified


_pools: WeakKeyDictionary[Actor, MemoryPool] = WeakKeyDictionary()


def get_memory_pool() -> MemoryPool:
    """Return the pool of this actor.

    Raises:
      NoRuntime: there is no actor here.
    """
    actor = current_actor()
    if actor not in _pools:
        _pools[actor] = MemoryPool(actor.buffers)
    return _pools[actor]
