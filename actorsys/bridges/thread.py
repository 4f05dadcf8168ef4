"""The asyncio loop in a thread of its own, beside trio."""

from __future__ import annotations

import asyncio
import threading

import trio

from .loop_bridge import LoopBridge
from .loops import describe_leftover, keep_running, make_loop
from .patience import Patience


class ThreadBridge(LoopBridge):
    """A bridge to a loop in another thread: asyncio code that computes does not hold up trio.

    The thread is joined when the loop has ended. It is a daemon thread, so that a loop that does
    not end holds up nothing but the block, and not the end of the process as well.
    """

    def __init__(self, services: trio.Nursery, patience: Patience, *, uvloop: bool) -> None:
        loop = make_loop(uvloop)
        super().__init__(loop, loop.call_soon_threadsafe, services, patience)
        self._is_over = False  # of the asyncio side
        self._thread = threading.Thread(target=self._run, name="actorsys asyncio", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
          RuntimeError: the operating system refused.
        """
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def _run(self) -> None:
        try:
            keep_running(self._loop, lambda: self._is_over, self.on_crash)
        finally:
            self.to_trio(self.on_ended)

    def on_wound_up(self, task: asyncio.Task[None]) -> None:
        self._is_over = True
        self._loop.stop()

    async def close(self) -> None:
        if self.ended.is_set():
            self._thread.join()  # it has nothing left to do
        await super().close()

    def describe_leftover(self) -> str:
        return describe_leftover(self._loop, self._thread)
