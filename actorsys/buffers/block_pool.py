"""The blocks of one actor: handed out, taken back, used again, and never more than allowed."""

from __future__ import annotations

import ctypes
from collections import defaultdict

import trio

from ..errors import BufferPoolFull
from .block import PAGE_BYTES, Block

_STEPS_PER_DOUBLING = 4
"""Size classes: a block is at most a quarter larger than what it is for."""

_RETRY_SECONDS = 0.1
"""How often is looked whether a block is free that nobody will tell of: its user was given it by
somebody who has died."""


class BlockPool:
    """Blocks in use and blocks at rest, *max_bytes* together.

    Owned by an actor. A block that another process has still open when it comes back is set aside
    until that is over; one that was frozen is never used again.
    """

    def __init__(self, max_bytes: int, max_resting_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self.reuses = 0
        self._max_resting_bytes = max_resting_bytes
        self._resting: defaultdict[int, list[Block]] = defaultdict(list)
        self._resting_bytes = 0
        self._set_aside: list[Block] = []
        self._has_room = trio.lowlevel.ParkingLot()
        self._is_closed = False

    def __repr__(self) -> str:
        return (
            f"<BlockPool: {self.size} of {self.max_bytes} bytes, {self._resting_bytes} at rest, "
            f"{len(self._set_aside)} blocks set aside>"
        )

    def take(self, size: int, about: bytes, *, is_zeroed: bool = True) -> Block:
        """Return a block of *size* bytes or more that is the buffer *about* tells of.

        Raises:
          BufferPoolFull: there is no room.
        """
        capacity = size_class(size)
        while self._resting[capacity]:
            block = self._resting[capacity].pop()
            self._resting_bytes -= capacity
            if block.renew(about):
                self.reuses += 1
                if is_zeroed:
                    ctypes.memset(block.mapping.address, 0, size)
                return block
            self._set_aside.append(block)
        self._make_room(capacity, size)
        try:
            block = Block(capacity)
        except OSError as error:
            raise BufferPoolFull(f"no memory for a buffer of {size:,} bytes: {error}") from error
        self.size += capacity
        block.renew(about)
        return block

    async def take_when_free(self, size: int, about: bytes, *, is_zeroed: bool = True) -> Block:
        """As `take`, but wait until there is room.

        Raises:
          BufferPoolFull: there never will be: it is larger than the pool.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return self.take(size, about, is_zeroed=is_zeroed)
            except BufferPoolFull:
                if size_class(size) > self.max_bytes:
                    raise
            with trio.move_on_after(_RETRY_SECONDS if self._set_aside else float("inf")):
                await self._has_room.park()

    def give_back(self, block: Block) -> None:
        """Take a block back that no buffer of this process is using."""
        if self._is_closed or block.is_frozen:
            self._drop(block)
        elif not block.renew(b""):
            self._set_aside.append(block)
        elif self._resting_bytes + block.capacity > self._max_resting_bytes:
            self._drop(block)
        else:
            self._resting[block.capacity].append(block)
            self._resting_bytes += block.capacity
        self._has_room.unpark_all()

    def _make_room(self, capacity: int, size: int) -> None:
        if self.size + capacity > self.max_bytes:
            self._look_after()
        while self.size + capacity > self.max_bytes and self._resting_bytes:
            largest = max(found for found, blocks in self._resting.items() if blocks)
            self._resting_bytes -= largest
            self._drop(self._resting[largest].pop())
        if self.size + capacity > self.max_bytes:
            raise BufferPoolFull(
                f"a buffer of {size:,} bytes has no room: {self.size:,} of {self.max_bytes:,} "
                f"(limits.max_buffer_bytes) are in use; release some, or wait for it"
            )

    def _look_after(self) -> None:
        """Take in what was set aside and is free by now."""
        set_aside, self._set_aside = self._set_aside, []
        for block in set_aside:
            self.give_back(block)

    def _drop(self, block: Block) -> None:
        self.size -= block.capacity
        block.close()

    def close(self) -> None:
        """Give all blocks up that are not in use; those that are follow when they come back."""
        self._is_closed = True
        for blocks in [*self._resting.values(), self._set_aside]:
            while blocks:
                self._drop(blocks.pop())
        self._resting_bytes = 0


def size_class(size: int) -> int:
    """Return how large a block is that holds *size* bytes."""
    pages = max(1, -(-size // PAGE_BYTES))
    step = max(1, (1 << (pages - 1).bit_length()) // (2 * _STEPS_PER_DOUBLING))
    return -(-pages // step) * step * PAGE_BYTES
