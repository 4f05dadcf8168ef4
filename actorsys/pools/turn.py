"""A turn of a thread: plain functions, one after the other.

To start a thread, or to wake one, costs many times what a small function does. So a thread goes on
to the next call by itself, as long as what it leaves behind is safe in the journal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import trio

from ..actor import Actor
from .journal import Journal
from .order import Order


class Finished(NamedTuple):
    """A call that has ended in a thread: its result, or its error."""

    order: Order
    value: Any
    error: BaseException | None


class Turn:
    """Runs *order* and what *next_order* returns after it, in a thread.

    *next_order* is called in that thread. *on_result* is told, in the loop, of each call whose
    result is in the journal. ``current`` is the call whose end is not handed over yet, or None.
    """

    def __init__(
        self,
        order: Order,
        journal: Journal | None,
        next_order: Callable[[], Order | None],
        on_results: Callable[[list[tuple[Order, Any]]], None],
    ) -> None:
        self.current: Order | None = order
        self._journal = journal
        self._next_order = next_order
        self._on_results = on_results
        self._lock = threading.Lock()
        self._is_left_behind = False
        self._is_running = False
        self._ended = trio.Event()
        self._results: list[tuple[Order, Any]] = []
        self._token = trio.lowlevel.current_trio_token()

    def __repr__(self) -> str:
        return f"<Turn: {self.current!r}, {len(self._results)} results to tell>"

    async def run(self, actor: Actor) -> Finished | None:
        """Run calls until there are no more, or one has ended in a way that is returned here.

        If cancelled, the thread is left behind; `wait_ended` waits for it.
        """
        return await actor.host.run_blocking(self._work, actor.threads)

    def leave_behind(self, order: Order) -> bool:
        """Let *order* be the last call of the thread, if it runs now; return whether it does."""
        with self._lock:
            if self.current is not order:
                return False
            self._is_left_behind = True
            return True

    def abandon(self) -> bool:
        """Let the thread begin nothing any more; return whether it runs something now."""
        with self._lock:
            self._is_left_behind = True
            return self._is_running

    async def wait_ended(self) -> None:
        """Wait until the function that was left behind has returned."""
        await self._ended.wait()

    # --- in the thread -------------------------------------------------------------------

    def _work(self) -> Finished | None:
        with self._lock:
            if self._is_left_behind:
                return None
            self._is_running = True
        try:
            while self.current is not None:
                finished = self._call(self.current)
                if not (self._is_safe(finished) and self._go_on(finished)):
                    return finished if self.current is not None else None
            return None
        finally:
            with self._lock:
                self._is_running = False
            self._tell(self._ended.set)

    def _call(self, order: Order) -> Finished:
        try:
            return Finished(order, order.call(), None)
        except BaseException as error:
            return Finished(order, None, error)

    def _is_safe(self, finished: Finished) -> bool:
        """Keep a result in the journal; return whether it could be."""
        if self._journal is None or finished.error is not None:
            return False
        return self._journal.keep(finished.order.number, finished.value)

    def _go_on(self, finished: Finished) -> bool:
        """Have a result told and take the next call; return whether that could be done.

        If not, whoever waits for the thread has to do what is left: ``current`` says so.
        """
        with self._lock:
            if self._is_left_behind:
                return False
            self._results.append((finished.order, finished.value))
            if len(self._results) == 1:
                self._tell(self._tell_results)
            self.current = self._next_order()
            return self.current is not None

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(what)
        except trio.RunFinishedError:
            return  # the worker has ended meanwhile, and nobody waits

    # --- in the loop ---------------------------------------------------------------------

    def _tell_results(self) -> None:
        with self._lock:
            results, self._results = self._results, []
        self._on_results(results)
