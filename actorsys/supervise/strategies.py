"""Who is affected when a child ends: the values that a nursery is opened with.

The words are OTP's. No processes and no clock are in here: what a strategy means for a given
history is decided by `actorsys.supervise.policy`, from these values alone.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, Union, get_args

K = TypeVar("K")

Restart = Literal["permanent", "transient", "temporary"]
"""When a child is started again: always; unless it ended normally; never."""

RESTARTS: tuple[Restart, ...] = get_args(Restart)


def _check_number(name: str, value: object, at_least: float = -math.inf) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number, not {value!r}")
    if math.isnan(value):
        raise ValueError(f"{name} is a number, not {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, it is {value!r}")


@dataclass(frozen=True)
class OneCancelsAll:
    """The semantics of a trio nursery: a child that fails ends all the others and the body."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a child is started again.

    The first restart within the window of a strategy is immediate. The second one waits
    ``first`` seconds, each further one ``factor`` times as long as the one before, up to ``most``.
    Of that, a random part of up to ``jitter`` is left out, so that what has failed together does
    not come back together.
    """

    first: float = 0.1
    factor: float = 2.0
    most: float = 10.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        _check_number("first", self.first, at_least=0)
        if self.first == math.inf:
            raise ValueError("first is a finite number of seconds: a restart has to come some time")
        _check_number("factor", self.factor, at_least=1)
        _check_number("most", self.most, at_least=self.first)
        _check_number("jitter", self.jitter, at_least=0)
        if self.jitter > 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter!r}")

    def delay(self, nth: int, chance: float) -> float:
        """Return the seconds before the *nth* restart in a window, *chance* being in [0, 1)."""
        if nth <= 1 or not self.first:
            return 0.0
        try:
            delay = min(self.most, self.first * float(self.factor) ** (nth - 2))
        except OverflowError:
            delay = self.most
        return delay * (1 - self.jitter * chance)


@dataclass(frozen=True)
class Restarting:
    """What the restarting strategies have in common.

    More than *max_restarts* restarts within *within* seconds are given up: the nursery fails with
    `RestartIntensityExceeded`. A restart exactly *within* seconds ago still counts.
    """

    max_restarts: int = 3
    within: float = 5.0
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        count = self.max_restarts
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f"max_restarts is a whole number, not {count!r}")
        if count < 0:
            raise ValueError(f"max_restarts must not be negative, it is {count}")
        _check_number("within", self.within)
        if not self.within > 0:
            raise ValueError(f"within is a number of seconds above 0, not {self.within!r}")
        if not isinstance(self.backoff, Backoff):
            raise TypeError(f"backoff is a Backoff(...), not {self.backoff!r}")

    @abstractmethod
    def affected(self, order: Sequence[K], failed: K) -> Sequence[K]:
        """Return which of *order*, children in start order, are restarted with *failed*."""


class OneForOne(Restarting):
    """A child that ends is started again; the others do not notice."""

    def affected(self, order: Sequence[K], failed: K) -> Sequence[K]:
        return [failed]


class OneForAll(Restarting):
    """When one child ends, all of them are stopped and started again."""

    def affected(self, order: Sequence[K], failed: K) -> Sequence[K]:
        return order


class RestForOne(Restarting):
    """When a child ends, it and those that were started after it are started again."""

    def affected(self, order: Sequence[K], failed: K) -> Sequence[K]:
        return order[order.index(failed) :]


Strategy = Union[OneCancelsAll, OneForOne, OneForAll, RestForOne]


def check_strategy(strategy: object) -> None:
    """Refuse what is no strategy.

    Raises:
      TypeError: it is none; a strategy's class is not one either.
    """
    if not isinstance(strategy, (OneCancelsAll, OneForOne, OneForAll, RestForOne)):
        raise TypeError(
            f"strategy is OneCancelsAll(), OneForOne(...), OneForAll(...) or RestForOne(...), "
            f"not {strategy!r}"
        )


def check_restart(restart: object, strategy: Strategy) -> None:
    """Refuse a restart policy that is none, or that *strategy* cannot keep.

    Raises:
      ValueError: it is one of the two.
    """
    if restart not in RESTARTS:
        raise ValueError(f"restart is one of {', '.join(map(repr, RESTARTS))}, not {restart!r}")
    if restart != "temporary" and not isinstance(strategy, Restarting):
        raise ValueError(
            f"with {strategy!r} nothing is restarted, so restart={restart!r} means nothing; open "
            f"the nursery with strategy=OneForOne(), OneForAll() or RestForOne()"
        )
