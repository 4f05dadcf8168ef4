"""What to do when a child has ended: decisions, without processes and without a clock.

The policy knows the children only as keys in start order. It is told what happened and when, and
says what is to be done; `actorsys.supervise.supervisor` does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, Union

from .strategies import Restart, Restarting

K = TypeVar("K")


@dataclass(frozen=True)
class Forget:
    """It is not started again, and nobody else is affected."""


@dataclass(frozen=True)
class Bring(Generic[K]):
    """Stop these, one after the other; wait; start those, one after the other."""

    stop: tuple[K, ...]
    delay: float
    start: tuple[K, ...]


@dataclass(frozen=True)
class GiveUp:
    """There were too many restarts: the nursery fails. *history* has their causes, oldest first."""

    history: tuple[Exception, ...]


Decision = Union[Forget, Bring[K], GiveUp]


class RestartPolicy(Generic[K]):
    """The decisions of one nursery with a restarting strategy.

    *chance* returns a number in [0, 1), for the jitter.
    """

    def __init__(self, strategy: Restarting, chance: Callable[[], float]) -> None:
        self._strategy = strategy
        self._chance = chance
        self._children: dict[K, Restart] = {}
        self._recent: deque[tuple[float, Exception]] = deque()

    def __repr__(self) -> str:
        counts = f"{len(self._children)} children, {len(self._recent)} recent restarts"
        return f"<RestartPolicy {self._strategy!r}: {counts}>"

    def add(self, child: K, restart: Restart) -> None:
        """Take note of a child that was started; it is the last one in start order."""
        self._children[child] = restart

    def discard(self, child: K) -> None:
        """Forget a child that is not to be started again."""
        self._children.pop(child, None)

    def on_end(self, child: K, *, is_normal: bool, cause: Exception, now: float) -> Decision[K]:
        """Decide what follows from the end of *child*, which nobody has asked for.

        *now* is in seconds on any clock that does not go back.
        """
        restart = self._children.get(child, "temporary")
        if restart == "temporary" or (restart == "transient" and is_normal):
            self.discard(child)
            return Forget()
        self._forget_before(now - self._strategy.within)
        self._recent.append((now, cause))
        if len(self._recent) > self._strategy.max_restarts:
            return GiveUp(tuple(cause for _, cause in self._recent))
        return self._bring_back(child)

    def _forget_before(self, time: float) -> None:
        while self._recent and self._recent[0][0] < time:
            self._recent.popleft()

    def _bring_back(self, child: K) -> Bring[K]:
        affected = list(self._strategy.affected(list(self._children), child))
        others = [other for other in reversed(affected) if other != child]
        for other in others:
            if self._children[other] == "temporary":
                self.discard(other)
        delay = self._strategy.backoff.delay(len(self._recent), self._chance())
        start = tuple(one for one in affected if one in self._children)
        return Bring(tuple(others), delay, start)
