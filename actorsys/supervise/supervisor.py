"""The children of one nursery: started in order, started again as decided, stopped in order.

Deaths arrive here from `Incarnation`, decisions come from `RestartPolicy`, and what has failed for
good goes on to the nursery.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor
from ..actor.directory import Kin
from ..errors import RestartIntensityExceeded, SpawnError
from .child import Child, Recipe
from .incarnation import Incarnation
from .policy import Bring, GiveUp, RestartPolicy
from .strategies import OneForOne, Restarting, Strategy

logger = logging.getLogger("actorsys.supervisor")


class Supervisor:
    """The children of one nursery.

    *on_failure* is called with each error that nobody else was told of.
    """

    def __init__(
        self,
        actor: Actor,
        strategy: Strategy,
        services: trio.Nursery,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.strategy = strategy
        self.children: list[Child] = []
        self._actor = actor
        self._services = services
        self._on_failure = on_failure
        self._newcomers: set[Child] = set()
        self._changed = trio.lowlevel.ParkingLot()
        self._turn = trio.Lock()
        self._has_given_up = False
        self._answered_until = -math.inf
        self._policy: RestartPolicy[Child] | None = None
        if isinstance(strategy, Restarting):
            self._policy = RestartPolicy(strategy, actor.host.chance.random)

    def __repr__(self) -> str:
        return f"<Supervisor of {len(self.children)} children: {self.strategy!r}>"

    @property
    def is_empty(self) -> bool:
        """Whether no child is left, and none is being started."""
        return not (self.children or self._newcomers)

    async def wait_changed(self) -> None:
        """Wait until a child has come or gone, or `notify`."""
        await self._changed.park()

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.unpark_all()

    # --- starting ------------------------------------------------------------------------

    @enable_ki_protection
    async def start(self, recipe: Recipe) -> Child:
        """Start a child and return it when it is ready.

        Raises:
          SpawnError: it ended before it was ready, or the nursery is being stopped.
        """
        child = Child(self._actor, recipe, self)
        self._newcomers.add(child)
        try:
            life = await child.start(self._services)
        finally:
            self._newcomers.discard(child)
            self.notify()
        self._welcome(child, life)
        self.children.append(child)
        self._actor.children_count += 1
        if self._policy is not None:
            self._policy.add(child, recipe.restart)
        return child

    def _welcome(self, child: Child, life: Incarnation) -> None:
        """Take note of an incarnation that is ready."""
        # There was no checkpoint since it became ready: its end cannot have been missed.
        life.on_end = functools.partial(self._on_end, child)
        if life.pid is not None and life.open_channel is not None:
            kin = Kin(life.pid, life.open_channel, child.portal)
            self._actor.directory.add(life.uid, kin)

    # --- when one has ended --------------------------------------------------------------

    @enable_ki_protection
    def _on_end(self, child: Child, life: Incarnation, was_told: bool) -> None:
        """Take note of a death, once for each incarnation."""
        self._actor.directory.remove(life.uid)
        was_told |= child.tell_monitors()
        assert life.death is not None
        if self._policy is None:
            was_told |= child.is_awaited
            self._let_go(child)
            if not was_told:
                self._on_failure(life.death)
        elif child.is_forgone:
            # A moment before its end was asked for, this would have been but a restart.
            self._let_go(child)
            if not was_told:
                logger.warning("%s; it was about to be stopped", life.death)
        elif not life.is_stopping:
            self._services.start_soon(self._answer, child, life, was_told)

    def _let_go(self, child: Child) -> None:
        """Have *child* gone for good."""
        if child.gone is None:
            self.children.remove(child)
            self._actor.children_count -= 1
            if self._policy is not None:
                self._policy.discard(child)
            child.settle()
            self.notify()

    @enable_ki_protection
    async def _answer(self, child: Child, life: Incarnation, was_told: bool) -> None:
        """Do what the policy says to the end of *life*, which nobody has asked for."""
        async with self._turn_of_group:
            if child.life is not life or child.gone is not None:
                return  # it was brought back with the others meanwhile, or given up
            assert life.death is not None
            failure: Failure | None = Failure(
                child, life.has_ended_normally, life.death, was_told, life.ended_at
            )
            while failure is not None:
                failure = await self._settle_failure(failure)

    @property
    def _turn_of_group(self) -> AbstractAsyncContextManager[Any]:
        """Where restarts concern several children, they happen one after the other."""
        return contextlib.nullcontext() if isinstance(self.strategy, OneForOne) else self._turn

    async def _settle_failure(self, failure: Failure) -> Failure | None:
        """Decide and act; return the next failure if bringing somebody back has failed."""
        assert self._policy is not None
        child = failure.child
        if child.is_forgone or self._has_given_up:
            self._let_go(child)
            if not (failure.is_normal or failure.was_told):
                logger.warning("%s; its nursery is being stopped", failure.error)
            return None
        # A death that had to wait for its turn may have come before what was answered last.
        self._answered_until = max(self._answered_until, failure.time)
        decision = self._policy.on_end(
            child, is_normal=failure.is_normal, cause=failure.error, now=self._answered_until
        )
        if isinstance(decision, Bring):
            logger.warning("%s; starting %s again", failure.error, _names(decision.start))
            return await self._bring(decision, failure.error)
        self._let_go(child)
        if isinstance(decision, GiveUp):
            self._has_given_up = True
            self._on_failure(self._intensity_exceeded(decision.history))
        elif not (failure.is_normal or failure.was_told):
            logger.warning("%s; it is not started again", failure.error)
        return None

    async def _bring(self, plan: Bring[Child], cause: Exception) -> Failure | None:
        """Carry out *plan*, which *cause* has made necessary; return what has cut it short."""
        deadline = trio.current_time() + self._actor.grace_for_children(None)
        for child in plan.stop:
            if not child.is_down and child.gone is None:
                left = max(0.0, deadline - trio.current_time())
                await child.life.stop_for_restart(left, str(cause))
            if child not in plan.start:
                self._let_go(child)
        await trio.sleep(plan.delay)
        for child in plan.start:
            try:
                life = await child.start(self._services)
            except SpawnError as error:
                if not child.is_forgone:
                    return Failure(child, False, error, False, trio.current_time())
                self._let_go(child)
            else:
                self._welcome(child, life)
        return None

    def _intensity_exceeded(self, history: tuple[Exception, ...]) -> RestartIntensityExceeded:
        assert isinstance(self.strategy, Restarting)
        error = RestartIntensityExceeded(
            f"children of {self._actor.name!r} ended {len(history)} times within "
            f"{self.strategy.within} s, where max_restarts={self.strategy.max_restarts}; "
            f"the last one: {history[-1]}",
            history=history,
        )
        error.__cause__ = history[-1]
        for number, cause in enumerate(history, 1):
            error.add_note(f"{number}. {cause}")
        return error

    # --- ending --------------------------------------------------------------------------

    @enable_ki_protection
    async def end(self, child: Child, grace: float | None, *, is_unwanted: bool = False) -> None:
        """Stop *child* for good, wherever in its life it is; return when it is gone.

        *is_unwanted* says that it does not matter how it ends.
        """
        child.forgo()
        if child.is_down:
            self._let_go(child)
        elif child.gone is None:
            await child.life.stop(grace, is_unwanted=is_unwanted)
            with trio.CancelScope(shield=True):
                await child.wait_gone()

    @enable_ki_protection
    async def stop_all(self, grace: float | None) -> None:
        """Stop every child there is now. Ctrl-C meanwhile hurries them, a second one kills.

        Those of a restarting strategy are stopped one after the other, the last one first, within
        one grace. Who is started meanwhile is not waited for.

        Raises:
          KeyboardInterrupt: it came meanwhile; they are gone.
        """
        for newcomer in self._newcomers:
            newcomer.forgo()
        stopping = list(self.children)
        for child in stopping:
            child.forgo()
        if self._policy is None:
            self._end_at_once(stopping, grace)
        else:
            self._stop_in_order(stopping, grace)

        def on_interrupt() -> None:
            left = [child for child in stopping if child.gone is None]
            if self._actor.interrupts.count > 1:
                for child in left:
                    child.kill()
            else:
                self._end_at_once(left, self._actor.limits.interrupt_grace_seconds)

        if self._actor.interrupts.count > 1:  # it came while the body was still ending
            on_interrupt()
        self._actor.interrupts.listeners.append(on_interrupt)
        try:
            await self.outlast(lambda: all(child.gone is not None for child in stopping))
        finally:
            self._actor.interrupts.listeners.remove(on_interrupt)

    async def outlast(self, is_done: Callable[[], bool]) -> None:
        """Wait until *is_done*, whatever happens.

        Raises:
          KeyboardInterrupt: it came meanwhile.
        """
        interrupt: KeyboardInterrupt | None = None
        with trio.CancelScope(shield=True):
            while not is_done():
                try:
                    await self.wait_changed()
                except KeyboardInterrupt as raised:
                    interrupt = raised
        if interrupt is not None:
            raise interrupt

    def _end_at_once(self, stopping: Sequence[Child], grace: float | None) -> None:
        for child in stopping:
            self._services.start_soon(self.end, child, grace)

    def _stop_in_order(self, stopping: list[Child], grace: float | None) -> None:
        deadline = trio.current_time() + self._actor.grace_for_children(grace)
        before: Child | None = None
        for child in reversed(stopping):
            self._services.start_soon(self._end_after, before, child, deadline)
            before = child

    async def _end_after(self, before: Child | None, child: Child, deadline: float) -> None:
        """End *child* once *before* is gone, or when the time is up."""
        if before is not None:
            with trio.move_on_at(deadline):
                await before.wait_gone()
        await self.end(child, max(0.0, deadline - trio.current_time()))


class Failure(NamedTuple):
    """Something that the policy is to decide about: an end, or a start that came to nothing."""

    child: Child
    is_normal: bool
    error: Exception
    was_told: bool
    time: float


def _names(children: Sequence[Child]) -> str:
    return ", ".join(repr(child.recipe.name) for child in children)
