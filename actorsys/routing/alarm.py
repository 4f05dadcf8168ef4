"""The one timer of a dispatcher."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio


class Alarm:
    """A task that sleeps until the earliest time it was given, and then calls *on_time*.

    That does what is due, and returns when it wants to be called next; it sleeps for ever on
    ``math.inf``. There is nothing that it looks at in between.
    """

    def __init__(self, on_time: Callable[[], float]) -> None:
        self.at = math.inf
        self._on_time = on_time
        self._sleep = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Alarm at {self.at}>"

    def set(self, time: float) -> None:
        """Call at *time*, if not sooner."""
        if time < self.at:
            self.at = time
            self._sleep.deadline = time

    async def run(self) -> None:
        """Call at every time that was set, until cancelled."""
        while True:
            with self._sleep:
                self._sleep.deadline = self.at
                await trio.sleep_forever()
            self._sleep = trio.CancelScope()
            self.at = math.inf
            self.at = min(self.at, self._on_time())
