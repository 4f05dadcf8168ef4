"""The account of all messages: each that is accepted is delivered, dead or pending."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..histogram import Histogram
from .accepted import Accepted
from .dead_letters import DeadLetter, DeadLetters, DeadReason


class Ledger:
    """Books the beginning and the one end of every message; nothing else settles one."""

    def __init__(self, max_dead_letters: int) -> None:
        self.accepted = 0
        self.delivered = 0
        self.pending = 0
        self.dead: Counter[DeadReason] = Counter()
        self.letters = DeadLetters(max_dead_letters)
        self.latency = Histogram()
        self.latency_worst = 0.0

    def __repr__(self) -> str:
        return (
            f"<Ledger: {self.accepted} accepted, {self.delivered} delivered, "
            f"{self.dead.total()} dead, {self.pending} pending>"
        )

    def enter(self) -> None:
        """Book a message that is accepted."""
        self.accepted += 1
        self.pending += 1

    def deliver(self, item: Accepted, value: Any, now: float) -> None:
        """Book that a route has taken it, and returned *value*."""
        latency = now - item.accepted_at
        self.latency.record(latency)
        if latency > self.latency_worst:
            self.latency_worst = latency
        self.delivered += 1
        self.pending -= 1
        if item.reply is not None:
            item.reply.set(value)
        item.settle()

    def bury(
        self,
        item: Accepted,
        reason: DeadReason,
        now: float,
        *,
        may_have_been_delivered: bool = False,
    ) -> None:
        """Book that it is dead, and hand out its letter."""
        age = now - item.accepted_at
        letter = DeadLetter(
            item.message, reason, item.attempts, age, item.error, may_have_been_delivered
        )
        self.dead[reason] += 1
        self.pending -= 1
        if item.reply is not None:
            item.reply.fail(letter)
        item.settle()
        self.letters.add(letter)
