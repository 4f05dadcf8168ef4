"""The block in which a dispatcher runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from trio.lowlevel import enable_ki_protection

from ..actor.runtime import open_services
from ..limits import DEFAULT_ROUTING_LIMITS, RoutingLimits
from .desk import SendingDesk
from .dispatcher import RouterDispatcher
from .failures import IsTransient, is_transient
from .ledger import Ledger
from .options import DispatcherOptions
from .overflow import Overflow
from .protocol import Protocol
from .retry_delay import DEFAULT_RETRY_DELAY
from .route_table import RouteTable


@asynccontextmanager
@enable_ki_protection
async def open_dispatcher(
    *,
    deadlines: Mapping[Protocol, float] | None = None,
    overflow: Overflow | Mapping[Protocol, Overflow] = Overflow.BLOCK,
    control: Collection[Protocol] = (),
    retry_delay: Callable[[int], float] = DEFAULT_RETRY_DELAY,
    is_transient: IsTransient = is_transient,
    limits: RoutingLimits = DEFAULT_ROUTING_LIMITS,
) -> AsyncIterator[RouterDispatcher]:
    """Open a dispatcher. Leaving the block closes it as `RouterDispatcher.aclose` does.

    If the block fails or is cancelled, there is no grace: what is not delivered becomes a dead
    letter at once. No task survives the block.

    Args:
      deadlines: seconds from acceptance to delivery, by kind; else as in `DEADLINES_SECONDS`.
      overflow: what to do with a message for which there is no room; one rule, or one by kind.
      control: kinds that go before all others of the same actor, in order among themselves. Without
        any, all messages of an actor go in the order in which they were accepted.
      retry_delay: seconds to wait after a transient failure, from the number of failures in a row
        before it; at least 1 ms. Other actors of the route are not delayed.
      is_transient: whether an error of a route's function says that the message was not taken, but
        may be later. See `failures.is_transient`.
      limits: how much may wait, and how long an end may take.

    Raises:
      TypeError, ValueError: an option makes no sense.
    """
    options = DispatcherOptions(
        {} if deadlines is None else deadlines,
        overflow,
        control,
        retry_delay,
        is_transient,
        limits,
    )
    table, ledger = RouteTable(), Ledger(limits.max_dead_letters)
    desk = SendingDesk(table, ledger, options)
    try:
        async with open_services() as pumps:
            pumps.start_soon(desk.alarm.run, name="alarm of a dispatcher")
            dispatcher = RouterDispatcher(table, ledger, desk, limits, pumps)
            yield dispatcher
            await dispatcher.aclose()
    finally:
        desk.finish()
