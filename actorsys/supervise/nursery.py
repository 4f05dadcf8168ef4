"""A nursery of actors: the children of one block, and the errors that leave it."""

from __future__ import annotations

import sys
import types
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import outcome
import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor, Portal, find_current_actor, open_runtime
from ..actor.runtime import new_uid, open_services
from ..channel import OutgoingCall, qualify
from ..errors import ActorUnavailable, ContextCancelled, SpawnError, Uid
from ..limits import DEFAULT_LIMITS, Limits
from ..spawn import (
    ActorSpec,
    module_names,
    refuse_while_importing,
    script_of_this_process,
    type_names,
)
from ..wire import register
from .child import Child, OneShot
from .strategies import OneCancelsAll

T = TypeVar("T")


class ActorNursery:
    """The actors that were started in one ``async with open_nursery()`` block.

    None of them outlives the block. Leaving it waits for them; a daemon, started with
    `start_actor`, keeps it open until it is cancelled.
    """

    def __init__(self, actor: Actor, services: trio.Nursery, scope: trio.CancelScope) -> None:
        self._actor = actor
        self._services = services
        self._scope = scope
        self._children: dict[Uid, Child] = {}
        self._starts: set[trio.CancelScope] = set()
        self._one_shots = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._is_closed = False
        self.failures: list[Exception] = []

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<ActorNursery of {self._actor.name!r}: {state}, {len(self._children)} children>"

    @property
    def children(self) -> dict[str, Portal]:
        """Portals to the living children by name; of several of one name, to the oldest."""
        portals: dict[str, Portal] = {}
        for child in self._children.values():
            portals.setdefault(child.uid[0], child.portal)
        return portals

    @enable_ki_protection
    async def start_actor(
        self,
        name: str,
        *,
        modules: Iterable[str | types.ModuleType] = (),
        types: Iterable[type] = (),
        restart: Literal["temporary"] = "temporary",
        env: Mapping[str, str] | None = None,
    ) -> Portal:
        """Start a daemon actor and return its portal once it is connected and ready.

        It offers the public functions defined in *modules*; ``__name__`` names the module this
        is written in, the script itself included. Classes in *types* are registered on both
        sides. *env* is added to the environment.

        If cancelled, the process is gone before this returns.

        Raises:
          SpawnError: it died before it was ready; the error holds the end of its stderr.
        """
        if restart != "temporary":
            raise ValueError(f"with OneCancelsAll nothing is restarted; restart={restart!r}")
        child = await self._start(name, module_names(modules), tuple(types), env)
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
        """
        ns, func = qualify(fn)
        child = await self._start(name or func, (ns,), (), None)
        child.one_shot = OneShot()
        channel = await child.channel()
        try:
            call = await channel.start_call("asyncfunc", (ns, func), args, kwargs)
        except BaseException:
            await child.stop(0)
            raise
        self._one_shots += 1
        self._services.start_soon(self._finish_one_shot, child, child.one_shot, call)
        return child.portal

    async def cancel(self) -> None:
        """Stop every child; return when all are reaped. The body goes on."""
        await self._stop_children(None)

    # --- starting ------------------------------------------------------------------------

    @enable_ki_protection
    async def _start(
        self,
        name: str,
        modules: tuple[str, ...],
        classes: tuple[type, ...],
        env: Mapping[str, str] | None,
    ) -> Child:
        if self._is_closed:
            raise RuntimeError("this nursery is closed; start actors inside its block")
        uid = new_uid(name, self._actor.limits)
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
            )

        child = Child(self._actor, uid, self._services, self._on_child_ended)
        with trio.CancelScope() as scope:
            self._starts.add(scope)
            try:
                await child.start(make_spec, env)
            finally:
                self._starts.discard(scope)
                self._changed.unpark_all()
        if scope.cancelled_caught:
            raise SpawnError(f"actor {name!r} was not started: its nursery is being stopped")
        # There was no checkpoint since it became ready: its end cannot have been missed.
        self._children[uid] = child
        self._actor.children_count += 1
        return child

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
                self._fail(result.error)
        await child.stop(None)
        self._one_shots -= 1
        self._changed.unpark_all()

    def _was_asked_for(self, child: Child, error: Exception) -> bool:
        """Tell whether *error* is only the echo of our own stopping or cancelling."""
        if isinstance(error, ContextCancelled):
            return error.canceller == self._actor.uid
        return isinstance(error, ActorUnavailable) and child.has_ended_as_asked

    # --- ending --------------------------------------------------------------------------

    @enable_ki_protection
    def _on_child_ended(self, child: Child, was_told: bool) -> None:
        self._children.pop(child.uid, None)
        self._actor.children_count -= 1
        if not was_told:
            assert child.death is not None
            self._fail(child.death)
        self._changed.unpark_all()

    def _fail(self, error: Exception) -> None:
        self.failures.append(error)
        self._scope.cancel()

    async def _wait_empty(self) -> None:
        while self._children or self._starts or self._one_shots:
            await self._changed.park()

    @enable_ki_protection
    async def _stop_children(self, grace: float | None) -> None:
        """Stop every child there is now, at once; a second Ctrl-C kills them.

        Who is started meanwhile is not waited for.
        """
        for scope in self._starts:
            scope.cancel()
        stopping = list(self._children.values())
        for child in stopping:
            self._services.start_soon(child.stop_with_others, grace)
        while any(child.uid in self._children for child in stopping):
            try:
                with trio.CancelScope(shield=True):
                    await self._changed.park()
            except KeyboardInterrupt:
                for child in stopping:
                    child.kill()

    @enable_ki_protection
    async def _close(self, error: BaseException | None) -> None:
        """Stop what is left, after the body has ended; nothing can be started any more."""
        self._is_closed = True
        hurry = _is_interrupt(error)
        await self._stop_children(self._actor.limits.interrupt_grace_seconds if hurry else None)
        with trio.CancelScope(shield=True):
            await self._wait_empty()


def _is_interrupt(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


@asynccontextmanager
async def open_nursery(
    *,
    name: str = "root",
    strategy: OneCancelsAll | None = None,
    limits: Limits | None = None,
    transport: str | None = None,
) -> AsyncIterator[ActorNursery]:
    """Open a nursery of actors; in a process with no runtime, open that as well.

    *name*, *limits* and *transport* (``"tcp"`` or ``"unix"``) are for the root: the whole tree
    inherits them.

    An error of the body leaves as itself, when no child failed on its own. Failures of children
    leave as an `ExceptionGroup`.
    """
    refuse_while_importing()
    if not (strategy is None or isinstance(strategy, OneCancelsAll)):
        raise TypeError(f"strategy is OneCancelsAll(), not {strategy!r}")
    actor = find_current_actor()
    if actor is not None:
        if limits is not None or transport is not None:
            raise ValueError("limits and transport are set once, where the root is opened")
        async with _open_nursery_of(actor) as nursery:
            yield nursery
        return
    limits = limits or DEFAULT_LIMITS
    async with (
        open_runtime(new_uid(name, limits), None, limits, transport or "tcp") as actor,
        _open_nursery_of(actor) as nursery,
    ):
        yield nursery


@asynccontextmanager
@enable_ki_protection
async def _open_nursery_of(actor: Actor) -> AsyncIterator[ActorNursery]:
    async with open_services() as services:
        error: BaseException | None = None
        try:
            with trio.CancelScope() as scope:
                nursery = ActorNursery(actor, services, scope)
                yield nursery
                await nursery._wait_empty()
        except BaseException as raised:
            error = raised
        await nursery._close(error)
        if not nursery.failures:
            if error is not None:
                raise error
            return
        errors = [error, *nursery.failures] if error is not None else nursery.failures
        raise BaseExceptionGroup(f"actors of {actor.name!r} failed", errors)


def run(main: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run ``main(*args)`` under `trio.run` with a root runtime already open.

    *options* are those of `open_nursery` for the root: ``name``, ``limits``, ``transport``.
    """
    refuse_while_importing()

    async def with_runtime() -> Any:
        async with open_nursery(**options):
            return await main(*args)

    return trio.run(with_runtime)
