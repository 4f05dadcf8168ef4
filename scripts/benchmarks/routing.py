"""Messages for many actors over a few routes, and the job that is about them."""

from __future__ import annotations

import trio

from actorsys import Protocol, RoutedMessage, open_dispatcher

from .floor import BATCH, ROUTES
from .timing import measure_rate

ACTORS = 100


async def route_messages(seconds: float) -> float:
    """Return messages a second through a dispatcher, to 100 actors on 4 routes."""
    left = trio.Event()
    count = 0

    async def send(message: RoutedMessage) -> None:
        nonlocal count
        count += 1
        if count == BATCH:
            left.set()

    async with open_dispatcher() as dispatcher:
        for route in range(ROUTES):
            dispatcher.add_route(f"route-{route}", send)
        for actor in range(ACTORS):
            dispatcher.assign(actor, f"route-{actor % ROUTES}")

        async def dispatch() -> None:
            nonlocal left, count
            left, count = trio.Event(), 0
            for number in range(BATCH):
                await dispatcher.dispatch(
                    RoutedMessage(number % ACTORS, Protocol.REQUEST_INFERENCE, number)
                )
            await left.wait()

        return await measure_rate(dispatch, seconds, weight=BATCH)
