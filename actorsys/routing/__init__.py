"""Messages for many actors, brought over a few routes; none is lost without a word.

This floor knows no process: a route is a function that sends.
"""

from .dead_letters import DeadLetter, DeadLetters, DeadReason
from .dispatcher import RouterDispatcher
from .opening import open_dispatcher
from .overflow import Overflow
from .protocol import DEADLINES_SECONDS, Protocol, RoutedMessage
from .retry_delay import RetryDelay
from .statistics import RoutingStatistics

__all__ = [
    "DEADLINES_SECONDS",
    "DeadLetter",
    "DeadLetters",
    "DeadReason",
    "Overflow",
    "Protocol",
    "RetryDelay",
    "RoutedMessage",
    "RouterDispatcher",
    "RoutingStatistics",
    "open_dispatcher",
]
