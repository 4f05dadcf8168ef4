"""Share a target among participants with ADMM; each knows only its own bounds.

Wanted are x_i within the bounds of participant i whose sum is as near to the target as can be. A
participant projects the point that the coordinator sends; the coordinator does the rest.
See Boyd et al., Distributed Optimization and Statistical Learning via ADMM, section 7.3.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import trio

from actorsys.carriers import Participant, open_participants

MAX_ROUNDS = 500


@dataclass
class Point:
    """A point to be projected, or the projection."""

    values: np.ndarray


@dataclass
class Shares:
    """What the coordinator has found: the part of each participant, and in how many rounds."""

    parts: list[np.ndarray]
    rounds: int


class Box:
    """A participant: its part lies within bounds."""

    def __init__(self, low: list[float], high: list[float]) -> None:
        self.low, self.high = np.array(low), np.array(high)
        self.part = np.zeros(len(low))

    async def on_exchange_message(self, carrier: Any, content: Point, meta: dict[str, Any]) -> None:
        self.part = np.clip(content.values, self.low, self.high)
        carrier.reply_to_other(Point(self.part), meta)


class Sharing:
    """The coordinator."""

    def __init__(self, rho: float = 1.0, tolerance: float = 1e-6) -> None:
        self.rho, self.tolerance = rho, tolerance

    async def start_optimization(
        self, carrier: Any, content: Point, meta: dict[str, Any]
    ) -> Shares:
        target, others = content.values, carrier.others("coordinator")
        parts = [np.zeros_like(target) for _ in others]
        mean, agreed, price = (np.zeros_like(target) for _ in range(3))
        rounds, moved = 0, np.inf
        while moved > self.tolerance and rounds < MAX_ROUNDS:
            rounds += 1
            requests = [
                carrier.send_awaitable(Point(part - mean + agreed - price), other)
                for part, other in zip(parts, others, strict=True)
            ]
            parts = [answer.values for answer in await asyncio.gather(*requests)]
            mean, before = np.mean(parts, axis=0), agreed
            agreed = (target + self.rho * (price + mean)) / (len(others) + self.rho)
            price = price + mean - agreed
            moved = max(np.abs(mean - agreed).max(), np.abs(agreed - before).max())
        return Shares(parts, rounds)


def read_part(algorithm: Box) -> np.ndarray:
    return algorithm.part


async def main() -> None:
    boxes = [([0, 0], [1, 1]), ([0, -1], [2, 1]), ([-1, 0], [4, 4])]
    async with open_participants(
        [Participant(Box, args=bounds) for bounds in boxes],
        coordinator=Participant(Sharing),
        types=[Point, Shares],
    ) as run:
        shares = await run.coordinate(Point(np.array([5.0, 3.0])))
        print(f"{shares.rounds} rounds; the parts add up to {sum(shares.parts).round(3)}")


if __name__ == "__main__":
    trio.run(main)
