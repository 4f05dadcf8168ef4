"""Open a bridge around a block, and end it in good order whatever the code behind it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor
from ..actor.runtime import open_services
from ..limits import DEFAULT_LIMITS
from .bridge import Bridge
from .cancelled import split_cancelled
from .options import BridgeKind, BridgeOptions
from .patience import Patience

if TYPE_CHECKING:
    from .guest import GuestBridge
    from .thread import ThreadBridge


@asynccontextmanager
@enable_ki_protection
async def open_bridge(
    kind: BridgeKind = "thread",
    uvloop: bool = False,
    *,
    patience: Patience | None = None,
) -> AsyncIterator[Bridge]:
    """Open an asyncio loop beside trio for the block.

    When the block ends, tasks that are left over there are cancelled, and all of them are waited
    for; their clean-up can still call into trio. If that, or the end of a call that was cancelled,
    takes longer than *patience* has, a warning tells what still runs. Then its thread is left
    behind, and the block is cancelled, with an error; or it is waited for as long as it takes.

    An error of the block leaves as itself. What ends the bridge from inside cancels the block and
    is raised here: an error in a function of `Bridge.call_soon` or `Bridge.post`, or
    `BridgeBroken` when asyncio code has ended the loop.

    Raises:
      ImportError: *uvloop* is wanted and not installed.
      RuntimeError: ``"guest"``, and trio is no guest of an asyncio loop.
      BridgeBroken: asyncio code has ended the loop, or does not end.
    """
    async with open_services() as services:
        bridge = _make_bridge(kind, uvloop, services, patience)
        bridge.start()
        error: BaseException | None = None
        try:
            with bridge.scope:
                yield bridge
        except BaseException as raised:
            error = raised
        interrupt = await _end(bridge)
        if interrupt is not None and not isinstance(error, KeyboardInterrupt):
            interrupt.__cause__, error = error, interrupt
        if error is not None and bridge.failure is not None:
            _, error = split_cancelled(error)  # the failure says why, and cancels as well
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

    patience = Patience(grace, ends=abandon)
    actor.interrupts.listeners.append(patience.hurry)
    try:
        async with open_bridge(options.kind, options.uvloop, patience=patience) as bridge:
            actor.bridge = bridge
            yield
    finally:
        actor.bridge = None
        actor.interrupts.listeners.remove(patience.hurry)


def _make_bridge(
    kind: BridgeKind,
    uvloop: bool,
    services: trio.Nursery,
    patience: Patience | None,
) -> ThreadBridge | GuestBridge:
    if patience is None:
        patience = Patience(lambda: DEFAULT_LIMITS.stop_grace_seconds, ends=True)
    # Imported here, because asyncio takes longer than the rest of this package.
    if BridgeOptions.check(kind, uvloop).kind == "guest":
        from .guest import GuestBridge

        return GuestBridge(services, patience)
    from .thread import ThreadBridge

    return ThreadBridge(services, patience, uvloop=uvloop)


async def _end(bridge: ThreadBridge | GuestBridge) -> KeyboardInterrupt | None:
    """End the asyncio side, then the trio side; return Ctrl-C if it came meanwhile."""
    interrupt = None
    with trio.CancelScope(shield=True):
        bridge.begin_end()
        if not bridge.is_left_behind:
            interrupt = await bridge.wait_for_end_of(bridge.ended)
        await bridge.close()
    return interrupt
