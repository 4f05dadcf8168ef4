"""The runtime of one process: who it is, where its children connect, when it shall end."""

from __future__ import annotations

import os
import random
import signal
import threading
import types
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import tricycle
import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Channel, ChannelStatistics, Exposure
from ..errors import Uid
from ..limits import Limits
from .buffer_access import BufferAccess
from .current import being
from .directory import Directory
from .host import Host
from .logs import naming_records
from .reception import Reception
from .registry import Registry, TreeRegistry

if TYPE_CHECKING:
    from ..bridges import Bridge
    from ..buffers.store import BufferStore
    from .linked_peer import FoundPeer

_UNIQUE_BYTES = 8


def new_uid(name: str, limits: Limits, chance: random.Random) -> Uid:
    """Return a uid for a new incarnation of *name*, its unique part drawn from *chance*."""
    check_name(name, limits)
    return name, chance.randbytes(_UNIQUE_BYTES).hex()


def check_name(name: str, limits: Limits) -> None:
    """Refuse what is no name for an actor.

    Raises:
      ValueError: it is empty, too long, or not printable.
    """
    is_text = isinstance(name, str) and bool(name) and name.isprintable()
    if not is_text or len(name.encode()) > limits.max_name_bytes:
        raise ValueError(
            f"an actor's name has 1 to {limits.max_name_bytes} printable bytes, not {name!r}"
        )


class ActorStatistics(NamedTuple):
    """What an actor is doing right now."""

    name: str
    pid: int
    children: int
    links: tuple[ChannelStatistics, ...]


class StopRequest(NamedTuple):
    """Somebody wants this actor to end: who, and until when (trio's clock)."""

    canceller: Uid
    deadline: float


class Interrupts:
    """How often Ctrl-C was pressed, for the root: one hurries, a second one kills.

    trio raises KeyboardInterrupt in one task only; nurseries in other tasks look here. ``count``
    is right at once, ``listeners`` are called soon after each.
    """

    def __init__(self) -> None:
        self.count = 0
        self.listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<Interrupts: {self.count}>"

    def tell(self) -> None:
        """Tell the listeners."""
        for listener in list(self.listeners):
            listener()


@contextmanager
def noting_interrupts(interrupts: Interrupts) -> Iterator[None]:
    """Note every SIGINT while the block runs, beside whatever else it does.

    Only the main thread has signals; elsewhere nothing is noted.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    token = trio.lowlevel.current_trio_token()

    def on_sigint(number: int, frame: types.FrameType | None) -> None:
        interrupts.count += 1  # here, so that what this very signal cancels finds it noted
        token.run_sync_soon(interrupts.tell)
        before(number, frame)

    signal.signal(signal.SIGINT, on_sigint)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is on_sigint:
            signal.signal(signal.SIGINT, before)


class Actor:
    """One actor: this process, or a part of it.

    Attributes:
      name, uid: who it is; ``uid`` is ``(name, unique id)``.
      parent_uid: uid of the actor that started it, None for the root.
      bridge: to the asyncio loop beside trio, None if it was started without.

    ``services`` are its tasks that outlive the body, ``exposure`` is what anybody in the tree may
    call, ``found_peers`` are the actors that somebody here has a portal to, and ``attachments``
    are what floors above keep with this actor, by their class.
    """

    def __init__(
        self,
        uid: Uid,
        parent_uid: Uid | None,
        limits: Limits,
        host: Host,
        transport: str,
        services: trio.Nursery,
        *,
        root_uid: Uid | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.uid = uid
        self.parent_uid = parent_uid
        self.limits = limits
        self.host = host
        self.reception = Reception(uid, limits, host, transport, services)
        self.threads = trio.CapacityLimiter(limits.max_threads)
        self.channels: set[Channel] = set()
        self.services = services
        self.directory = Directory(uid, limits, registry)
        self.exposure = Exposure()
        self.found_peers: weakref.WeakValueDictionary[Uid, FoundPeer]
        self.found_peers = weakref.WeakValueDictionary()
        self.root_uid = root_uid or uid
        self.attachments: dict[type, object] = {}
        self.buffer_access = BufferAccess(limits, services, host.run_blocking)
        self.bridge: Bridge | None = None
        self.children_count = 0
        self.stop_request: StopRequest | None = None
        self.stopping = trio.Event()
        self.interrupts = Interrupts()

    def __repr__(self) -> str:
        state = "stopping" if self.stop_request else "running"
        return f"<Actor {self.name!r}: {state}, {self.children_count} children, pid {os.getpid()}>"

    @property
    def name(self) -> str:
        """Its name, the first part of its uid."""
        return self.uid[0]

    @property
    def buffers(self) -> BufferStore:
        """Its buffers; loaded when they are first asked for."""
        return self.buffer_access.store

    def statistics(self) -> ActorStatistics:
        """Return what this actor is doing right now."""
        links = tuple(channel.statistics() for channel in self.channels)
        return ActorStatistics(self.name, os.getpid(), self.children_count, links)

    def request_stop(self, canceller: Uid, grace: float) -> None:
        """Begin an orderly end of this actor; the first to ask is named, the earliest wins."""
        deadline = trio.current_time() + grace
        if self.stop_request is not None:
            canceller = self.stop_request.canceller
            deadline = min(deadline, self.stop_request.deadline)
        self.stop_request = StopRequest(canceller, deadline)
        self.stopping.set()

    def grace_for_children(self, wanted: float | None) -> float:
        """Return the grace that a child may have, inside what this actor itself has left."""
        grace = self.limits.stop_grace_seconds if wanted is None else wanted
        if self.stop_request is not None:
            left = max(0.0, self.stop_request.deadline - trio.current_time())
            grace = min(grace, left * self.limits.child_grace_share)
        return grace

    def on_interrupt(self) -> None:
        """Take part in what Ctrl-C means: after a second one, no call is waited for."""
        if self.interrupts.count > 1:
            for channel in self.channels:
                channel.lose_patience()

    @enable_ki_protection
    async def run_channel(self, channel: Channel) -> None:
        """Serve *channel* until it is lost, as one of this actor's links."""
        self.channels.add(channel)
        try:
            with being(self):  # its services are outside of what the runtime is around
                await channel.run()
        finally:
            self.channels.discard(channel)
            self.buffer_access.detach(channel)


