"""One child of a nursery, through all its incarnations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor, Down, Monitors, PeerState, Portal
from ..actor.runtime import new_uid
from ..channel import Channel
from ..errors import ActorDied, LocalProtocolError, SpawnError, Uid
from .incarnation import Incarnation, MakeSpec
from .one_shot import OneShot
from .strategies import Restart

if TYPE_CHECKING:
    from .supervisor import Supervisor


class Recipe:
    """What is needed to start a child, as often as it takes."""

    def __init__(
        self, name: str, make_spec: MakeSpec, env: Mapping[str, str] | None, restart: Restart
    ) -> None:
        self.name = name
        self.make_spec = make_spec
        self.env = env
        self.restart = restart

    def __repr__(self) -> str:
        return f"<Recipe for {self.name!r}: {self.restart}>"


class Child:
    """What stands behind the portal to a child. Owned by the supervisor that started it.

    ``life`` is its incarnation, living or the last one. ``gone`` is why there will be no further
    one, None while there may be. ``is_forgone`` is set once somebody has asked for its end: it is
    not started again then.
    """

    def __init__(self, owner: Actor, recipe: Recipe, supervisor: Supervisor) -> None:
        self.owner = owner
        self.recipe = recipe
        self.monitors = Monitors()
        self.portal = Portal(self)
        self.one_shot: OneShot | None = None
        self.gone: ActorDied | None = None
        self.is_forgone = False
        self._supervisor = supervisor
        self._callers = 0
        self._life: Incarnation | None = None
        self._starting: trio.CancelScope | None = None
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Child {self.recipe.name!r}: {self.state}, pid {self.pid}>"

    # --- what a portal asks --------------------------------------------------------------

    @property
    def life(self) -> Incarnation:
        """Its incarnation, living or the last one."""
        assert self._life is not None, "it was never started"
        return self._life

    @property
    def uid(self) -> Uid:
        """Of its incarnation, living or the last one."""
        return self.life.uid

    @property
    def pid(self) -> int | None:
        """The id of its process, living or the last one."""
        return self._life.pid if self._life is not None else None

    @property
    def state(self) -> PeerState:
        """Whether calls can reach it now, later, or never."""
        if self.open_channel is not None:
            return "alive"
        is_final = self.gone is not None or self.recipe.restart == "temporary"
        return "gone" if is_final else "restarting"

    @property
    def open_channel(self) -> Channel | None:
        """Its link while that is open, or None."""
        life = self._life
        return life.open_channel if life is not None and life.death is None else None

    @enable_ki_protection
    async def channel(self) -> Channel:
        """Return the open link; wait while there is none yet or no longer.

        Raises:
          ActorDied: it will not come back; nothing was sent.
        """
        while True:
            channel = self.open_channel
            if channel is not None:
                return channel
            if self.gone is not None:
                raise self.life.make_death(False)
            self._callers += 1
            try:
                await self._changed.park()
            finally:
                self._callers -= 1

    async def result(self) -> Any:
        """Return the result of a one-shot.

        Raises:
          LocalProtocolError: it is none.
        """
        if self.one_shot is None:
            raise LocalProtocolError(
                f"actor {self.uid[0]!r} has no result; only run_in_actor starts a one-shot"
            )
        return await self.one_shot.wait()

    @enable_ki_protection
    async def stop(self, grace: float | None) -> None:
        """Stop it because somebody wants this one to end; it does not matter then how it ends."""
        await self._supervisor.end(self, grace, is_unwanted=True)

    # --- what its supervisor asks --------------------------------------------------------

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits for an open link, and will be told why there is none."""
        return self._callers > 0

    @property
    def is_down(self) -> bool:
        """Whether its incarnation has ended and the next one is not being started."""
        return self.life.death is not None and self._starting is None and self.gone is None

    @enable_ki_protection
    async def start(self, services: trio.Nursery) -> Incarnation:
        """Start an incarnation and return it when it is ready, without a checkpoint since.

        Raises:
          SpawnError: it ended before it was ready, or its end was asked for meanwhile.
        """
        owner = self.owner
        uid = new_uid(self.recipe.name, owner.limits, owner.host.chance)
        life = Incarnation(owner, uid, services)
        with trio.CancelScope() as scope:
            if self.is_forgone:
                scope.cancel()
            self._starting = scope
            try:
                await life.start(self.recipe.make_spec, self.recipe.env)
            finally:
                self._starting = None
        if self.is_forgone:
            if not scope.cancelled_caught:  # it was ready in the very moment it was cancelled
                await life.discard()
            raise SpawnError(f"actor {self.recipe.name!r} was not started: it is being stopped")
        self._life = life
        self._changed.unpark_all()
        return life

    async def wait_gone(self) -> None:
        """Wait until there will be no further incarnation."""
        while self.gone is None:
            await self._changed.park()

    def forgo(self) -> None:
        """Let there be no further incarnation; one that is being started is taken back."""
        self.is_forgone = True
        if self._starting is not None:
            self._starting.cancel()

    def kill(self) -> None:
        """Kill its process now; there will be no further one."""
        self.forgo()
        if self._life is not None:
            self._life.kill()

    def tell_monitors(self) -> bool:
        """Tell of the death of its incarnation; return whether there was anybody to tell."""
        return self.monitors.tell(Down(self.uid, self.life.make_death(True)))

    def settle(self) -> None:
        """Declare it gone: whoever waits for its return is told that there is none."""
        self.gone = self.life.death
        self.monitors.close()
        self._changed.unpark_all()
