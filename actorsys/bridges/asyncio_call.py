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

    `_task` belongs to the asyncio side, the rest to trio's. The result is an outcome, or None if
    the coroutine has not run to its end.
    """

    def __init__(
        self, bridge: LoopBridge, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        self._bridge = bridge
        self._function = function
        self._args = args
        self._ended = trio.Event()
        self._result: outcome.Outcome[T] | None = None
        self._task: asyncio.Task[outcome.Outcome[T]] | None = None

    def __repr__(self) -> str:
        return f"<AsyncioCall of {self._function!r}: {self._task!r}>"

    # --- in trio -------------------------------------------------------------------------

    async def wait(self) -> T:
        """Run it and return its result; a cancellation waits for its end, within the grace."""
        self._bridge.to_loop(self._begin)
        self._bridge.calls.add(self)
        try:
            await self._ended.wait()
        except (trio.Cancelled, KeyboardInterrupt) as cancellation:
            interrupt = await self._end()
            if isinstance(cancellation, KeyboardInterrupt):
                interrupt = cancellation
            if self._is_cancelled:
                raise interrupt or cancellation
            if interrupt is not None:
                raise interrupt from self._error
        finally:
            self._bridge.calls.discard(self)
        if self._is_cancelled:
            self._refuse_cancellation()
        assert self._result is not None
        return self._result.unwrap()

    def wake(self, result: outcome.Outcome[T] | None) -> None:
        """End the wait. Only once counts."""
        if not self._ended.is_set():
            self._result = result
            self._ended.set()

    @property
    def _error(self) -> BaseException | None:
        return self._result.error if isinstance(self._result, outcome.Error) else None

    @property
    def _is_cancelled(self) -> bool:
        return self._result is None or isinstance(self._error, asyncio.CancelledError)

    async def _end(self) -> KeyboardInterrupt | None:
        with contextlib.suppress(BridgeClosed):  # it has ended, and its result is under way
            self._bridge.to_loop(self._cancel)
        return await self._bridge.wait_for_end_of(self._ended)

    def _refuse_cancellation(self) -> NoReturn:
        """Raise the error for a cancellation that trio has not asked for."""
        if self._bridge.is_closing or self._bridge.failure is not None:
            raise BridgeClosed("the bridge to asyncio was closed while this ran")
        raise AsyncioCancelled(
            "asyncio code cancelled the task that was run for trio; nobody here had asked for it"
        ) from self._error

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
