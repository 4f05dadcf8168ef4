"""One coroutine function that trio calls in the asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import outcome
import trio

from ..errors import AsyncioCancelled, BridgeClosed

if TYPE_CHECKING:
    from .loop_bridge import LoopBridge

T = TypeVar("T")


class AsyncioCall(Generic[T]):
    """A task of asyncio that a trio task waits for.

    `_task` belongs to the asyncio side, the rest to trio's. The trio task sleeps until `wake`: a
    cancellation is only passed on.
    """

    def __init__(
        self, bridge: LoopBridge, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        self._bridge = bridge
        self._function = function
        self._args = args
        self._waiter = trio.lowlevel.current_task()
        self._raise_cancel: Callable[[], NoReturn] | None = None
        self._task: asyncio.Task[outcome.Outcome[T]] | None = None

    def __repr__(self) -> str:
        return f"<AsyncioCall of {self._function!r}: {self._task!r}>"

    # --- in trio -------------------------------------------------------------------------

    async def wait(self) -> T:
        """Run it and return its result; cancellation waits for its end."""
        self._bridge.to_loop(self._begin)
        self._bridge.calls.add(self)
        result: outcome.Outcome[T] | None = await trio.lowlevel.wait_task_rescheduled(self._abort)
        is_cancelled = result is None or (
            isinstance(result, outcome.Error) and isinstance(result.error, asyncio.CancelledError)
        )
        if not is_cancelled:
            assert result is not None
            return result.unwrap()
        if self._raise_cancel is not None:
            self._raise_cancel()
        if self._bridge.is_closing or self._bridge.failure is not None:
            raise BridgeClosed("the bridge to asyncio was closed while this ran")
        raise AsyncioCancelled(
            "asyncio code cancelled the task that was run for trio; nobody here had asked for it"
        ) from (result.error if isinstance(result, outcome.Error) else None)

    def wake(self, result: outcome.Outcome[T] | None) -> None:
        """End the wait; None says that the coroutine has not run to its end. Only once counts."""
        if self in self._bridge.calls:
            self._bridge.calls.discard(self)
            trio.lowlevel.reschedule(self._waiter, outcome.Value(result))

    def _abort(self, raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        self._raise_cancel = raise_cancel
        with contextlib.suppress(BridgeClosed):  # it has ended, and its result is under way
            self._bridge.to_loop(self._cancel)
        return trio.lowlevel.Abort.FAILED

    # --- in the loop ---------------------------------------------------------------------

    def _begin(self) -> None:
        name = getattr(self._function, "__qualname__", None) or repr(self._function)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)
        self._task.add_done_callback(self._deliver)

    def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()

    async def _run(self) -> outcome.Outcome[T]:
        """Keep what it raises from the loop: SystemExit and KeyboardInterrupt would end that."""
        try:
            awaitable = self._function(*self._args)
            if not inspect.isawaitable(awaitable):
                raise TypeError(
                    f"{self._function!r} returned {awaitable!r}, which cannot be awaited; what is "
                    f"run in asyncio is a coroutine function"
                )
            return outcome.Value(await awaitable)
        except BaseException as error:
            return outcome.Error(error)

    def _deliver(self, task: asyncio.Task[outcome.Outcome[T]]) -> None:
        result = None if task.cancelled() else task.result()  # None: cancelled before it began
        self._bridge.to_trio(self.wake, result)
