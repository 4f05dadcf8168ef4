"""The actor: the runtime of one process, and what callers hold of another.

This floor knows portals, contexts and streams, and runs the functions that peers call. It does
not know how a process is made or who restarts it.
"""

from .context import Context
from .current import current_actor, find_current_actor, trace_context
from .discovery import actors, find_actor, wait_for_actor
from .endpoint import Endpoint, open_endpoint
from .host import Host, ProcessHandle
from .link import open_link
from .monitor import Down, Monitors, monitor
from .open_buffer import adopt, open_buffer, resolve_buffer
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
    "Endpoint",
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
    "adopt",
    "current_actor",
    "find_actor",
    "find_current_actor",
    "make_channel",
    "monitor",
    "open_buffer",
    "open_endpoint",
    "open_link",
    "open_runtime",
    "resolve_buffer",
    "run_call",
    "trace_context",
    "wait_for_actor",
]
