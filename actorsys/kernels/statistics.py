"""What a kernel has done so far, counted."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from ..histogram import Histogram
from .tally import Counted


@dataclass
class KernelStatistics:
    """Counts of one kernel since it was launched, restarts included.

    Attributes:
      received: messages that were sent to it and not refused.
      processed: messages after which it came back for the next one, or ended.
      dropped: messages that it never saw, by reason: ``"overflow"``, ``"terminated"``,
        ``"crashed"``, ``"unreadable"``; and ``"late"``, replies to an `ask` that had given up.
      errors: messages that could not be read, and exceptions that left its function.
      queue_depth: messages that are accepted and not taken right now.
      latency: from the moment a message was accepted until it was processed.
      restarts: how often its process was started again.
    """

    received: int = 0
    processed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    queue_depth: int = 0
    latency: Histogram = field(default_factory=Histogram)
    restarts: int = 0

    def add_process(self, counted: Counted) -> None:
        """Add what one process of the kernel has counted."""
        self.processed += counted.processed
        self.errors += counted.errors
        self.latency.add(counted.latency_counts, counted.latency_seconds)

    def with_process(self, counted: Counted, queue_depth: int) -> KernelStatistics:
        """Return a copy that includes the present process."""
        result = copy.deepcopy(self)
        result.add_process(counted)
        result.queue_depth = queue_depth
        return result

    def drop(self, reason: str, count: int = 1) -> None:
        """Count messages that were dropped."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
