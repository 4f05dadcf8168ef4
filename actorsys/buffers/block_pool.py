"""The blocks of one actor: handed out, taken back, used again, and never more than allowed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import trio

from ..channel.waiters import Waiters
from ..errors import BufferPoolFull, DeviceOutOfMemory, NotShareable
from .block import MAX_ABOUT_BYTES, PAGE_BYTES, Block

_STEPS_PER_DOUBLING = 4
"""Size classes: a block is at most a quarter larger than what it is for."""

_RETRY_SECONDS = 0.1
"""How often is looked whether a block is free that nobody will tell of: its user was given it by
somebody who has died."""


class BlockPool:
    """Blocks in use and blocks at rest, *max_bytes* and *max_blocks* together.

    Owned by an actor. A block that another process has still open when it comes back is set aside
    until that is over; one that was frozen is never used again. *make* makes a block, of zeros.
    """

    def __init__(
        self, max_bytes: int, max_resting_bytes: int, make: Callable[[int], Block] = Block
    ) -> None:
        self.max_bytes = max_bytes
        self.max_blocks: float = math.inf
        self.size = 0
        self.count = 0
        self.reuses = 0
        self._max_resting_bytes = max_resting_bytes
        self._make = make
        self._resting: defaultdict[int, list[Block]] = defaultdict(list)
        self._resting_bytes = 0
        self._set_aside: list[Block] = []
        self._has_room = Waiters()
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
          DeviceOutOfMemory: the device that it would be on has none.
          NotShareable: there is too much to tell of it.
        """
        if len(about) > MAX_ABOUT_BYTES:
            raise NotShareable(f"its shape and dtype take {len(about)} bytes to tell, too many")
        capacity = size_class(size)
        if self._set_aside:
            self._look_after()
        while self._resting[capacity]:
            block = self._resting[capacity].pop()
            self._resting_bytes -= capacity
            if self._renew(block, about):
                self.reuses += 1
                self._clear(block, 0 if is_zeroed else size)
                return block
        self._make_room(capacity, size)
        block = self._new_block(capacity, size)
        self.size += capacity
        self.count += 1
        block.renew(about)
        return block

    async def take_when_free(self, size: int, about: bytes) -> Block:
        """As `take`, but wait until there is room.

        Raises:
          BufferPoolFull: there never will be: it is larger than the pool, or the system has none.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return self.take(size, about)
            except BufferPoolFull as error:
                if size_class(size) > self.max_bytes or error.__cause__ is not None:
                    raise
            with trio.move_on_after(_RETRY_SECONDS if self._set_aside else float("inf")):
                await self._has_room.wait()

    def give_back(self, block: Block) -> None:
        """Take a block back that no buffer of this process is using."""
        try:
            is_free = block.retire()
        except PermissionError:
            self._drop(block)  # it is frozen, for ever
        else:
            self._put_away(block, is_free)
        self._has_room.wake_soon()

    def _put_away(self, block: Block, is_free: bool) -> None:
        if self._is_closed:
            self._drop(block)
        elif not is_free:
            self._set_aside.append(block)
        elif self._resting_bytes + block.capacity > self._max_resting_bytes:
            self._drop(block)
        else:
            self._resting[block.capacity].append(block)
            self._resting_bytes += block.capacity

    def _renew(self, block: Block, about: bytes) -> bool:
        """Make *block* another buffer; where that cannot be, set it aside, or give it up."""
        try:
            if block.renew(about):
                return True
        except PermissionError:
            self._drop(block)  # whoever it was lent to has frozen it
        else:
            self._set_aside.append(block)
        return False

    def _clear(self, block: Block, begin: int) -> None:
        """Fill a block with zeros from *begin* on: whoever maps it sees what is behind an array."""
        try:
            block.clear(begin)
        except BaseException:
            self._drop(block)
            raise

    def _make_room(self, capacity: int, size: int) -> None:
        while self._is_too_much(capacity) and self._resting_bytes:
            self._drop_largest()
        if self._is_too_much(capacity):
            raise BufferPoolFull(
                f"a buffer of {size:,} bytes has no room: {self.size:,} of {self.max_bytes:,} "
                f"(limits.max_buffer_bytes) are in use; release some, or wait for it"
            )

    def _is_too_much(self, capacity: int) -> bool:
        return self.size + capacity > self.max_bytes or self.count >= self.max_blocks

    def _new_block(self, capacity: int, size: int) -> Block:
        """Return a new block; what is at rest gives its descriptors where there are none left."""
        while True:
            try:
                return self._make(capacity)
            except (OSError, DeviceOutOfMemory) as error:
                if not self._resting_bytes:
                    if isinstance(error, DeviceOutOfMemory):
                        raise
                    raise BufferPoolFull(
                        f"the system has no memory for a buffer of {size:,} bytes: {error}"
                    ) from error
                self._drop_largest()

    def _drop_largest(self) -> None:
        largest = max(found for found, blocks in self._resting.items() if blocks)
        self._resting_bytes -= largest
        self._drop(self._resting[largest].pop())

    def _look_after(self) -> None:
        """Take in what was set aside and is free by now."""
        set_aside, self._set_aside = self._set_aside, []
        for block in set_aside:
            self._put_away(block, block.is_free)

    def _drop(self, block: Block) -> None:
        self.size -= block.capacity
        self.count -= 1
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
