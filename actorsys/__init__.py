"""Structured-concurrent actors: trio's guarantees across processes.

Each actor is a process with a trio loop. A nursery starts actors and none outlives its block; a
portal calls functions in them; results, errors and cancellation come back as if it were a local
call. The package is a house, and each floor knows only those below it:

  testing      for tests of programs: simulation, faults, leaks (not imported from here)
  carriers     asyncio algorithms, each participant in a process (not imported from here)
  kernels      actors that are fed by a mailbox: messages, priorities, ring kernels
  pools        like actors that calls are spread over, and maps
  routing      messages for many actors, brought over a few routes
  supervise    the tree: nurseries, who is affected when an actor fails, monitors
  spawn        the process: start, watch and stop exactly one
  topics       publish and subscribe: patterns, and a rule for slow readers
  bridges      an asyncio loop beside trio: calls, errors and cancellation cross
  devices      arrays on the host and on a device, had from a pool
  actor        the actor: runtime of a process, portals, contexts, streams
  buffers      memory that is handed over: blocks, leases, pools
  channel      the link: one authenticated, multiplexed connection to a peer
  transport    bytes: TCP, Unix sockets, memory
  wire         the protocol as values: frames, messages, handshake; no I/O
  memory       what the kernel of the system shares between processes, and its locks
  errors, limits, histogram

Walk one call downwards: `Portal.run` names the function (`channel.exposure.qualify`) and hands it
to the link (`channel.channel.start_call`), which encodes it (`wire.codec`) and queues the frame
(`channel.outbox`); it is written when the scheduler's tick ends (`channel.tick`). Over there the
reader finds what is exposed (`channel.exposure`) and starts a task for it (`actor.serve`).
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from .actor import (
    Actor,
    ActorStatistics,
    Context,
    Down,
    MsgStream,
    Portal,
    Subscription,
    actors,
    current_actor,
    find_actor,
    monitor,
    trace_context,
    wait_for_actor,
)
from .channel import context
from .errors import (
    ActorDied,
    ActorsysError,
    ActorUnavailable,
    AsyncioCancelled,
    AuthenticationFailed,
    BridgeBroken,
    BridgeClosed,
    BudgetExceeded,
    BufferFault,
    BufferLost,
    BufferPoolFull,
    BufferReleased,
    CarrierError,
    CarrierOverflow,
    ChannelBroken,
    ChannelClosed,
    ContextCancelled,
    DeadLettered,
    DeadlineExceeded,
    DeviceOutOfMemory,
    DeviceUnavailable,
    EncodeError,
    HandshakeError,
    LimitExceeded,
    LocalProtocolError,
    MailboxFull,
    NoBridge,
    NoRuntime,
    NotExposed,
    NotReachable,
    NotRouted,
    NotShareable,
    ProtocolError,
    ReceiveTimeout,
    RemoteActorError,
    RemoteProtocolError,
    RestartIntensityExceeded,
    RunEnded,
    SpawnError,
    StaleBuffer,
    SubscriberTooSlow,
    UnknownParticipant,
    VersionMismatch,
)
from .histogram import Histogram
from .limits import Limits, RoutingLimits
from .wire import register_error, register_type

if TYPE_CHECKING:
    from .actor.endpoint import Endpoint, open_endpoint
    from .actor.link import open_link
    from .actor.open_buffer import adopt, open_buffer, resolve_buffer
    from .bridges.bridge import Bridge
    from .bridges.to_asyncio import to_asyncio, to_trio
    from .buffers.buffer import Buffer
    from .buffers.store import BufferStatistics
    from .devices import (
        BufferState,
        MemoryPool,
        PoolStatistics,
        UnifiedBuffer,
        get_memory_pool,
    )
    from .kernels import (
        BackpressureStrategy,
        Checkpoint,
        KernelContext,
        KernelState,
        KernelStatistics,
        MailboxOptions,
        Message,
        Priority,
        RingKernelRuntime,
        message,
        ring_kernel,
    )
    from .pools import (
        MapResults,
        MapStatistics,
        Pool,
        WorkerPoolStatistics,
        WorkerStatistics,
        open_pool,
    )
    from .routing import (
        DeadLetter,
        DeadLetters,
        DeadReason,
        Overflow,
        Protocol,
        RetryDelay,
        RoutedMessage,
        RouterDispatcher,
        RoutingStatistics,
        open_dispatcher,
    )
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
    from .topics import Publication, Publisher, Topic, TopicSubscription
    from .transport.tls import Tls

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "ActorDied",
    "ActorNursery",
    "ActorStatistics",
    "ActorUnavailable",
    "ActorsysError",
    "AsyncioCancelled",
    "AuthenticationFailed",
    "Backoff",
    "BackpressureStrategy",
    "Bridge",
    "BridgeBroken",
    "BridgeClosed",
    "BudgetExceeded",
    "Buffer",
    "BufferFault",
    "BufferLost",
    "BufferPoolFull",
    "BufferReleased",
    "BufferState",
    "BufferStatistics",
    "CarrierError",
    "CarrierOverflow",
    "ChannelBroken",
    "ChannelClosed",
    "Checkpoint",
    "Context",
    "ContextCancelled",
    "DeadLetter",
    "DeadLettered",
    "DeadLetters",
    "DeadReason",
    "DeadlineExceeded",
    "DeviceOutOfMemory",
    "DeviceUnavailable",
    "Down",
    "EncodeError",
    "Endpoint",
    "HandshakeError",
    "Histogram",
    "KernelContext",
    "KernelState",
    "KernelStatistics",
    "LimitExceeded",
    "Limits",
    "LocalProtocolError",
    "MailboxFull",
    "MailboxOptions",
    "MapResults",
    "MapStatistics",
    "MemoryPool",
    "Message",
    "MsgStream",
    "NoBridge",
    "NoRuntime",
    "NotExposed",
    "NotReachable",
    "NotRouted",
    "NotShareable",
    "OneCancelsAll",
    "OneForAll",
    "OneForOne",
    "Overflow",
    "Pool",
    "PoolStatistics",
    "Portal",
    "Priority",
    "Protocol",
    "ProtocolError",
    "Publication",
    "Publisher",
    "ReceiveTimeout",
    "RemoteActorError",
    "RemoteProtocolError",
    "RestForOne",
    "RestartIntensityExceeded",
    "RetryDelay",
    "RingKernelRuntime",
    "RoutedMessage",
    "RouterDispatcher",
    "RoutingLimits",
    "RoutingStatistics",
    "RunEnded",
    "SpawnError",
    "StaleBuffer",
    "SubscriberTooSlow",
    "Subscription",
    "Tls",
    "Topic",
    "TopicSubscription",
    "UnifiedBuffer",
    "UnknownParticipant",
    "VersionMismatch",
    "WorkerPoolStatistics",
    "WorkerStatistics",
    "actors",
    "adopt",
    "context",
    "current_actor",
    "find_actor",
    "get_memory_pool",
    "message",
    "monitor",
    "open_buffer",
    "open_dispatcher",
    "open_endpoint",
    "open_link",
    "open_nursery",
    "open_pool",
    "register_error",
    "register_type",
    "resolve_buffer",
    "ring_kernel",
    "run",
    "to_asyncio",
    "to_trio",
    "trace_context",
    "wait_for_actor",
]

_LATER = {
    "supervise": {
        "ActorNursery",
        "Backoff",
        "OneCancelsAll",
        "OneForAll",
        "OneForOne",
        "RestForOne",
        "open_nursery",
        "run",
    },
    "bridges": {"Bridge", "to_asyncio", "to_trio"},
    "buffers": {"Buffer", "BufferStatistics", "adopt", "open_buffer", "resolve_buffer"},
    "links": {"Endpoint", "Tls", "open_endpoint", "open_link"},
    "devices": {"BufferState", "MemoryPool", "PoolStatistics", "UnifiedBuffer", "get_memory_pool"},
    "routing": {
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
    },
    "pools": {
        "MapResults",
        "MapStatistics",
        "Pool",
        "WorkerPoolStatistics",
        "WorkerStatistics",
        "open_pool",
    },
    "topics": {"Publication", "Publisher", "Topic", "TopicSubscription"},
    "kernels": {
        "BackpressureStrategy",
        "Checkpoint",
        "KernelContext",
        "KernelState",
        "KernelStatistics",
        "MailboxOptions",
        "Message",
        "Priority",
        "RingKernelRuntime",
        "message",
        "ring_kernel",
    },
}
"""Names that are imported when they are used: an actor that has none of it is smaller, and starts
sooner."""


def __getattr__(name: str) -> Any:
    """Import what is in `_LATER` when it is used."""
    for place, names in _LATER.items():
        if name in names:
            value = globals()[name] = getattr(_import(place), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _import(place: str) -> types.ModuleType | types.SimpleNamespace:
    match place:
        case "supervise":
            from . import supervise

            return supervise
        case "bridges":
            from . import bridges

            return bridges
        case "devices":
            from . import devices

            return devices
        case "pools":
            from . import pools

            return pools
        case "routing":
            from . import routing

            return routing
        case "topics":
            from . import topics

            return topics
        case "kernels":
            from . import kernels

            return kernels
        case "buffers":
            return _import_buffers()
    return _import_links()


def _import_buffers() -> types.SimpleNamespace:
    from .actor.open_buffer import adopt, open_buffer, resolve_buffer
    from .buffers.buffer import Buffer
    from .buffers.store import BufferStatistics

    return types.SimpleNamespace(
        Buffer=Buffer,
        BufferStatistics=BufferStatistics,
        adopt=adopt,
        open_buffer=open_buffer,
        resolve_buffer=resolve_buffer,
    )


def _import_links() -> types.SimpleNamespace:
    from .actor.endpoint import Endpoint, open_endpoint
    from .actor.link import open_link
    from .transport.tls import Tls

    return types.SimpleNamespace(
        Endpoint=Endpoint, Tls=Tls, open_endpoint=open_endpoint, open_link=open_link
    )


def __dir__() -> list[str]:
    return [*globals(), *__all__]
