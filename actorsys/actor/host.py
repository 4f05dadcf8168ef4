"""Where actors live: what an actor takes from the machine around it.

An actor asks its host for connections, for processes and for chance, and passes the host on to
what it starts. That is what lets a whole tree run inside one process, on a simulated host.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import trio

from ..limits import Limits
from ..transport import Listener, Transport

T = TypeVar("T")


class ProcessHandle(Protocol):
    """A process that a host has started, as its parent holds it.

    ``ended`` is set when it is reaped; then one of ``exit_code`` and ``signal`` says how it ended.
    """

    pid: int
    ended: trio.Event

    @property
    def exit_code(self) -> int | None: ...
    @property
    def signal(self) -> int | None: ...

    @property
    def stderr_tail(self) -> str:
        """The end of its stderr so far."""

    def describe_end(self) -> str:
        """Say in words how it ended."""

    async def send_spec(self, spec: Any) -> None:
        """Tell it who it is; if it has died meanwhile, `ended` says so."""

    def release_stderr(self) -> None:
        """Pass its stderr on from now on."""

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is already reaped."""

    async def watch(self) -> None:
        """Wait for its end and reap it; runs beside whatever else is done with it."""


class Host(ABC):
    """A machine, or what stands for one. ``chance`` is its source of random numbers."""

    chance: random.Random

    @abstractmethod
    async def listen(self, scheme: str, backlog: int) -> Listener:
        """Open a listener that only this host can reach."""

    @abstractmethod
    async def connect(self, address: str) -> Transport:
        """Connect to an address that a listener of this host gave.

        Raises:
          OSError: nobody listens there.
        """

    @abstractmethod
    def launch(self, spec: Any, env: Mapping[str, str] | None, limits: Limits) -> ProcessHandle:
        """Start a process that will become the actor of *spec*.

        Raises:
          SpawnError: the operating system refused.
        """

    @abstractmethod
    def exit(self, code: int) -> None:
        """End this process at once with an exit code; nothing is cleaned up."""

    @abstractmethod
    async def wait_sigterm(self) -> None:
        """Wait until this process is asked to terminate.

        In the process of an actor it runs all the time; a request that comes meanwhile is kept.
        """

    @abstractmethod
    async def run_blocking(self, fn: Callable[[], T], threads: trio.CapacityLimiter) -> T:
        """Run *fn* where it does not hold up the trio loop; abandoned if cancelled."""
