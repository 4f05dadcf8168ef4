"""One async function that asyncio calls in the trio loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import outcome
import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ..errors import BridgeClosed
from .cancelled import split_cancelled

if TYPE_CHECKING:
    from .loop_bridge import LoopBridge

T = TypeVar("T")


class TrioCall(Generic[T]):
    """A task of trio that an asyncio task waits for.

    `_done` belongs to the asyncio side, `_scope` to trio's. Its result is an outcome, or None if
    the trio task was cancelled.
    """

    def __init__(
        self, bridge: LoopBridge, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        self._bridge = bridge
        self._function = function
        self._args = args
        self._scope = trio.CancelScope()
        self._done: asyncio.Future[outcome.Outcome[T] | None] = (
            asyncio.get_running_loop().create_future()
        )

    def __repr__(self) -> str:
        return f"<TrioCall of {self._function!r}: {self._done!r}>"

    # --- in the loop ---------------------------------------------------------------------

    async def wait(self) -> T:
        """Run it and return its result; cancellation waits for its end, and wins over a result."""
        self._bridge.post(self._begin)
        cancellation: asyncio.CancelledError | None = None
        while not self._done.done():
            try:
                await asyncio.wait([self._done])
            except asyncio.CancelledError as error:
                cancellation = error
                self._bridge.post(self._scope.cancel)
        result = self._done.result()
        try:
            if isinstance(result, outcome.Error):
                result.unwrap()
            if cancellation is not None:
                raise cancellation
        finally:
            del cancellation
        if result is None:
            raise asyncio.CancelledError("the trio task that was run for asyncio was cancelled")
        return result.unwrap()

    # --- in trio -------------------------------------------------------------------------

    def _begin(self) -> None:
        self._bridge.services.start_soon(self._run)  # in the context of the post

    @enable_ki_protection
    async def _run(self) -> None:
        result: outcome.Outcome[T] | None = None
        try:
            with self._scope:
                result = outcome.Value(await self._call())
        except KeyboardInterrupt:
            raise  # Ctrl-C is for trio, whichever task it has hit
        except BaseException as error:
            cancelled, rest = split_cancelled(error)
            result = outcome.Error(rest) if rest is not None else None
            if cancelled is not None:
                raise cancelled
        finally:
            with contextlib.suppress(BridgeClosed):  # the loop was left behind
                self._bridge.to_loop(self._done.set_result, result)

    @disable_ki_protection
    async def _call(self) -> T:
        return await self._function(*self._args)
