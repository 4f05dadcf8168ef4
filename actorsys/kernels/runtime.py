"""Launch kernels, talk to them, end them."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from ..actor import Portal, current_actor
from ..actor.parcels import Parcel, size_of
from ..actor.runtime import open_services
from ..limits import DEFAULT_LIMITS
from ..spawn import module_names
from ..supervise import ActorNursery, OneForOne, open_nursery
from ..supervise.strategies import Restart, Strategy
from ..wire.codec import too_large
from .kernel import Kernel
from .packing import Envelope, enveloped, unpack_message
from .ring_kernels import KernelState, MailboxOptions, kernel_of
from .statistics import KernelStatistics

_FRAME_BYTES = 1024  # more than enough for what stands around a message in its frame


class RingKernelRuntime:
    """The kernels of one block: each is an actor, a process of its own.

    Leaving the block terminates all of them, after what was accepted has been handled; when an
    error leaves it, at once. *strategy* is that of the nursery in which they live; with the
    default, a kernel that was launched with ``restart="permanent"`` or ``"transient"`` is started
    again after a crash, and its unread messages are kept.
    """

    def __init__(self, *, strategy: Strategy = OneForOne()) -> None:  # noqa: B008
        self._strategy = strategy
        self._kernels: dict[str, Kernel] = {}
        self._launching: set[str] = set()
        self._topics: dict[str, list[str]] = {}
        self._limits = DEFAULT_LIMITS
        self._nursery: ActorNursery | None = None
        self._tasks: trio.Nursery | None = None
        self._block: AbstractAsyncContextManager[None] | None = None

    def __repr__(self) -> str:
        states = ", ".join(f"{name}: {k.life.state.value}" for name, k in self._kernels.items())
        return f"<RingKernelRuntime: {states or 'no kernels'}>"

    async def __aenter__(self) -> RingKernelRuntime:
        if self._block is not None:
            raise RuntimeError("this runtime is open already; open another one")
        self._block = self._open()
        try:
            await self._block.__aenter__()
        except BaseException:
            self._block = None
            raise
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        block, self._block = self._block, None
        assert block is not None
        return await block.__aexit__(*exc)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        async with open_nursery(strategy=self._strategy) as self._nursery:
            self._limits = current_actor().limits
            async with open_services() as self._tasks:
                self._kernels.clear()
                self._topics.clear()
                yield
                await self.terminate_all()
            await self._nursery.cancel()

    # --- their life ----------------------------------------------------------------------

    async def launch(
        self,
        name: str,
        entry: Callable[..., Any],
        *,
        restart: Restart = "temporary",
        mailbox: MailboxOptions | None = None,
        modules: Iterable[str | types.ModuleType] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start a kernel under *name*; return when its process is up. `activate` it next.

        *restart* is that of `ActorNursery.start_actor`. *mailbox* takes the place of the options of
        its `@ring_kernel`. *modules* are imported there as well, and *env* is added to its
        environment. Its function runs from now on; messages that are sent wait.

        Raises:
          ValueError: there is a kernel of that name.
          TypeError: *entry* is no kernel.
          SpawnError, ActorDied: its process ended before it was up.
          NotExposed: its function is private.
        """
        nursery, tasks = self._opened()
        kernel_info = kernel_of(entry)
        if mailbox is not None and not isinstance(mailbox, MailboxOptions):
            raise TypeError(f"mailbox is a MailboxOptions, not {mailbox!r}")
        offered = module_names(modules)
        is_taken = name in self._kernels and not self._kernels[name].life.is_over
        if is_taken or name in self._launching:
            raise ValueError(f"there is a kernel {name!r} already; terminate it first")
        self._launching.add(name)
        try:
            portal = await nursery.start_actor(
                name, modules=[entry.__module__, *offered], restart=restart, env=env
            )
        finally:
            self._launching.discard(name)
        options = mailbox or kernel_info.options
        limits = self._limits
        kernel = Kernel(name, entry, portal, options, restart, self._on_request, limits)
        self._kernels[name] = kernel
        for names in self._topics.values():
            if name in names:
                names.remove(name)
        for topic in kernel_info.topics:
            self.subscribe(topic, name)
        tasks.start_soon(kernel.run)
        await kernel.wait_launched()
        if kernel.life.failure is not None:
            raise kernel.life.failure

    async def activate(self, name: str) -> None:
        """Let a kernel take messages; return when it does."""
        await self._kernel(name).set_gate(True, KernelState.ACTIVE)

    async def deactivate(self, name: str) -> None:
        """Let a kernel take no more messages; return when it does not. They wait, in order."""
        await self._kernel(name).set_gate(False, KernelState.DEACTIVATED)

    async def reactivate(self, name: str) -> None:
        """Let a kernel take messages again; return when it does."""
        await self.activate(name)

    async def terminate(
        self, name: str, *, drain: bool = True, timeout: float | None = None
    ) -> None:
        """End a kernel; return when its process is gone.

        It is asked to end once it has handled what was accepted, or at once where *drain* is
        false. After *timeout* seconds, 3 by default, it is stopped by force. What it has not
        taken is counted as dropped.
        """
        limits = current_actor().limits
        seconds = limits.stop_grace_seconds if timeout is None else timeout
        await self._kernel(name).terminate(drain=drain, seconds=seconds)

    async def terminate_all(self, *, drain: bool = True, timeout: float | None = None) -> None:
        """Terminate every kernel, all at the same time; else as `terminate`.

        With *drain*, none is asked to end before all have handled what they were sent, by each
        other as well; *timeout* is for all of it.
        """
        seconds = current_actor().limits.stop_grace_seconds if timeout is None else timeout
        deadline = trio.current_time() + seconds
        if drain:
            with trio.move_on_at(deadline):
                await self._wait_quiet()
            timeout = max(0.0, deadline - trio.current_time())
        async with trio.open_nursery() as tasks:
            for name in self._kernels:
                end = functools.partial(self.terminate, name, drain=drain, timeout=timeout)
                tasks.start_soon(end)

    async def _wait_quiet(self) -> None:
        """Return when no kernel has anything to do, nor gives another anything to do."""
        before = -1
        while before != (now := self._accepted_count()):
            before = now
            async with trio.open_nursery() as tasks:
                for kernel in self._kernels.values():
                    tasks.start_soon(kernel.wait_quiet)

    def _accepted_count(self) -> int:
        return sum(kernel.accepted_count for kernel in self._kernels.values())

    def portal(self, name: str) -> Portal:
        """Return the portal to the actor that a kernel is."""
        return self._kernel(name).portal

    def state(self, name: str) -> KernelState:
        """Return where a kernel is in its life."""
        return self._kernel(name).life.state

    async def wait_state(self, name: str, state: KernelState) -> None:
        """Wait until a kernel is in *state*.

        Raises:
          ActorUnavailable: it has ended and will never be.
        """
        await self._kernel(name).life.wait_state(state)

    async def statistics(self, name: str) -> KernelStatistics:
        """Return what a kernel has done so far.

        Its process is asked; one that is too busy to answer within half a second has told last what
        is returned then.
        """
        return await self._kernel(name).statistics()

    # --- messages ------------------------------------------------------------------------

    async def send(self, name: str, message: Any) -> None:
        """Put a copy of *message* into the mailbox of a kernel.

        It returns when the message is accepted, not when it is processed. When the mailbox is
        full, its `BackpressureStrategy` decides.

        Raises:
          EncodeError: a field cannot travel; class and field are named.
          LimitExceeded: it is too large.
          MailboxFull: there is no room, and the strategy is to refuse.
          ActorUnavailable, ActorDied: the kernel has ended.
          ValueError: there is no kernel of that name.
        """
        await self._kernel(name).send(self._enveloped(message))

    async def receive(self, name: str, timeout: float | None = None) -> Any:
        """Return the next response of a kernel that is no reply to an `ask`.

        Raises:
          ReceiveTimeout: there is none within *timeout* seconds; a `TimeoutError` as well.
          ActorUnavailable, ActorDied: there is none, and the kernel has ended.
        """
        seconds = math.inf if timeout is None else timeout
        return unpack_message(await self._kernel(name).receive(seconds))

    async def ask(self, name: str, message: Any, timeout: float | None = None) -> Any:
        """Send *message* and return the reply to it: the response that is correlated with it.

        Raises:
          ReceiveTimeout: it has not come within *timeout* seconds; if it comes later it is
            dropped and counted.
          ActorDied: the kernel died while it had the message.
          What `send` raises.
        """
        seconds = math.inf if timeout is None else timeout
        return unpack_message(await self._kernel(name).ask(self._enveloped(message), seconds))

    def subscribe(self, topic: str, name: str) -> None:
        """Let a kernel have every message that is published to *topic*."""
        self._kernel(name)
        names = self._topics.setdefault(topic, [])
        if name not in names:
            names.append(name)

    def unsubscribe(self, topic: str, name: str) -> None:
        """Let a kernel have no more messages of *topic*."""
        names = self._topics.get(topic, [])
        if name in names:
            names.remove(name)

    async def publish(self, topic: str, message: Any) -> None:
        """Send *message* to every kernel that is subscribed to *topic* and has not ended.

        It waits for each mailbox that blocks. Who refuses does not keep it from the others: what
        they raise leaves as an `ExceptionGroup` when all have had it.
        """
        await self._publish(topic, self._enveloped(message))

    async def _publish(self, topic: str, envelope: Envelope) -> None:
        alive = [
            kernel
            for name in self._topics.get(topic, ())
            if not (kernel := self._kernels[name]).life.is_over
        ]
        errors: list[Exception] = []

        async def send(kernel: Kernel) -> None:
            try:
                await kernel.send(envelope)
            except Exception as error:
                errors.append(error)

        async with trio.open_nursery() as tasks:
            for kernel in alive:
                tasks.start_soon(send, kernel)
        if errors:
            raise ExceptionGroup(f"some kernels did not take what {topic!r} published", errors)

    # --- inside --------------------------------------------------------------------------

    def _opened(self) -> tuple[ActorNursery, trio.Nursery]:
        if self._nursery is None or self._tasks is None:
            raise RuntimeError("open the runtime first: async with RingKernelRuntime() as runtime")
        return self._nursery, self._tasks

    def _kernel(self, name: str) -> Kernel:
        kernel = self._kernels.get(name)
        if kernel is None:
            self._opened()
            known = ", ".join(map(repr, self._kernels)) or "none"
            raise ValueError(f"there is no kernel {name!r}; there are: {known}")
        return kernel

    def _enveloped(self, message: Any) -> Envelope:
        envelope = enveloped(message)
        limit = self._limits.max_message_bytes
        size = size_of(envelope.parcel)
        if size + _FRAME_BYTES > limit:
            raise too_large(size, limit)
        return envelope

    async def _on_request(
        self, verb: str, name: str, envelope: Envelope, timeout: float | None
    ) -> Parcel | None:
        """Do what a kernel asks for."""
        if verb == "ask":
            return await self._kernel(name).ask(envelope, math.inf if timeout is None else timeout)
        if verb == "publish":
            await self._publish(name, envelope)
        elif verb == "send":
            await self._kernel(name).send(envelope)
        else:
            raise ValueError(f"a kernel asks for send, ask or publish, not {verb!r}")
        return None
