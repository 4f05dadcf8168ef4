"""The machine that this process runs on."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

import trio

from ..actor import Host
from ..limits import Limits
from ..transport import Listener, Transport, connect, is_local, listen
from .process import Process
from .spec import ActorSpec

T = TypeVar("T")


class LocalHost(Host):
    """Real processes, sockets and threads.

    *early_terminations* collects the SIGTERMs that came before anybody waited for them.
    """

    chance = random.SystemRandom()

    def __init__(self, early_terminations: list[int] | None = None) -> None:
        self._early_terminations = early_terminations if early_terminations is not None else []

    async def listen(self, scheme: str, backlog: int) -> Listener:
        return await listen(scheme, backlog)

    async def connect(self, address: str) -> Transport:
        if not is_local(address):
            raise OSError(f"{address!r} is not on this machine, and no actor of this tree is there")
        return await connect(address)

    def launch(self, spec: ActorSpec, env: Mapping[str, str] | None, limits: Limits) -> Process:
        return Process.start(spec, env, limits)

    def exit(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    async def wait_sigterm(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            if self._early_terminations:
                self._early_terminations.clear()
                return
            await anext(signals)

    async def run_blocking(self, fn: Callable[[], T], threads: trio.CapacityLimiter) -> T:
        return await trio.to_thread.run_sync(fn, abandon_on_cancel=True, limiter=threads)
