"""A whole tree of actors in one process: no processes, no sockets, no clock, one seed.

The functions, links, handshakes and supervision are the real ones. Simulated is the machine under
them: processes are tasks, connections are memory with delays, time is a mock clock that jumps, and
every random choice, trio's own included, comes from the seed. The same seed makes the same run.

What a simulated process cannot do is stop dead: one that is killed loses its links at once and is
then cancelled, so its ``finally`` blocks still run, unheard. Plain functions run in place and not
in a thread. Module globals are shared by all actors.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar

import trio
import trio.testing

from ..actor import Portal
from ..actor.runtime import open_root, open_services
from ..channel import Exposure
from ..limits import DEFAULT_LIMITS, Limits
from ..topics import SERVICE
from .simulated_link import SimulatedListener
from .simulated_process import SimulatedProcess

T = TypeVar("T")

_BOUND_SECONDS = 24 * 3600.0  # of the simulated clock: what has not ended by then never will


class Event(NamedTuple):
    """Something that happened in a simulation: when, to which process, and what."""

    time: float
    process: str
    what: str

    def __str__(self) -> str:
        return f"{self.time:10.6f} {self.process}: {self.what}"


class Simulation:
    """One simulated run.

    Bytes take up to *max_delay_seconds* from one process to another, and a process up to
    *max_boot_seconds* to start. ``chance`` is the source of randomness; user code that wants a
    reproducible run draws from it as well. ``trace`` is what happened, in order.
    """

    def __init__(
        self,
        seed: int,
        *,
        limits: Limits = DEFAULT_LIMITS,
        max_delay_seconds: float = 0.002,
        max_boot_seconds: float = 0.1,
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.limits = limits
        self.max_delay_seconds = max_delay_seconds
        self.max_boot_seconds = max_boot_seconds
        self.trace: list[Event] = []
        self.processes: dict[int, SimulatedProcess] = {}
        self.listeners: dict[str, SimulatedListener] = {}
        self._steps = _Steps()
        self._begin: trio.MemorySendChannel[SimulatedProcess] | None = None

    def __repr__(self) -> str:
        return f"<Simulation {self.seed}: {len(self.trace)} events>"

    @property
    def digest(self) -> str:
        """A short word for the run: every event and every step of every task, in order."""
        digest = self._steps.hash.copy()
        for event in self.trace:
            digest.update(str(event).encode())
        return digest.hexdigest()[:16]

    def run(self, main: Callable[..., Awaitable[T]], *args: Any, name: str = "root") -> T:
        """Run ``main(*args)`` as the root actor of a new tree, under a `trio.run` of its own.

        Raises:
          trio.TooSlowError: everything waits for something that will never happen.
        """

        async def with_runtime() -> T:
            with trio.fail_after(_BOUND_SECONDS):
                async with self.open(name):
                    return await main(*args)

        clock = trio.testing.MockClock(autojump_threshold=0)
        with scheduled_by(self.seed):
            return trio.run(
                with_runtime, clock=clock, instruments=[self._steps], strict_exception_groups=True
            )

    @asynccontextmanager
    async def open(self, name: str = "root") -> AsyncIterator[None]:
        """Make the code inside the block the root actor of a new tree, in the present `trio.run`.

        Delays and random choices come from the seed as with `run`; the order of tasks and the
        clock are those of the present run.
        """
        self._begin, receiver = trio.open_memory_channel[SimulatedProcess](math.inf)
        root = SimulatedProcess(self, name, None)
        async with open_services() as machine:
            machine.start_soon(_run_processes, machine, receiver)
            try:
                async with open_root(name, self.limits, root, "memory", Exposure([SERVICE])):
                    yield
            finally:
                root.kill_children()

    def kill(self, target: Portal | int) -> None:
        """End the process of *target*, a portal or a pid, as SIGKILL does."""
        self._process_of(target).kill()

    def exit(self, target: Portal | int, code: int) -> None:
        """End the process of *target* at once with an exit code, as ``os._exit`` does."""
        self._process_of(target).end(code)

    def cut_links(self, target: Portal | int) -> None:
        """Break every connection of the process of *target*, and let it live."""
        self._process_of(target).cut_links()

    def _process_of(self, target: Portal | int) -> SimulatedProcess:
        pid = target.pid if isinstance(target, Portal) else target
        if pid not in self.processes:
            raise ValueError(f"no simulated process has the pid {pid!r}")
        return self.processes[pid]

    # --- what its processes use ----------------------------------------------------------

    def note(self, process: str, what: str) -> None:
        """Add to the trace."""
        self.trace.append(Event(trio.current_time(), process, what))

    def begin(self, process: SimulatedProcess) -> None:
        """Let *process* run."""
        assert self._begin is not None, "the simulation is not running"
        self._begin.send_nowait(process)


async def _run_processes(
    machine: trio.Nursery, receiver: trio.MemoryReceiveChannel[SimulatedProcess]
) -> None:
    """Run processes in tasks that belong to no actor, as real ones belong to none."""
    async for process in receiver:
        machine.start_soon(process.run)


class _Steps(trio.abc.Instrument):
    """Takes every step of every task into a hash."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.hash.update(task.name.encode())


@contextmanager
def scheduled_by(seed: int) -> Iterator[None]:
    """Have trio take its own random choices, the order of tasks, from *seed*.

    These are the two names that pytest-trio sets for Hypothesis; trio has no public ones.
    """
    scheduler: Any = trio._core._run
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        scheduler._r.setstate(before[1])
