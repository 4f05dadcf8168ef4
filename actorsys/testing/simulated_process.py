"""A process that is a task: it starts, connects, can be killed, and ends."""

from __future__ import annotations

import random
import signal
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import trio

from ..actor import Host
from ..limits import Limits
from ..spawn import ActorSpec, offered_modules
from ..spawn.main_task import serve
from ..transport import Listener, MemoryTransport, Transport
from .simulated_link import SimulatedLink, SimulatedListener

if TYPE_CHECKING:
    from .simulation import Simulation

T = TypeVar("T")

_FIRST_PID = 1000


class SimulatedProcess(Host):
    """A process of a `Simulation`: what its parent holds of it, and the host that its actor sees.

    It ends once, in one of three ways: its main task returns or raises, it is killed, or it exits.
    Whichever it is, its links are cut and its children are killed in the same moment.
    """

    def __init__(self, simulation: Simulation, name: str, parent: SimulatedProcess | None) -> None:
        self.pid = _FIRST_PID + len(simulation.processes)
        self.ended = trio.Event()
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.stderr_tail = ""
        self.chance: random.Random = simulation.chance
        self.label = f"{name}/{self.pid}"
        self._simulation = simulation
        self._spec: ActorSpec | None = None
        self._children: list[SimulatedProcess] = []
        self._links: list[SimulatedLink] = []
        self._life = trio.CancelScope()
        self._finished = trio.Event()
        self._sigterm = trio.Event()
        simulation.processes[self.pid] = self
        if parent is not None:
            parent._children.append(self)

    def __repr__(self) -> str:
        return f"<SimulatedProcess {self.label}: {self.describe_end()}>"

    # --- what its parent does with it ----------------------------------------------------

    def describe_end(self) -> str:
        """Say in words how it ended."""
        if self.signal is not None:
            return f"killed by {signal.Signals(self.signal).name}"
        return "alive" if self.exit_code is None else f"exit code {self.exit_code}"

    async def send_spec(self, spec: ActorSpec) -> None:
        """Tell it who it is: it begins to run."""
        await trio.lowlevel.checkpoint()
        self._spec = spec
        self._simulation.begin(self)

    def release_stderr(self) -> None:
        """Do nothing: what is printed in here is printed by this very process."""

    def send_signal(self, number: int) -> None:
        """Send SIGTERM or SIGKILL.

        Raises:
          ValueError: it is another signal, which cannot be simulated.
        """
        if number == signal.SIGTERM:
            self._sigterm.set()
        elif number == signal.SIGKILL:
            self.kill()
        else:
            raise ValueError(f"signal {number} cannot be simulated; use SIGTERM or SIGKILL")

    async def watch(self) -> None:
        """Wait for its end."""
        await self._finished.wait()
        self.ended.set()

    # --- its life ------------------------------------------------------------------------

    async def run(self) -> None:
        """Be the process, until it ends in one way or another."""
        assert self._spec is not None
        self._note("started")
        try:
            # Nothing but its own end cancels a process.
            with trio.CancelScope(shield=True), self._life:
                await trio.sleep(self.chance.uniform(0, self._simulation.max_boot_seconds))
                self.end(await serve(self._spec, offered_modules(self._spec), self))
        except Exception as error:
            if not self._finished.is_set():  # else it is dead, and nobody hears it
                self.stderr_tail = "".join(traceback.format_exception(error))
                self.end(1)

    def end(self, exit_code: int) -> None:
        """End with *exit_code*, unless it has ended already."""
        if not self._finished.is_set():
            self.exit_code = exit_code
            self._die()

    def kill(self) -> None:
        """End by SIGKILL, unless it has ended already."""
        if not self._finished.is_set():
            self.signal = signal.SIGKILL
            self._die()

    def cut_links(self) -> None:
        """Break every connection that it has."""
        for link in self._links:
            link.cut()
        self._links.clear()

    def _die(self) -> None:
        self._note(f"ended: {self.describe_end()}")
        self._finished.set()
        self.cut_links()
        self.kill_children()
        self._life.cancel()

    def kill_children(self) -> None:
        """Kill what it has started, as the end of a parent does."""
        for child in self._children:
            child.kill()

    def _note(self, what: str) -> None:
        self._simulation.note(self.label, what)

    # --- what its actor asks of the machine ----------------------------------------------

    async def listen(self, scheme: str, backlog: int) -> Listener:
        listener = SimulatedListener(self)
        self._simulation.listeners[listener.address] = listener
        await trio.lowlevel.checkpoint()
        return listener

    async def connect(self, address: str) -> Transport:
        listener = self._simulation.listeners.get(address)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        try:
            return self.own(await listener.connect())
        except trio.BrokenResourceError as error:
            raise ConnectionRefusedError(f"nobody listens at {address} any more") from error

    def own(self, transport: MemoryTransport) -> SimulatedLink:
        """Take an end of a connection; it breaks when this process ends."""
        link = SimulatedLink(transport, self._simulation, self.label)
        self._links.append(link)
        if self._finished.is_set():
            self.cut_links()
        return link

    def launch(
        self, spec: ActorSpec, env: Mapping[str, str] | None, limits: Limits
    ) -> SimulatedProcess:
        return SimulatedProcess(self._simulation, spec.uid[0], self)

    def exit(self, code: int) -> None:
        self.end(code)

    async def wait_sigterm(self) -> None:
        await self._sigterm.wait()
        self._sigterm = trio.Event()

    async def run_blocking(self, fn: Callable[[], T], threads: trio.CapacityLimiter) -> T:
        await trio.lowlevel.checkpoint()
        return fn()
