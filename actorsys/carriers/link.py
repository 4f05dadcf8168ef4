"""Items between the hub and one participant, over the stream of a context."""

from __future__ import annotations

import contextlib
from collections import deque

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import MsgStream
from ..errors import ActorsysError
from .frames import Item


class Link:
    """Sends items in order, without waiting. Its credits bound what is kept here."""

    def __init__(self, stream: MsgStream) -> None:
        self._stream = stream
        self._kept: deque[Item] = deque()
        self._is_over = False
        self._changed = trio.lowlevel.ParkingLot()
        self._sent = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Link: {len(self._kept)} items kept, {self._stream!r}>"

    def send(self, item: Item) -> None:
        """Send an item soon; if the stream is over it goes nowhere."""
        if not self._is_over:
            self._kept.append(item)
            self._changed.unpark()

    @enable_ki_protection
    async def run(self) -> None:
        """Send what is kept, until the stream is over or this is cancelled."""
        # How the stream has ended is told to whoever reads it.
        try:
            with contextlib.suppress(ActorsysError):
                while True:
                    while self._kept:
                        await self._stream.send(self._kept[0])
                        self._kept.popleft()
                    self._sent.unpark_all()
                    await self._changed.park()
        finally:
            self._is_over = True
            self._kept.clear()
            self._sent.unpark_all()

    async def wait_sent(self) -> None:
        """Wait until nothing is kept, or the stream is over."""
        while self._kept:
            await self._sent.park()
