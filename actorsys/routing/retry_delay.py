"""How long an actor's messages wait after a route could not take one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .protocol import checked_seconds


@dataclass(frozen=True)
class RetryDelay:
    """A delay that doubles: *first* seconds after the first failure, up to *doublings* times.

    Of that, a random part of up to the share *jitter* is left out, so that those who have failed
    together do not come back together; *chance* returns numbers in [0, 1). The defaults are the
    delays of RelayRL: 0.1, 0.2, 0.4, then 0.8 s.
    """

    first: float = 0.1
    doublings: int = 3
    jitter: float = 0.0
    chance: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.first < float("inf"):
            raise ValueError(f"first is a number of seconds above 0, not {self.first!r}")
        if not 0 <= self.doublings <= 64:
            raise ValueError(f"doublings is from 0 to 64, not {self.doublings!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter!r}")

    def __call__(self, failures: int) -> float:
        """Return the seconds to wait, after so many failures in a row before the last one."""
        delay: float = self.first * 2 ** min(failures, self.doublings)
        return delay * (1 - self.jitter * self.chance()) if self.jitter else delay


def checked_delay(seconds: object) -> float:
    """Return *seconds*, if one can wait so long.

    Raises:
      TypeError, ValueError: it is no number, or is negative or endless.
    """
    delay = checked_seconds("what retry_delay returns", seconds)
    if delay == math.inf:
        raise ValueError(
            "what retry_delay returns must not be endless; for an error that is not worth another "
            "attempt, is_transient returns False"
        )
    return delay


DEFAULT_RETRY_DELAY = RetryDelay()
