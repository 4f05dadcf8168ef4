"""Open a bridge around a block, and end it in good order whatever the code behind it does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor
from ..actor.runtime import open_services
from ..errors import BridgeBroken
from ..limits import DEFAULT_LIMITS
from .bridge import Bridge
from .options import BridgeKind, BridgeOptions

if TYPE_CHECKING:
    from .guest import GuestBridge
    from .thread import ThreadBridge

_log = logging.getLogger("actorsys.bridges")


def _default_grace() -> float:
    return DEFAULT_LIMITS.stop_grace_seconds


@asynccontextmanager
@enable_ki_protection
async def open_bridge(
    kind: BridgeKind = "thread",
    uvloop: bool = False,
    *,
    grace: Callable[[], float] = _default_grace,
    abandon: bool = True,
) -> AsyncIterator[Bridge]:
    """Open an asyncio loop beside trio for the block.

    When the block ends, tasks that are left over there are cancelled, and all of them are waited
    for; their clean-up can still call into trio. If that takes longer than *grace* says, in
    seconds, a warning tells what still runs. Then its thread is left behind, with an error, or
    waited for as long as it takes if *abandon* is false.

    An error of the block leaves as itself. What ends the bridge from inside cancels the block and
    is raised here: an error in a function of `Bridge.call_soon` or `Bridge.post`, or
    `BridgeBroken` when asyncio code has ended the loop.

    Raises:
      ImportError: *uvloop* is wanted and not installed.
      RuntimeError: ``"guest"``, and trio is no guest of an asyncio loop.
      BridgeBroken: asyncio code has ended the loop, or does not end.
    """
    async with open_services() as services:
        bridge = _make_bridge(kind, uvloop, services)
        bridge.start()
        error: BaseException | None = None
        try:
            with bridge.scope:
                yield bridge
        except BaseException as raised:
            error = raised
        interrupt = await _end(bridge, grace, abandon)
        if interrupt is not None and not isinstance(error, KeyboardInterrupt):
            interrupt.__cause__, error = error, interrupt
        errors = [each for each in (error, bridge.failure) if each is not None]
        if len(errors) > 1:
            raise BaseExceptionGroup("the block and its bridge to asyncio failed", errors)
        if errors:
            raise errors[0]


@asynccontextmanager
async def open_actor_bridge(
    actor: Actor, options: BridgeOptions, *, abandon: bool
) -> AsyncIterator[None]:
    """Give *actor* the asyncio loop of *options*, if any, for the block."""
    if options.kind is None:
        yield
        return

    def grace() -> float:
        if actor.interrupts.count:
            return actor.limits.interrupt_grace_seconds
        if actor.stop_request is not None:
            return actor.stop_request.deadline - trio.current_time()
        return actor.limits.stop_grace_seconds

    try:
        async with open_bridge(
            options.kind, options.uvloop, grace=grace, abandon=abandon
        ) as bridge:
            actor.bridge = bridge
            yield
    finally:
        actor.bridge = None


def _make_bridge(
    kind: BridgeKind, uvloop: bool, services: trio.Nursery
) -> ThreadBridge | GuestBridge:
    # Here, because asyncio takes longer to import than the rest of this package.
    if BridgeOptions.check(kind, uvloop).kind == "guest":
        from .guest import GuestBridge

        return GuestBridge(services)
    from .thread import ThreadBridge

    return ThreadBridge(services, uvloop=uvloop)


async def _end(
    bridge: ThreadBridge | GuestBridge, grace: Callable[[], float], abandon: bool
) -> KeyboardInterrupt | None:
    """End the asyncio side, then the trio side; return Ctrl-C if it came meanwhile."""
    with trio.CancelScope(shield=True):
        bridge.begin_end()
        interrupt = await _wait_ended(bridge, grace)
        if not bridge.ended.is_set():
            told = f"asyncio code goes on after it was cancelled; {bridge.describe_leftover()}"
            _log.warning(told)
            if abandon:
                bridge.fail(BridgeBroken(f"{told}; its thread was left behind"))
            else:
                await bridge.ended.wait()
        await bridge.close()
    return interrupt


async def _wait_ended(
    bridge: ThreadBridge | GuestBridge, grace: Callable[[], float]
) -> KeyboardInterrupt | None:
    """Wait for the asyncio side for as long as *grace* says, which Ctrl-C can shorten."""
    interrupt = None
    deadline = trio.current_time() + grace()
    while not bridge.ended.is_set() and trio.current_time() < deadline:
        try:
            with trio.move_on_at(deadline):
                await bridge.ended.wait()
        except KeyboardInterrupt as error:
            interrupt = error
            deadline = min(deadline, trio.current_time() + grace())
    return interrupt
