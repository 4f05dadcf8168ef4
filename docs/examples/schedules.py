"""Select a schedule for each participant, so that their sum meets a target; nobody leads.

A heuristic in the manner of COHDA (Hinrichs et al.): each knows its own schedules, what the others
have chosen, as far as it has heard, and the best plan that anybody has told it of. Whoever learns
something tells all others. Plans only ever get better, so it ends by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import trio

from actorsys.carriers import Participant, open_participants


@dataclass
class Choice:
    """What a participant has chosen, and for the how-manieth time."""

    schedule: np.ndarray
    version: int


@dataclass
class Plan:
    """Schedules of the participants in ``covers``, and how far their sum is from the target."""

    schedules: dict[int, np.ndarray]
    covers: frozenset[int]
    distance: float
    author: int

    def is_better_than(self, other: Plan | None) -> bool:
        """Tell whether it covers more, or comes nearer; the lower author wins a draw."""
        if other is None:
            return True
        mine = (-len(self.covers), self.distance, self.author)
        return mine < (-len(other.covers), other.distance, other.author)


@dataclass
class Knowledge:
    """What a participant knows, and tells."""

    target: np.ndarray
    choices: dict[int, Choice]
    plan: Plan | None


class Selection:
    """A participant with its schedules."""

    def __init__(self, schedules: list[list[float]]) -> None:
        self.schedules = [np.array(schedule, dtype=float) for schedule in schedules]
        self.choices: dict[int, Choice] = {}
        self.plan: Plan | None = None

    async def on_exchange_message(
        self, carrier: Any, content: Knowledge, meta: dict[str, Any]
    ) -> None:
        own = carrier.get_address()
        has_learned = self._learn(content)
        if self._improve(own, content.target) or has_learned:
            for other in carrier.others(""):
                carrier.send_to_other(Knowledge(content.target, self.choices, self.plan), other)

    def _learn(self, told: Knowledge) -> bool:
        """Take over what is newer or better; return whether anything was."""
        news = {
            who: choice
            for who, choice in told.choices.items()
            if who not in self.choices or choice.version > self.choices[who].version
        }
        self.choices |= news
        if told.plan is None or not told.plan.is_better_than(self.plan):
            return bool(news)
        self.plan = told.plan
        return True

    def _improve(self, own: int, target: np.ndarray) -> bool:
        """Make a better plan, if what is known allows; return whether the own choice is new."""
        others = {who: choice.schedule for who, choice in self.choices.items() if who != own}
        missing = target - sum(others.values(), np.zeros_like(target))
        best = min(self.schedules, key=lambda schedule: np.abs(missing - schedule).sum())
        distance = float(np.abs(missing - best).sum())
        plan = Plan({**others, own: best}, frozenset([*others, own]), distance, own)
        if plan.is_better_than(self.plan):
            self.plan = plan
        assert self.plan is not None
        return self._choose(own, self.plan.schedules.get(own, best))

    def _choose(self, own: int, schedule: np.ndarray) -> bool:
        before = self.choices.get(own)
        if before is not None and np.array_equal(before.schedule, schedule):
            return False
        self.choices[own] = Choice(schedule, before.version + 1 if before else 1)
        return True


def read_plan(algorithm: Selection) -> tuple[float, list[float]]:
    """Return how far the plan is from the target, and its sum."""
    assert algorithm.plan is not None
    return algorithm.plan.distance, sum(algorithm.plan.schedules.values()).tolist()


async def main() -> None:
    schedules = [[[0, 1, 2], [1, 2, 3]], [[0, 1, 2], [1, 2, 3]], [[1, 0, 0], [0, 0, 1]]]
    async with open_participants(
        [Participant(Selection, args=(each,)) for each in schedules],
        types=[Choice, Plan, Knowledge],
    ) as run:
        await run.start(Knowledge(np.array([2.0, 3.0, 5.0]), {}, None))
        await run.quiescent()
        for distance, total in await run.snapshot(read_plan):
            print(f"the sum is {total}, {distance:g} off the target")


if __name__ == "__main__":
    trio.run(main)
