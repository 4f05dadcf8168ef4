"""Trio as a guest of an asyncio loop, which has the main thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import outcome
import trio

from .loop_bridge import LoopBridge
from .loops import OnCrash, describe_leftover, keep_running, make_loop
from .patience import Patience

T = TypeVar("T")

_log = logging.getLogger("actorsys.bridges")


class AsyncioHost:
    """The asyncio loop of this thread while trio is its guest.

    ``on_crash`` belongs to the bridge that is open, and is told when the loop is ended from inside.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.on_crash: OnCrash | None = None
        self.result: outcome.Outcome[Any] | None = None

    def __repr__(self) -> str:
        return f"<AsyncioHost of {self.loop!r}>"

    def begin(self, async_function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        """Start trio. In the loop, whose hooks for async generators trio passes its own on to."""

        async def main() -> Any:
            _host.set(self)
            return await async_function(*args)

        try:
            trio.lowlevel.start_guest_run(
                main,
                run_sync_soon_threadsafe=self.loop.call_soon_threadsafe,
                run_sync_soon_not_threadsafe=self.loop.call_soon,
                done_callback=self._on_done,
                host_uses_signal_set_wakeup_fd=True,
            )
        except BaseException as error:
            self._on_done(outcome.Error(error))

    def crash(self, error: BaseException | None) -> None:
        """Pass on that the loop was ended from inside."""
        if self.on_crash is None:
            _log.error("the asyncio loop was ended by asyncio code", exc_info=error)
        else:
            self.on_crash(error)

    def _on_done(self, result: outcome.Outcome[Any]) -> None:
        self.result = result
        self.loop.stop()


_host: trio.lowlevel.RunVar[AsyncioHost | None] = trio.lowlevel.RunVar(
    "actorsys_asyncio_host", default=None
)


def run_as_guest(
    async_function: Callable[..., Awaitable[T]], *args: Any, uvloop: bool = False
) -> T:
    """Run an async function in trio, and trio inside a new asyncio loop, as `trio.run` otherwise.

    Tasks of asyncio that are left when it returns are not waited for; `open_bridge` does that.

    Raises:
      ImportError: *uvloop* is wanted and not installed.
    """
    host = AsyncioHost(make_loop(uvloop))
    host.loop.call_soon(host.begin, async_function, args)
    keep_running(host.loop, lambda: host.result is not None, host.crash)
    if host.result is None:
        raise trio.TrioInternalError("the asyncio loop was closed around trio")
    result: T = host.result.unwrap()
    return result


class GuestBridge(LoopBridge):
    """A bridge to the loop that trio is a guest of: one thread, so whoever computes holds up both.

    Open it in a function that `run_as_guest` runs.
    """

    def __init__(self, services: trio.Nursery, patience: Patience) -> None:
        host = _host.get()
        if host is None:
            raise RuntimeError(
                "trio is no guest of asyncio here: an actor gets such a bridge with "
                "start_actor(..., asyncio='guest'), and a root can have asyncio=True only"
            )
        super().__init__(host.loop, host.loop.call_soon, services, patience)
        self._host = host
        self._thread = threading.current_thread()

    def start(self) -> None:
        """Be told when the loop is ended from inside."""
        self._host.on_crash = self.on_crash

    def on_wound_up(self, task: asyncio.Task[None]) -> None:
        self.to_trio(self.on_ended)

    async def close(self) -> None:
        self._host.on_crash = None
        await super().close()

    def describe_leftover(self) -> str:
        return describe_leftover(self._loop, self._thread)
