"""A nursery of actors: the children of one block, and the errors that leave it."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import outcome
import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor, Portal, find_current_actor
from ..actor.runtime import check_name, open_root, open_services
from ..bridges import BridgeKind, BridgeOptions, open_actor_bridge
from ..channel import Exposure, OutgoingCall, qualify
from ..errors import ActorUnavailable, ContextCancelled, Uid
from ..limits import DEFAULT_LIMITS, Limits
from ..spawn import (
    ActorSpec,
    LocalHost,
    module_names,
    refuse_in_an_actor,
    script_of_this_process,
    type_names,
)
from ..topics import SERVICE
from ..wire import register
from .child import Child, Recipe
from .one_shot import OneShot
from .strategies import OneCancelsAll, Restart, Strategy, check_restart, check_strategy
from .supervisor import Supervisor

T = TypeVar("T")


class ActorNursery:
    """The actors that were started in one ``async with open_nursery()`` block.

    None of them outlives the block. Leaving it waits for them; a daemon, started with
    `start_actor`, keeps it open until it is cancelled.
    """

    def __init__(
        self, actor: Actor, strategy: Strategy, services: trio.Nursery, scope: trio.CancelScope
    ) -> None:
        self._actor = actor
        self._strategy = strategy
        self._services = services
        self._scope = scope
        self._supervisor = Supervisor(actor, strategy, services, self._fail)
        self._one_shots = 0
        self._is_closed = False
        self.failures: list[Exception] = []

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        count = len(self._supervisor.children)
        return f"<ActorNursery of {self._actor.name!r}: {state}, {count} children>"

    @property
    def children(self) -> dict[str, Portal]:
        """Portals to the children by name; of several of one name, to the oldest.

        A child that is being restarted is among them: its portal is good.
        """
        portals: dict[str, Portal] = {}
        for child in self._supervisor.children:
            portals.setdefault(child.portal.name, child.portal)
        return portals

    @enable_ki_protection
    async def start_actor(
        self,
        name: str,
        *,
        modules: Iterable[str | types.ModuleType] = (),
        types: Iterable[type] = (),
        restart: Restart = "temporary",
        env: Mapping[str, str] | None = None,
        asyncio: bool | BridgeKind = False,
        uvloop: bool = False,
    ) -> Portal:
        """Start a daemon actor and return its portal once it is connected and ready.

        It offers the public functions defined in *modules*; ``__name__`` names the module this
        is written in, the script itself included. Classes in *types* are registered on both
        sides. *env* is added to the environment.

        *restart* says when it is started again after it has ended without being asked to:
        ``"permanent"`` always, ``"transient"`` unless it ended normally (exit code 0),
        ``"temporary"`` never. The first two need a nursery with a restarting strategy.

        *asyncio* gives it an asyncio loop beside trio, for `to_asyncio`: with True or ``"thread"``
        in a thread of its own, with ``"guest"`` in the main thread, where each holds up the other
        while it computes. *uvloop* is the one to use then.

        If cancelled, the process is gone before this returns.

        Raises:
          SpawnError: it died before it was ready; the error holds the end of its stderr.
          ValueError: *restart* is none of the three, or nothing is restarted in this nursery;
            *asyncio* and *uvloop* make no sense.
        """
        check_restart(restart, self._strategy)
        bridge = BridgeOptions.check(asyncio, uvloop)
        child = await self._start(name, module_names(modules), tuple(types), env, restart, bridge)
        return child.portal

    @enable_ki_protection
    async def run_in_actor(
        self, fn: Callable[..., Any], /, *args: Any, name: str | None = None, **kwargs: Any
    ) -> Portal:
        """Start an actor, call *fn* in it, and end it; return its portal when the call is sent.

        The result is at `Portal.result`. An error that nobody is waiting for there cancels the
        nursery and leaves through it.

        Raises:
          SpawnError: as `start_actor`.
          EncodeError, LimitExceeded: an argument cannot travel.
          TypeError: it was given a restart policy; a one-shot is never restarted.
        """
        ns, func = qualify(fn)
        _refuse_restart_of_one_shot(fn, kwargs)
        child = await self._start(name or func, (ns,), (), None, "temporary")
        child.one_shot = OneShot()
        channel = await child.channel()
        try:
            call = await channel.start_call("asyncfunc", (ns, func), args, kwargs)
        except BaseException as error:
            await child.stop(0)
            if isinstance(error, Exception):
                child.one_shot.set(outcome.Error(error))
            raise
        self._one_shots += 1
        self._services.start_soon(self._finish_one_shot, child, child.one_shot, call)
        return child.portal

    async def cancel(self) -> None:
        """Stop every child; return when all are reaped. The body goes on.

        Raises:
          KeyboardInterrupt: Ctrl-C came meanwhile; all are reaped.
        """
        await self._supervisor.stop_all(None)

    # --- starting ------------------------------------------------------------------------

    @enable_ki_protection
    async def _start(
        self,
        name: str,
        modules: tuple[str, ...],
        classes: tuple[type, ...],
        env: Mapping[str, str] | None,
        restart: Restart,
        bridge: BridgeOptions = BridgeOptions(),  # noqa: B008
    ) -> Child:
        if self._is_closed:
            raise RuntimeError("this nursery is closed; start actors inside its block")
        check_name(name, self._actor.limits)
        tags = type_names(classes)
        for cls in classes:
            register(cls)
        script = script_of_this_process([*modules, *tags])

        async def make_spec(uid: Uid, key: bytes) -> ActorSpec:
            return ActorSpec(
                uid=uid,
                parent_uid=self._actor.uid,
                address=await self._actor.reception.address(),
                key=key,
                modules=modules,
                types=tags,
                limits=self._actor.limits.as_map(),
                transport=self._actor.reception.scheme,
                script=script,
                sys_path=tuple(sys.path),
                argv=tuple(sys.argv),
                root_uid=self._actor.root_uid,
                bridge=bridge,
            )

        return await self._supervisor.start(Recipe(name, make_spec, env, restart))

    @enable_ki_protection
    async def _finish_one_shot(self, child: Child, shot: OneShot, call: OutgoingCall) -> None:
        """Wait for the call of a one-shot, store what came of it, and end its actor."""
        result: outcome.Outcome[Any]
        try:
            result = outcome.Value(await call.result())
        except Exception as error:
            result = outcome.Error(error)
        was_told = shot.set(result)
        if isinstance(result, outcome.Error) and not was_told:
            assert isinstance(result.error, Exception)
            if not self._was_asked_for(child, result.error):
                # With a restarting strategy, what becomes of one is no matter of the others.
                self._fail(result.error, is_fatal=isinstance(self._strategy, OneCancelsAll))
        await child.stop(None)
        self._one_shots -= 1
        self._supervisor.notify()

    def _was_asked_for(self, child: Child, error: Exception) -> bool:
        """Tell whether *error* is only the echo of our own stopping or cancelling."""
        if isinstance(error, ContextCancelled):
            return error.canceller == self._actor.uid
        return isinstance(error, ActorUnavailable) and child.life.has_ended_as_asked

    # --- ending --------------------------------------------------------------------------

    @enable_ki_protection
    def _fail(self, error: Exception, *, is_fatal: bool = True) -> None:
        """Have *error* leave through this nursery; at once, if it *is_fatal*."""
        self.failures.append(error)
        if is_fatal:
            self._scope.cancel()

    @property
    def _is_empty(self) -> bool:
        return not self._one_shots and self._supervisor.is_empty

    async def _wait_empty(self) -> None:
        while not self._is_empty:
            await self._supervisor.wait_changed()

    @enable_ki_protection
    async def _close(self, error: BaseException | None) -> None:
        """Stop what is left, after the body has ended; nothing can be started any more."""
        self._is_closed = True
        hurry = _is_interrupt(error) or self._actor.interrupts.count > 0
        try:
            await self._supervisor.stop_all(
                self._actor.limits.interrupt_grace_seconds if hurry else None
            )
        finally:
            await self._supervisor.outlast(lambda: self._is_empty)


def _refuse_restart_of_one_shot(fn: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    if "restart" not in kwargs or not callable(fn):
        return
    parameters = inspect.signature(fn).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if "restart" not in parameters and not takes_any:
        raise TypeError(
            f"run_in_actor({qualify(fn)[1]}, restart=...): a one-shot ends with its result and is "
            f"never restarted; use start_actor(..., restart=...) and call the function"
        )


def _is_interrupt(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


@asynccontextmanager
async def open_nursery(
    *,
    name: str = "root",
    strategy: Strategy = OneCancelsAll(),  # noqa: B008
    limits: Limits | None = None,
    transport: str | None = None,
    asyncio: bool | BridgeKind = False,
    uvloop: bool = False,
) -> AsyncIterator[ActorNursery]:
    """Open a nursery of actors; in a process with no runtime, open that as well.

    *strategy* says what follows from the end of a child. *name*, *limits* and *transport*
    (``"tcp"`` or ``"unix"``) are for the root: the whole tree inherits them. *asyncio* and *uvloop*
    give the root itself an asyncio loop in a thread beside trio, for `to_asyncio`.

    An error of the body leaves as itself, when no child failed on its own. Failures of children
    leave as an `ExceptionGroup`.

    Raises:
      RuntimeError: another root is open in this process, outside of this block.
      ValueError: an option is none of those there are, or only the root could have it.
    """
    check_strategy(strategy)
    bridge = BridgeOptions.check(asyncio, uvloop)
    if bridge.kind == "guest":
        raise ValueError(
            "asyncio='guest' is for actors that are started; a root, which trio.run has started, "
            "can have asyncio=True"
        )
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("actors live in a trio program: start it with trio.run(main)")
    actor = find_current_actor()
    if actor is not None:
        if limits is not None or transport is not None:
            raise ValueError("limits and transport are set once, where the root is opened")
        if bridge.kind is not None:
            raise ValueError(
                f"actor {actor.name!r} gets its asyncio loop where it is started, with "
                f"start_actor(..., asyncio=True), or where the root is opened"
            )
        async with _open_nursery_of(actor, strategy) as nursery:
            yield nursery
        return
    refuse_in_an_actor()
    limits = limits or DEFAULT_LIMITS
    async with (
        open_root(name, limits, LocalHost(), transport or "tcp", Exposure([SERVICE])) as actor,
        open_actor_bridge(actor, bridge, abandon=True),
        _open_nursery_of(actor, strategy) as nursery,
    ):
        yield nursery


@asynccontextmanager
@enable_ki_protection
async def _open_nursery_of(actor: Actor, strategy: Strategy) -> AsyncIterator[ActorNursery]:
    async with open_services() as services:
        error: BaseException | None = None
        try:
            with trio.CancelScope() as scope:
                nursery = ActorNursery(actor, strategy, services, scope)
                yield nursery
                await nursery._wait_empty()
        except BaseException as raised:
            error = raised
        try:
            await nursery._close(error)
        except KeyboardInterrupt as interrupt:
            if not _is_interrupt(error):
                interrupt.__cause__, error = error, interrupt
        if not nursery.failures:
            if error is not None:
                raise error
            return
        errors = [error, *nursery.failures] if error is not None else nursery.failures
        raise BaseExceptionGroup(f"actors of {actor.name!r} failed", errors)


def run(main: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run ``main(*args)`` under `trio.run` with a root runtime already open.

    *options* are those of `open_nursery` for the root: ``name``, ``limits``, ``transport``,
    ``asyncio``, ``uvloop``.
    """
    refuse_in_an_actor()

    async def with_runtime() -> Any:
        async with open_nursery(**options):
            return await main(*args)

    return trio.run(with_runtime)
