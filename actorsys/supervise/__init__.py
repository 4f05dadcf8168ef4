"""The tree: nurseries of actors, and what becomes of the others when one fails."""

from .nursery import ActorNursery, open_nursery, run
from .strategies import OneCancelsAll

__all__ = ["ActorNursery", "OneCancelsAll", "open_nursery", "run"]
