"""The actor: the runtime of one process, and what callers hold of another.

This floor knows portals, contexts and streams, and runs the functions that peers call. It does
not know how a process is made or who restarts it.
"""

from .context import Context
from .current import current_actor, find_current_actor, trace_context
from .discovery import actors, find_actor, wait_for_actor
from .host import Host, ProcessHandle
from .monitor import Down, Monitors, monitor
from .portal import Peer, PeerState, Portal
from .reception import Expected, Reception
from .runtime import Actor, ActorStatistics, StopRequest, open_runtime
from .serve import make_channel, run_call
from .stream import MsgStream, Subscription

__all__ = [
    "Actor",
    "ActorStatistics",
    "Context",
    "Down",
    "Expected",
    "Host",
    "Monitors",
    "MsgStream",
    "Peer",
    "PeerState",
    "Portal",
    "ProcessHandle",
    "Reception",
    "StopRequest",
    "Subscription",
    "actors",
    "current_actor",
    "find_actor",
    "find_current_actor",
    "make_channel",
    "monitor",
    "open_runtime",
    "run_call",
    "trace_context",
    "wait_for_actor",
]
