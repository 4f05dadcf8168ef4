"""One tree of actors for all tests of a file: to start an actor takes longer than most tests.

In a file of tests::

    shared_tree = SharedTree(["worker"], "stream_functions")

Each test then runs inside the same tree, one after the other, and `tree_helpers.open_worker` finds
its actor there. Tests that end actors, or count what was done, have a tree of their own: they are
marked with `alone`. Once a test has failed, all that follow have their own, too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.abc import Clock, Instrument

import actorsys

Test = Callable[[], Awaitable[Any]]
Clear = Callable[..., Awaitable[None]]
_START_SECONDS = 20
_IDLE_SECONDS = 2

alone = pytest.mark.trio
"""Marks a test that has a tree of its own in a file whose tests share one; it runs after those."""

_tree: ContextVar[SharedTree | None] = ContextVar("shared_tree", default=None)


def find_shared(names: Sequence[str], modules: Sequence[str]) -> list[actorsys.Portal] | None:
    """Return the actors *names* of the tree that this test shares; None if there are none such."""
    tree = _tree.get()
    return None if tree is None else tree.find(names, modules)


class SharedTree:
    """A tree with an actor for each of *names*, all of which offer *modules*.

    It runs in a thread of its own, since pytest-trio would end it with the first test. Before the
    first test and after each of them *clear* is awaited with all actors, when no call is in flight.
    """

    def __init__(self, names: Sequence[str], *modules: str, clear: Clear | None = None) -> None:
        self._names = list(names)
        self._modules = list(modules)
        self._clear = clear
        self._portals: dict[str, actorsys.Portal] = {}
        self._stop: Callable[[], None] | None = None
        self._thread: threading.Thread
        self._token: trio.lowlevel.TrioToken
        self._tests: trio.MemorySendChannel[Test]
        self._awaited: Future[Any]  # by the thread of pytest: the start, or the end of a test

    def __repr__(self) -> str:
        return f"<SharedTree of {self._names}: {'open' if self._stop else 'closed'}>"

    def find(self, names: Sequence[str], modules: Sequence[str]) -> list[actorsys.Portal] | None:
        """Return the actors *names*, if they are here and offer just *modules*."""
        if list(modules) != self._modules or not self._portals.keys() >= set(names):
            return None
        return [self._portals[name] for name in names]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Start the tree; end it when the block ends."""
        self._thread = threading.Thread(target=self._main, name="shared tree")
        self._awaited = Future()
        self._thread.start()
        try:
            self._awaited.result(_START_SECONDS)
            yield
        finally:
            self._close()

    def run(self, test: Test, *, clock: Clock | None, instruments: list[Instrument]) -> Any:
        """Run *test* inside the tree if that is open, and the test wants no clock of its own."""
        if self._stop is None or clock is not None or instruments:
            return self.run_alone(test, clock=clock, instruments=instruments)
        self._awaited = Future()
        try:
            self._token.run_sync_soon(self._tests.send_nowait, test)
            return self._awaited.result()
        except BaseException:
            self._close()
            raise

    def run_alone(self, test: Test, **options: Any) -> Any:
        """Run *test* as `trio.run` would; a process is in one tree at a time, so this one ends."""
        self._close()
        return trio.run(test, **options)

    def _close(self) -> None:
        """End the tree, unless it has ended."""
        stop, self._stop = self._stop, None
        if stop is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(stop)
        self._thread.join()

    # --- in the thread -------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            if self._awaited.done():
                raise
            self._awaited.set_exception(error)

    async def _serve(self) -> None:
        self._tests, tests = trio.open_memory_channel[Test](1)
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            async with actorsys.open_nursery() as nursery:
                for name in self._names:
                    self._portals[name] = await nursery.start_actor(name, modules=self._modules)
                await self._tidy()
                self._stop = scope.cancel
                _tree.set(self)
                self._awaited.set_result(None)
                async for test in tests:
                    await self._run_one(test)

    async def _run_one(self, test: Test) -> None:
        """Run a test and say how it ended; if the tree ends with it, `_main` does."""
        try:
            result = await test()
            await self._tidy()
        except BaseException as error:
            if trio.current_effective_deadline() == -math.inf:
                raise
            self._awaited.set_exception(error)
        else:
            self._awaited.set_result(result)

    async def _tidy(self) -> None:
        """Return when no call is in flight, and the actors are as *clear* leaves them."""
        with trio.fail_after(_IDLE_SECONDS):
            while any(link.calls_in_flight for link in actorsys.current_actor().statistics().links):
                await trio.sleep(0.001)
        if self._clear is not None:
            await self._clear(*self._portals.values())
