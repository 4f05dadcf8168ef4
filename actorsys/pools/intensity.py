"""How often the workers of a pool may die, unless it was opened with a strategy."""

from __future__ import annotations

from ..supervise import OneForOne

DEATHS_A_WORKER = 3
"""So often each worker may die within the window, on average: OTP's default for one child."""


class Intensity(OneForOne):
    """A strategy whose measure follows the size of the pool."""

    def __init__(self, workers: int) -> None:
        super().__init__(max_restarts=DEATHS_A_WORKER * workers)

    def follow(self, workers: int) -> None:
        """Allow for so many workers from now on."""
        # The values of a strategy are fixed for whoever opens a nursery; this one is the pool's.
        object.__setattr__(self, "max_restarts", DEATHS_A_WORKER * workers)
