"""What a dispatcher has done so far, counted."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field

import trio

from ..histogram import Histogram
from .dead_letters import DeadReason
from .desk import SendingDesk
from .ledger import Ledger
from .protocol import ActorId
from .route_table import RouteTable


@dataclass(frozen=True)
class RoutingStatistics:
    """Counts of one dispatcher at one moment: *accepted* is *delivered*, *dead* and *pending*.

    Attributes:
      accepted: messages that were taken in.
      delivered: those that a route has taken.
      dead_by_reason: those that became dead letters; reasons that never occurred are missing.
      waiting: those that wait in the queue of an actor right now.
      in_flight: those that a route sends right now.
      refused: messages that were not taken in: `MailboxFull`.
      coalesced: dead letters for which a newer message has taken the place.
      retries: sends that will be repeated.
      dropped_letters: dead letters that nobody has read in time.
      depths: how many wait for each actor, and are in flight to it; actors with none are missing.
      oldest_age: seconds since the oldest message that is pending was accepted; 0 without any.
      latency: from acceptance to delivery, of all that were delivered.
      worst_latency: the longest of them, in seconds.
      closed_routes: the routes that an error has closed, and that error; `add_route` opens one
        again.
    """

    accepted: int
    delivered: int
    waiting: int
    in_flight: int
    refused: int
    coalesced: int
    retries: int
    dropped_letters: int
    oldest_age: float
    latency: Histogram
    worst_latency: float
    dead_by_reason: dict[DeadReason, int] = field(default_factory=dict)
    depths: dict[ActorId, int] = field(default_factory=dict)
    closed_routes: dict[str, Exception] = field(default_factory=dict)

    @property
    def dead(self) -> int:
        """All dead letters."""
        return sum(self.dead_by_reason.values())

    @property
    def pending(self) -> int:
        """Messages that have come to no end yet."""
        return self.waiting + self.in_flight


def statistics_of(table: RouteTable, ledger: Ledger, desk: SendingDesk) -> RoutingStatistics:
    """Return what these have counted, and what they hold now."""
    flying = [route.in_flight for route in desk.running if route.in_flight is not None]
    depths = Counter({queue.actor_id: len(queue) for queue in table.queues.values() if queue})
    depths.update(item.queue.actor_id for item in flying)
    begins = [item.accepted_at for item in flying]
    begins += [queue.oldest_at for queue in table.queues.values() if queue]
    return RoutingStatistics(
        accepted=ledger.accepted,
        delivered=ledger.delivered,
        dead_by_reason=dict(ledger.dead),
        waiting=sum(map(len, table.queues.values())),
        in_flight=len(flying),
        refused=desk.intake.refused,
        coalesced=desk.intake.coalesced,
        retries=desk.retries,
        dropped_letters=ledger.letters.dropped,
        depths=dict(depths),
        oldest_age=trio.current_time() - min(begins) if begins else 0.0,
        latency=copy.deepcopy(ledger.latency),
        worst_latency=ledger.latency_worst,
        closed_routes=table.failures,
    )
