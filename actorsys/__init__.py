"""Structured-concurrent actors: trio's guarantees across processes.

Each actor is a process with a trio loop. A nursery starts actors and none outlives its block; a
portal calls functions in them; results, errors and cancellation come back as if it were a local
call. The package is a house, and each floor knows only those below it:

  supervise    the tree: nurseries, who is affected when an actor fails
  spawn        the process: start, watch and stop exactly one
  actor        the actor: runtime of a process, portals, contexts, streams
  channel      the link: one authenticated, multiplexed connection to a peer
  transport    bytes: TCP, Unix sockets, memory
  wire         the protocol as values: frames, messages, handshake; no I/O
  errors, limits

Walk one call downwards: `Portal.run` names the function (`channel.exposure.qualify`) and hands it
to the link (`channel.channel.start_call`), which encodes it (`wire.codec`) and queues the frame
(`channel.outbox`); it is written when the scheduler's tick ends (`channel.tick`). Over there the
reader finds what is exposed (`channel.exposure`) and starts a task for it (`actor.serve`).
"""

from .actor import (
    Actor,
    ActorStatistics,
    Context,
    Down,
    Endpoint,
    MsgStream,
    Portal,
    Subscription,
    current_actor,
    monitor,
    open_endpoint,
    open_link,
    trace_context,
)
from .channel import context
from .errors import (
    ActorDied,
    ActorsysError,
    ActorUnavailable,
    AuthenticationFailed,
    ChannelBroken,
    ChannelClosed,
    ContextCancelled,
    EncodeError,
    HandshakeError,
    LimitExceeded,
    LocalProtocolError,
    NoRuntime,
    NotExposed,
    ProtocolError,
    RemoteActorError,
    RemoteProtocolError,
    RestartIntensityExceeded,
    SpawnError,
    VersionMismatch,
)
from .limits import Limits
from .supervise import (
    ActorNursery,
    Backoff,
    OneCancelsAll,
    OneForAll,
    OneForOne,
    RestForOne,
    open_nursery,
    run,
)
from .transport import Tls
from .wire import register_error, register_type

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "ActorDied",
    "ActorNursery",
    "ActorStatistics",
    "ActorUnavailable",
    "ActorsysError",
    "AuthenticationFailed",
    "Backoff",
    "ChannelBroken",
    "ChannelClosed",
    "Context",
    "ContextCancelled",
    "Down",
    "EncodeError",
    "Endpoint",
    "HandshakeError",
    "LimitExceeded",
    "Limits",
    "LocalProtocolError",
    "MsgStream",
    "NoRuntime",
    "NotExposed",
    "OneCancelsAll",
    "OneForAll",
    "OneForOne",
    "Portal",
    "ProtocolError",
    "RemoteActorError",
    "RemoteProtocolError",
    "RestForOne",
    "RestartIntensityExceeded",
    "SpawnError",
    "Subscription",
    "Tls",
    "VersionMismatch",
    "context",
    "current_actor",
    "monitor",
    "open_endpoint",
    "open_link",
    "open_nursery",
    "register_error",
    "register_type",
    "run",
    "trace_context",
]
