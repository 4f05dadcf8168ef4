"""The bridge itself: what crosses, in which order, and what becomes of its errors."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import BridgeBroken, BridgeClosed, NoBridge
from .asyncio_call import AsyncioCall
from .loops import wind_up
from .patience import Patience
from .trio_call import TrioCall

T = TypeVar("T")

_log = logging.getLogger("actorsys.bridges")

_FROM_AFAR = (
    "from other loops and threads, hand a coroutine to its asyncio loop with "
    "asyncio.run_coroutine_threadsafe(..., actorsys.current_actor().bridge.loop)"
)


class LoopBridge:
    """Two loops, joined by the two functions with which each lets others call into it.

    Both keep the order of the calls. *call_in_loop* is ``loop.call_soon_threadsafe``, or
    ``loop.call_soon`` where both loops share a thread.

    Attributes, all of the trio side:
      services: where the functions run that asyncio calls.
      scope: around the body of the block that opened it; cancelled when the bridge fails.
      calls: the calls into asyncio that somebody waits for.
      failure: what has ended it, to be raised where it was opened.
      is_closing: nothing new can be started from trio.
      ended: the asyncio side has run to its end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call_in_loop: Callable[..., object],
        services: trio.Nursery,
        patience: Patience,
    ) -> None:
        self.services = services
        self.scope = trio.CancelScope()
        self.calls: set[AsyncioCall[Any]] = set()
        self.failure: BaseException | None = None
        self.is_closing = False
        self.ended = trio.Event()
        self._patience = patience
        self._loop = loop
        self._call_in_loop = call_in_loop
        self._token = trio.lowlevel.current_trio_token()
        self._lock = threading.Lock()  # so that whatever is posted before the end is called
        self._is_stuck = False  # what was cancelled goes on, and that has been said
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "closing" if self.is_closing else "open"
        return f"<{type(self).__name__}: {state}, {self._loop!r}>"

    # --- what is offered -----------------------------------------------------------------

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def is_in_loop(self) -> bool:
        # A guest's tasks run inside a callback of the loop.
        return asyncio._get_running_loop() is self._loop and not trio.lowlevel.in_trio_task()

    @property
    def _is_in_trio(self) -> bool:
        in_task = trio.lowlevel.in_trio_task()
        return in_task and trio.lowlevel.current_trio_token() is self._token

    @enable_ki_protection
    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        self._refuse_outside_of_trio()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._refuse_when_closing()
        return await AsyncioCall(self, function, args).wait()

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        self._refuse_when_closing()
        self.to_loop(self._call_there, function, args)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        context = contextvars.copy_context()
        try:
            with self._lock:
                if self._is_closed:
                    raise BridgeClosed("the bridge to trio is closed")
                self._token.run_sync_soon(self._call_here, context, function, args)
        except trio.RunFinishedError:
            raise BridgeClosed("trio has ended") from None

    async def call_trio(self, async_function: Callable[..., Awaitable[T]], *args: Any) -> T:
        self._refuse_outside_of_loop()
        return await TrioCall(self, async_function, args).wait()

    # --- crossing ------------------------------------------------------------------------

    def to_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Have *function*, which does not raise, called in the asyncio loop."""
        try:
            self._call_in_loop(function, *args)
        except RuntimeError:
            raise BridgeClosed("the asyncio loop has ended") from None

    def to_trio(self, function: Callable[..., object], *args: Any) -> None:
        """Have *function*, which does not raise, called in trio; nothing if that has ended."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)

    def _refuse_outside_of_trio(self) -> None:
        if self.is_in_loop:
            raise NoBridge("this code runs in asyncio already: await the function itself")
        if not self._is_in_trio:
            raise NoBridge(f"this code does not run in the trio loop of this actor; {_FROM_AFAR}")

    def _refuse_outside_of_loop(self) -> None:
        if self._is_in_trio:
            raise NoBridge("this code runs in trio already: await the function itself")
        if not self.is_in_loop:
            raise NoBridge(
                f"this code does not run in the asyncio loop of this actor; {_FROM_AFAR}"
            )

    def _refuse_when_closing(self) -> None:
        if self.is_closing:
            raise BridgeClosed("the bridge to asyncio is closed")

    def _call_there(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except BaseException as error:
            self.to_trio(self.fail, error)

    def _call_here(
        self,
        context: contextvars.Context,
        function: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        # trio takes an error of what is called like this for one of its own.
        try:
            context.run(function, *args)
        except BaseException as error:
            self.fail(error)

    # --- the end -------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End the bridge: *error* is raised where it was opened. In trio."""
        if self.failure is not None:
            _log.error("one more error at the end of a bridge", exc_info=error)
            return
        self.failure = error
        self.scope.cancel()

    def on_crash(self, error: BaseException | None) -> None:
        """Note that the loop was ended from inside. In the thread of the loop."""
        how = "loop.stop() was called" if error is None else f"{error!r} left one of its tasks"
        broken = BridgeBroken(f"the asyncio loop was ended by asyncio code: {how}")
        broken.__cause__ = error
        self.to_trio(self.fail, broken)

    async def wait_for_end_of(self, event: trio.Event) -> KeyboardInterrupt | None:
        """Wait for *event*, the end of what was cancelled over there; return Ctrl-C if it came.

        After the grace a warning tells what goes on. Then that is left behind and the bridge
        fails, or it is waited for as long as it takes.
        """
        interrupt = await self._patience.wait(event)
        if event.is_set():
            return interrupt
        if not self._is_stuck:
            self._is_stuck = True
            self._complain()
        if not self._patience.ends:
            with trio.CancelScope(shield=True):
                await event.wait()
            self._is_stuck = False
        return interrupt

    def _complain(self) -> None:
        told = f"asyncio code goes on after it was cancelled; {self.describe_leftover()}"
        _log.warning(told)
        if self._patience.ends:
            self.fail(BridgeBroken(f"{told}; its thread was left behind"))

    @property
    def is_left_behind(self) -> bool:
        """Whether asyncio code has not ended in time, and is not waited for any more."""
        return self._is_stuck and self._patience.ends

    def describe_leftover(self) -> str:
        """Say what the asyncio side is still doing."""
        raise NotImplementedError

    def begin_end(self) -> None:
        """Cancel what is left in the asyncio loop; `ended` is set when it has ended. In trio."""
        self.is_closing = True
        with contextlib.suppress(BridgeClosed):  # it has crashed
            self.to_loop(self._wind_up)

    def _wind_up(self) -> None:
        """In the loop; the loop keeps the task, which nobody else needs."""
        task = self._loop.create_task(wind_up(), name="actorsys: wind up")
        task.add_done_callback(self.on_wound_up)

    def on_wound_up(self, task: asyncio.Task[None]) -> None:
        """Note that all has ended over there. In the loop."""
        raise NotImplementedError

    async def close(self) -> None:
        """Take no more posts; return when those that were taken have been called.

        Whoever waits for a call that did not end is told. Neither cancelled nor interrupted.
        """
        with self._lock:
            self._is_closed = True
        self._token.run_sync_soon(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        self._wake_all()

    def on_ended(self) -> None:
        """Note that the asyncio side has ended; nothing comes from there any more. In trio."""
        self.ended.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for call in list(self.calls):
            call.wake(None)
