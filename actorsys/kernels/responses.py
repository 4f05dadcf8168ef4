"""The responses of a kernel that nobody has asked for, until they are received."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from ..actor.parcels import Parcel
from ..channel.waiters import Wait, Waiters
from ..errors import ReceiveTimeout
from .priority_queue import PriorityQueue

_MAX_UNOWED = 256  # replies beside the responses: to asks that are forgotten


class Responses:
    """A queue of at most *capacity* responses, and how many of them were received.

    Owned by a `Kernel`. Its process is given room for as many, and waits when it has used it up;
    it is told in portions of what was freed since. *wait* waits for what it sends.
    """

    def __init__(self, kernel_name: str, capacity: int, wait: Wait) -> None:
        self._kernel_name = kernel_name
        self._capacity = capacity
        self._queue: PriorityQueue[Parcel] = PriorityQueue()
        self._freed = 0
        self._make_end: Callable[[], Exception] | None = None
        self._wait_for = wait
        self._has_one = Waiters()

    def __repr__(self) -> str:
        return f"<Responses: {len(self._queue)} of {self._capacity}>"

    @property
    def room(self) -> int:
        """How many more there is room for."""
        return self._capacity - len(self._queue)

    def add(self, parcel: Parcel, priority: int) -> None:
        """Add one that the process has sent.

        Raises:
          ValueError: it has sent more than it was given room for.
        """
        if len(self._queue) >= self._capacity + _MAX_UNOWED:
            raise ValueError("more responses than there is room for")
        self._queue.push(parcel, priority)
        self._has_one.wake_one()

    def end(self, make_error: Callable[[], Exception]) -> None:
        """Expect no more: whoever finds nothing gets an error."""
        self._make_end = make_error
        self._has_one.wake()

    async def receive(self, seconds: float) -> Parcel:
        """Return the next one, packed.

        Raises:
          ReceiveTimeout: there is none within *seconds*.
          What `end` was given: there is none, and there will be none.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if seconds == math.inf:  # a cancel scope costs its time
            await self._wait()
        elif not self._queue:
            with trio.move_on_after(seconds) as patience:
                await self._wait()
            if patience.cancelled_caught:
                raise ReceiveTimeout(
                    f"kernel {self._kernel_name!r} sent nothing within {seconds:g} s"
                )
        self._freed += 1
        return self._queue.pop()

    async def _wait(self) -> None:
        while not self._queue:
            if self._make_end is not None:
                raise self._make_end()
            await self._wait_for(self._has_one)

    def take_freed(self) -> int:
        """Return how much room was freed since it was told last; 0 until half of it was."""
        if self._freed * 2 < self._capacity:
            return 0
        freed, self._freed = self._freed, 0
        return freed

    def freed_since(self, room: int) -> int:
        """Return how much more room there is than *room*; all of it counts as told then."""
        self._freed = 0
        return self.room - room