@asynccontextmanager
async def open_runtime(
    uid: Uid,
    parent_uid: Uid | None,
    limits: Limits,
    host: Host,
    transport: str,
    *,
    root_uid: Uid | None = None,
    registry: Registry | None = None,
) -> AsyncIterator[Actor]:
    """Open the runtime of an actor around the code inside the block.

    Its links outlive the body, so that an orderly end can still use them.
    """
    async with open_services() as services:
        actor = Actor(
            uid,
            parent_uid,
            limits,
            host,
            transport,
            services,
            root_uid=root_uid,
            registry=registry,
        )
        try:
            with being(actor):
                yield actor
        finally:
            actor.buffer_access.close()


_root: Actor | None = None
"""The root of this process, of which there can be one: its children import the script again and
expect a single tree. Only `open_root` touches it."""


@asynccontextmanager
async def open_root(
    name: str, limits: Limits, host: Host, transport: str, exposure: Exposure
) -> AsyncIterator[Actor]:
    """Open the runtime of the one root of this process; its tree can call what *exposure* has.

    Raises:
      RuntimeError: there is one already, which this code does not run in.
    """
    global _root
    uid = new_uid(name, limits, host.chance)
    if _root is not None:
        raise RuntimeError(
            f"this process is the root {_root.name!r} already; open the nursery inside the block "
            f"that opened it, or in a task that was started there"
        )
    registry = TreeRegistry(limits)
    async with open_runtime(uid, None, limits, host, transport, registry=registry) as actor:
        _root = actor
        actor.exposure = exposure
        actor.interrupts.listeners.append(actor.on_interrupt)
        try:
            with naming_records(name), noting_interrupts(actor.interrupts):
                yield actor
        finally:
            _root = None


@asynccontextmanager
@enable_ki_protection
async def open_services() -> AsyncIterator[trio.Nursery]:
    """Open a nursery for tasks that serve the body: they are cancelled when it has ended.

    Unlike with trio's own, an error of the body leaves as itself and not inside a group.
    """
    error: BaseException | None = None
    try:
        async with tricycle.open_service_nursery() as services:
            try:
                yield services
            except BaseException as raised:
                error = raised
            services.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # When we are cancelled from outside, the services end with Cancelled as well.
        _, failures = group.split(trio.Cancelled)
        if failures is not None and failures.split(KeyboardInterrupt)[1] is None:
            raise KeyboardInterrupt from error
        if error is None or failures is not None:
            raise
    if error is not None:
        raise error
