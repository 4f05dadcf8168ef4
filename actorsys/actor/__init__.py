"""The actor: the runtime of one process, and what callers hold of another.

This floor knows portals, contexts and streams, and runs the functions that peers call. It does
not know how a process is made or who restarts it.
"""

from .context import Context
from .current import current_actor, find_current_actor, trace_context
from .portal import Peer, Portal
from .reception import Expected, Reception
from .runtime import Actor, ActorStatistics, StopRequest, open_runtime
from .serve import run_call
from .stream import MsgStream, Subscription

__all__ = [
    "Actor",
    "ActorStatistics",
    "Context",
    "Expected",
    "MsgStream",
    "Peer",
    "Portal",
    "Reception",
    "StopRequest",
    "Subscription",
    "current_actor",
    "find_current_actor",
    "open_runtime",
    "run_call",
    "trace_context",
]
