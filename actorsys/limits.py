"""Every number of the system in one place, each with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """The limits of one actor tree; the root decides, its descendants inherit."""

    # --- frames and values -------------------------------------------------------------

    max_message_bytes: int = 64 * MIB
    """One message. More than this belongs into a buffer, which is handed over, not copied."""

    segment_bytes: int = 64 * KIB
    """Bytes and arrays from here on travel outside the packed body, so that neither end
    copies them twice. Below it the extra headers cost more than the copy."""

    max_depth: int = 128
    """Containers inside containers. JSON parsers allow 100 to 1,000; user code that recurses
    over a message must not hit Python's limit of 1,000 frames."""

    max_typed_depth: int = 32
    """Tuples, sets and dataclasses inside each other. The decoder takes about 48 KiB of C
    stack for each, and a thread may have only 8 MiB."""

    max_name_bytes: int = 64
    """An actor's name; the handshake must fit into `handshake_bytes`."""

    # --- buffers -------------------------------------------------------------------------

    max_buffer_bytes: int = 16 * 1024 * MIB
    """What the buffers of one actor may take on the host, and on each GPU. Memory of the host is
    taken as it is written to; this is to stop a leak before it stops the machine."""

    max_resting_buffer_bytes: int = 256 * MIB
    """Of that, what is kept for the next buffers when it is not in use."""

    shared_array_bytes: int = 256 * KIB
    """Arrays from here on reach an actor on this machine through shared memory. It saves a copy
    in and out of the kernel, and costs a lease. 1 is every array; a large number is none."""

    max_array_bytes: int = 256 * MIB
    """What the arrays that were sent this way may take at a time, as long as somebody has them.
    Beyond it they are copied."""

    # --- flow control ------------------------------------------------------------------

    stream_window_bytes: int = 256 * KIB
    """What a stream may have under way unread. Enough for 3 GB/s at a loopback round trip of
    80 us, and small enough that a thousand stuck streams stay under 256 MiB."""

    outbox_high_water_bytes: int = 1 * MIB
    """Senders wait while more than this is queued on a link."""

    outbox_overflow_bytes: int = 16 * MIB
    """Replies that cannot wait (credits, answers of the runtime) may pile up to this; a peer
    that has not read so much is cut off."""

    max_calls_per_link: int = 10_000
    """Calls in flight from one peer, each a task of about 10 KiB."""

    items_per_checkpoint: int = 256
    """A stream that never has to wait still lets other tasks run after so many items."""

    checkpoint_seconds: float = 0.001
    """Or after so long, if making an item takes time: it shall leave before the next is made."""

    max_threads: int = 256
    """Plain functions that run at the same time in one actor, each in a thread. One that was
    cancelled holds its thread until it returns. trio's own default, 40, is for computing; these
    mostly wait."""

    receive_chunk_bytes: int = 64 * KIB
    """One read from a socket: the default size of a pipe and of most socket wrappers."""

    # --- carriers ----------------------------------------------------------------------

    carrier_credit_frames: int = 1024
    """Messages that a participant may have sent that wait in the hub, or have been given without
    having handled them. Heuristics that send to everybody at once had 1,500 in all under way."""

    carrier_credit_bytes: int = 16 * MIB
    """And their bytes: ten participants stay under half a gigabyte."""

    carrier_queue_frames: int = 128 * KIB
    """Messages that wait at one participant for credit; one more is refused. Those of a run that is
    sequenced may wait in the hub up to this."""

    carrier_queue_bytes: int = 64 * MIB
    """And their bytes."""

    # --- links to other machines -------------------------------------------------------

    ping_seconds: float = 1.0
    """How often a peer on another machine is asked for a sign of life."""

    max_unanswered_pings: int = 4
    """So many in a row without any sign, and the link is given up: 4 to 5 s after the peer has
    fallen silent, and not for a lost packet, which TCP has sent again by then."""

    write_deadline_seconds: float = 5.0
    """A peer on another machine that takes no byte for so long is cut off."""

    max_links_per_peer: int = 16
    """Connections that one name of an endpoint's allow-list may have at a time."""

    # --- the tree ----------------------------------------------------------------------

    max_tree_depth: int = 64
    """Generations of actors that names are known of."""

    max_registered_actors: int = 65_536
    """Actors that names are known of: more than one machine runs."""

    introduction_seconds: float = 5.0
    """An actor that was told of a guest expects it for so long: longer than a handshake takes."""

    # --- topics ------------------------------------------------------------------------

    max_topic_bytes: int = 256
    """The name of a topic: as long as MQTT brokers commonly allow."""

    max_subscribers: int = 10_000
    """Subscriptions in a tree, each a task of the root; as many as calls on a link."""

    max_subscriber_bytes: int = 16 * MIB
    """What may wait for one subscriber, however few items these are."""

    # --- handshake ---------------------------------------------------------------------

    handshake_bytes: int = 256
    """All that is buffered for a peer that has not proved who it is."""

    handshake_timeout_seconds: float = 3.0
    """A peer that needs longer is not on this host, or not serious."""

    max_waiting_peers: int = 64
    """Peers in the handshake at the same time; one more pushes the oldest out."""

    listen_backlog: int = 512
    """Connections that the kernel holds for us while we are busy."""

    # --- stopping ----------------------------------------------------------------------

    stop_grace_seconds: float = 3.0
    """An actor that was asked to stop has so long before SIGTERM; so has asyncio code in a root,
    once it was cancelled, before it is left behind."""

    kill_after_seconds: float = 0.25
    """From SIGTERM to SIGKILL. With it, stopping takes at most the grace and half a second."""

    interrupt_grace_seconds: float = 0.5
    """The grace after Ctrl-C: the whole tree is gone within 2 s, cancelled calls included."""

    child_grace_share: float = 0.75
    """An actor gives its own children this share of the grace it has left, so that it can
    clean up after them and still end in time itself."""

    cancel_ack_seconds: float = 0.4
    """A cancelled call waits so long for the far side to finish its clean-up. Shorter than half a
    second, in which a second Ctrl-C must have ended the tree."""

    deadline_slack_seconds: float = 0.02
    """The far side enforces a deadline this much later, so that the caller's own clock, which
    knows best, speaks first; well inside the 100 ms in which work must have stopped."""

    link_loss_seconds: float = 0.25
    """When the link to a child breaks, its process has so long to explain by exiting."""

    drain_seconds: float = 0.1
    """After a process has ended: how long its stderr may still be held open by others."""

    # --- errors ------------------------------------------------------------------------

    stderr_tail_bytes: int = 8 * KIB
    """The end of a child's stderr that is kept: a traceback of about 100 lines."""

    max_traceback_chars: int = 16 * KIB
    """A traceback in an error that travels; its middle is cut."""

    max_text_chars: int = 4 * KIB
    """A message or note in an error that travels."""

    max_error_values_bytes: int = 64 * KIB
    """Arguments and attributes of all errors in one error; what is larger is left out."""

    max_error_nodes: int = 128
    """Errors in one error: causes, contexts and members of groups together."""

    max_error_depth: int = 12
    """How deep causes and groups nest in an error that travels."""

    def __post_init__(self) -> None:
        for name, value in self.as_map().items():
            if not value > 0:
                raise ValueError(f"limit {name} must be positive, not {value!r}")
        for name in ("max_message_bytes", "stream_window_bytes"):
            if not KIB <= getattr(self, name) < 4 * KIB * MIB:
                raise ValueError(f"limit {name} must be from 1 KiB to 4 GiB - 1")

    def as_map(self) -> dict[str, Any]:
        """Return the numbers by name, for a child to inherit."""
        return asdict(self)


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class RoutingLimits:
    """The limits of one dispatcher of routed messages."""

    max_pending: int = 100_000
    """Messages that are accepted and at no end yet. One takes about 0.3 KiB beside its payload,
    so that this is 30 MiB."""

    max_waiting_per_actor: int = 10_000
    """Of these, how many may wait for one actor, so that one that is never assigned leaves room
    for nine others."""

    max_dead_letters: int = 10_000
    """Dead letters that nobody has read."""

    close_grace_seconds: float = 3.0
    """For what can still be delivered when a dispatcher is closed: as long as an actor has."""

    call_off_seconds: float = 0.4
    """After it: for sends under way to end once they are cancelled. As long as any other call
    has for that."""

    sends_per_checkpoint: int = 64
    """A route that never has to wait still lets other tasks run after so many messages, and
    whoever dispatches as well."""

    checkpoint_seconds: float = 0.001
    """Or after so long."""

    min_retry_seconds: float = 0.001
    """Before a message is tried again, whatever the rule for it says: at most 1000 attempts a
    second, which leave others their turn."""

    min_swept_messages: int = 1024
    """Messages whose deadlines are watched, some of which have come to an end meanwhile: fewer
    are not worth a walk."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"limit {name} must be positive, not {value!r}")


DEFAULT_ROUTING_LIMITS = RoutingLimits()
