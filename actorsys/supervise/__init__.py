"""The tree: nurseries of actors, and what becomes of the others when one fails."""

from .nursery import ActorNursery, open_nursery, run
from .strategies import Backoff, OneCancelsAll, OneForAll, OneForOne, RestForOne

__all__ = [
    "ActorNursery",
    "Backoff",
    "OneCancelsAll",
    "OneForAll",
    "OneForOne",
    "RestForOne",
    "open_nursery",
    "run",
]
