"""What finalizers leave to be done: they run at any time and in any thread, and do no I/O."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import trio

from ..channel.tick import TickFlusher, acquire_flusher, release_flusher

T = TypeVar("T")


class Janitor:
    """Does, at the end of a tick of the trio loop that it was made in, what was left to it."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.get_ident()
        self._flusher: TickFlusher | None = acquire_flusher()
        self._left: deque[Callable[[], None]] = deque()

    def __repr__(self) -> str:
        return f"<Janitor: {len(self._left)} left to be done>"

    def post(self, task: Callable[[], None]) -> None:
        """Have *task* done; from any thread. After `close` it is done at once."""
        self._left.append(task)
        if self._flusher is None:
            self.end_tick()
        elif threading.get_ident() == self._thread:
            self._flusher.queue_early(self)
        else:
            self._token.run_sync_soon(self.end_tick, idempotent=True)

    def run(self, function: Callable[[], T]) -> T:
        """Return what *function* returns in the thread of the loop, from whatever thread.

        Only a thread that trio has started can call it from outside.
        """
        if threading.get_ident() == self._thread:
            return function()
        return trio.from_thread.run_sync(function, trio_token=self._token)

    def end_tick(self) -> None:
        """Do what is left now; only in the thread of the loop."""
        while True:
            try:
                task = self._left.popleft()
            except IndexError:
                return
            task()

    def close(self) -> None:
        """Do what is left; what is posted from now on is done at once."""
        self.end_tick()
        flusher, self._flusher = self._flusher, None
        if flusher is not None:
            release_flusher(flusher)
