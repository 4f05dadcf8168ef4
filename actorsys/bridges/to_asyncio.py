"""Cross from one loop of the current actor to the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ..actor import current_actor
from ..errors import NoBridge
from .bridge import Bridge

T = TypeVar("T")


async def to_asyncio(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run a coroutine function in the asyncio loop of this actor; return its result. From trio.

    Its error is raised here, and context variables go with it. Cancelling cancels the asyncio task,
    once, and waits for it to end; what it returns or raises all the same is the outcome. In a root
    that wait ends with `Limits.stop_grace_seconds`, or soon after Ctrl-C: the task is left behind
    then, and the block that opened the root ends with `BridgeBroken`. Keyword arguments:
    `functools.partial`.

    Raises:
      NoBridge: this actor has no asyncio loop, or this code runs in it already.
      BridgeClosed: it has ended; nothing was run.
      AsyncioCancelled: asyncio code over there cancelled the task, and nobody here.
    """
    return await _bridge().run(function, *args)


async def to_trio(async_function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run an async function in the trio loop of this actor; return its result. From asyncio.

    Its error is raised here, and context variables go with it. Cancelling the asyncio task cancels
    the trio task and waits for it to end; its result is lost then, an error is not.

    Raises:
      NoBridge: this code does not run in the asyncio loop of an actor.
      BridgeClosed: the bridge is closed; nothing was run.
    """
    return await _bridge().call_trio(async_function, *args)


def _bridge() -> Bridge:
    actor = current_actor()
    if actor.bridge is None:
        raise NoBridge(
            f"actor {actor.name!r} has no asyncio loop; start it with start_actor(..., "
            f"asyncio=True), or open the root with open_nursery(asyncio=True)"
        )
    return actor.bridge
