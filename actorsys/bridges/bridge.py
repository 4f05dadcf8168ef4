"""What two loops in one process owe each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")


class Bridge(Protocol):
    """An asyncio loop beside the trio loop of this process.

    Values cross as they are: both sides share memory, and in the thread kind they run at the same
    time. Hand over what nobody changes any more.
    """

    @property
    def loop(self) -> AbstractEventLoop:
        """The asyncio loop."""

    @property
    def is_in_loop(self) -> bool:
        """Whether this code runs in the asyncio loop."""

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """From trio: run a coroutine function in the asyncio loop; return its result.

        Its error is raised here. Cancelling cancels the asyncio task and waits for it to end; what
        it raises instead, such as an error of its clean-up, is raised in place of the cancellation.
        In a root that wait ends with the grace: the cancellation is raised, the task goes on, and
        the bridge is broken.

        Raises:
          NoBridge: this code does not run in the trio loop of the bridge.
          BridgeClosed: the loop has ended; nothing was run.
        """

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """From trio: have *function* called in the asyncio loop, in the order of these calls.

        An error in it ends the bridge, and is raised where that was opened.

        Raises:
          BridgeClosed: the loop has ended.
        """

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """From the asyncio loop or any thread: have *function* called in trio soon.

        Calls of one thread keep their order. An error in it ends the bridge, and is raised where
        that was opened.

        Raises:
          BridgeClosed: nothing can be called there any more.
        """

    async def call_trio(self, async_function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """From asyncio: run an async function in trio; return its result.

        Its error is raised here. Cancelling the asyncio task cancels the trio task and waits for it
        to end.

        Raises:
          NoBridge: this code does not run in the asyncio loop of the bridge.
          BridgeClosed: the bridge is being closed; nothing was run.
        """
