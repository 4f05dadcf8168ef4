"""What finalizers leave to be done: they run at any time and in any thread, and do no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio


class Janitor:
    """Does soon, in the trio loop that it was made in, what was left to it."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._left: deque[Callable[[], None]] = deque()

    def __repr__(self) -> str:
        return f"<Janitor: {len(self._left)} left to be done>"

    def post(self, task: Callable[[], None]) -> None:
        """Have *task* done; from any thread. When the loop is over it is done at once."""
        self._left.append(task)
        try:
            self._token.run_sync_soon(self.work, idempotent=True)
        except trio.RunFinishedError:
            self.work()

    def work(self) -> None:
        """Do what is left now; only in the thread of the loop."""
        while self._left:
            self._left.popleft()()
