"""A killer of actors: at random, from a seed, and with a record of what it did.

::

    killer = Killer(random.Random(seed))
    strike = await killer.strike(portal)
    ...
    assert len(killer.strikes) == planned
    assert not killer.unexplained(deaths)

Deaths that were injected and deaths that were reported can so be compared, one by one. The victims
are started with ``modules=[..., "actorsys.testing.misbehaviour"]``; those that are only killed or
frozen do without. It needs Linux, where a process is signalled without mistaking another for it.
"""

from __future__ import annotations

import contextlib
import enum
import os
import random
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import trio

from ..actor import Portal
from ..errors import ActorDied
from . import misbehaviour
from .leaks import descendants

_POLL_SECONDS = 0.001
_EXIT_CODES = range(64, 114)  # Python itself ends with 0, 1, 2 and 120


class Way(enum.Enum):
    """How an actor can be struck; the last two do not kill."""

    KILL = "SIGKILL"
    SEGFAULT = "a segmentation fault"
    EXIT = "os._exit"
    FREEZE = "SIGSTOP"
    HOG = "the interpreter lock held"


@dataclass(frozen=True)
class Strike:
    """One fault that was injected: into which process, how, and when (trio's clock).

    One of ``exit_code`` and ``signal`` says how the process will end, and neither if it lives on.
    """

    pid: int
    way: Way
    time: float
    exit_code: int | None = None
    signal: int | None = None

    @property
    def is_deadly(self) -> bool:
        """Whether the process dies of it."""
        return self.exit_code is not None or self.signal is not None

    def explains(self, death: ActorDied) -> bool:
        """Tell whether *death* is the one that this has caused."""
        told = (death.pid, death.exit_code, death.signal)
        return self.is_deadly and told == (self.pid, self.exit_code, self.signal)


class Killer:
    """Strikes actors, in *ways* chosen by *chance*; ``strikes`` is what it has done.

    A process is struck by one task at a time: of two faults at once, only one would show.
    """

    def __init__(
        self, chance: random.Random, ways: Sequence[Way] = tuple(Way), *, hog_seconds: float = 0.5
    ) -> None:
        self.strikes: list[Strike] = []
        self._chance = chance
        self._ways = tuple(ways)
        self._hog_seconds = hog_seconds
        self._frozen: set[int] = set()

    def __repr__(self) -> str:
        return f"<Killer: {len(self.strikes)} strikes, {len(self._frozen)} frozen>"

    def choose(self) -> Way:
        """Return one of its ways, by chance."""
        return self._chance.choice(self._ways)

    async def strike(self, victim: Portal, way: Way | None = None) -> Strike:
        """Strike the actor behind *victim*; return when the fault is on its way, or there.

        SIGKILL and SIGSTOP come from outside. For the other ways the actor is called first, so
        one that is being restarted is waited for, and one that cannot answer blocks.

        Raises:
          ProcessLookupError: it has no process right now.
          ActorDied: it has died of something else before.
          NotExposed: it does not offer `actorsys.testing.misbehaviour`.
        """
        way = way or self.choose()
        if way in (Way.KILL, Way.FREEZE):
            if victim.pid is None or not victim.is_alive:
                raise ProcessLookupError(f"{victim!r} has no process to be struck")
            return await self.strike_process(victim.pid, way)
        return await self._strike_inside(victim, way)

    async def strike_process(self, pid: int, way: Way) -> Strike:
        """Strike the process *pid*, a descendant of this one, from outside.

        Raises:
          ProcessLookupError: it has ended, or is no descendant.
          ValueError: *way* is neither `Way.KILL` nor `Way.FREEZE`.
        """
        if way is Way.KILL:
            strike = Strike(pid, way, trio.current_time(), signal=signal.SIGKILL)
            _send_signal(pid, signal.SIGKILL)
            self._frozen.discard(pid)
        elif way is Way.FREEZE:
            strike = Strike(pid, way, trio.current_time())
            _send_signal(pid, signal.SIGSTOP)
            self._frozen.add(pid)
        else:
            raise ValueError(f"{way} happens inside of an actor; strike its portal")
        self.strikes.append(strike)
        if way is Way.FREEZE:
            await _wait_stopped(pid)
        await trio.lowlevel.checkpoint()
        return strike

    def resume(self, strike: Strike) -> None:
        """Let a process that was frozen run on; it may have ended meanwhile."""
        if strike.pid in self._frozen:
            self._frozen.discard(strike.pid)
            with contextlib.suppress(ProcessLookupError):
                _send_signal(strike.pid, signal.SIGCONT)

    def resume_all(self) -> None:
        """Let every process that is still frozen run on."""
        for strike in self.strikes:
            self.resume(strike)

    def unexplained(self, deaths: Iterable[ActorDied]) -> list[str]:
        """Compare *deaths* with the deadly strikes; say in words what does not match."""
        strikes = [strike for strike in self.strikes if strike.is_deadly]
        found = []
        for death in deaths:
            cause = next((strike for strike in strikes if strike.explains(death)), None)
            if cause is None:
                found.append(f"a death that was not injected, or was told twice: {death}")
            else:
                strikes.remove(cause)
        return found + [f"a death that was not told: {strike}" for strike in strikes]

    async def _strike_inside(self, victim: Portal, way: Way) -> Strike:
        code: int | None = None
        number: int | None = None
        try:
            if way is Way.EXIT:
                code = self._chance.choice(_EXIT_CODES)
                pid = await victim.run(misbehaviour.exit_at_once, code)
            elif way is Way.SEGFAULT:
                number = signal.SIGSEGV
                pid = await victim.run(misbehaviour.segfault)
            else:
                pid = await victim.run(misbehaviour.hold_interpreter, self._hog_seconds)
        except ActorDied as death:
            # It may have died before its answer was out.
            strike = Strike(death.pid, way, trio.current_time(), code, number)
            if not strike.explains(death):
                raise
        else:
            strike = Strike(pid, way, trio.current_time(), code, number)
        self.strikes.append(strike)
        return strike


def _send_signal(pid: int, number: int) -> None:
    """Signal the process *pid*, and no other that may have its number by now.

    Raises:
      ProcessLookupError: it has ended, or is no descendant of this process.
    """
    handle = os.pidfd_open(pid)
    try:
        if not any(found.pid == pid and not found.is_zombie for found in descendants()):
            raise ProcessLookupError(f"process {pid} has ended, or is no descendant of this one")
        signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


async def _wait_stopped(pid: int) -> None:
    """Wait until SIGSTOP has taken hold, which nothing announces."""
    while _state_of(pid) not in "TXZ":
        await trio.sleep(_POLL_SECONDS)


def _state_of(pid: int) -> str:
    """Return the letter for the state of a process, as ``ps`` does; X if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
