"""Carriers: distributed algorithms written for asyncio, each participant in a process of its own.

An algorithm sees a `Carrier` with five methods. What it sends goes to a hub in the process that
opened the run, and from there to the others. This floor knows actors, and the bridge between their
two loops; it does not look into contents.
"""

from ..errors import BudgetExceeded, CarrierError, CarrierOverflow, RunEnded, UnknownParticipant
from .bus import Bus, BusCarrier
from .carrier import Algorithm, Carrier, Coordinator, EventWithValue, Meta
from .hold import Hold
from .hub import RunStatistics
from .hub_carrier import HubCarrier
from .open_participants import open_participants
from .options import Delivery
from .participant import Participant
from .run import Run

__all__ = [
    "Algorithm",
    "BudgetExceeded",
    "Bus",
    "BusCarrier",
    "Carrier",
    "CarrierError",
    "CarrierOverflow",
    "Coordinator",
    "Delivery",
    "EventWithValue",
    "Hold",
    "HubCarrier",
    "Meta",
    "Participant",
    "Run",
    "RunEnded",
    "RunStatistics",
    "UnknownParticipant",
    "open_participants",
]
