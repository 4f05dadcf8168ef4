"""Actors that change their routes together, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from .actor_queue import ActorQueue
from .desk import SendingDesk, call_off
from .protocol import ActorId
from .route_table import RouteTable


@asynccontextmanager
async def migrate(
    table: RouteTable, desk: SendingDesk, targets: Mapping[ActorId, str]
) -> AsyncIterator[None]:
    """Keep the actors of *targets* still during the block, and reassign them when it ends.

    See `RouterDispatcher.open_migration`.
    """
    _check(table, targets)
    moved = [(table.queue_of(actor_id), name) for actor_id, name in targets.items()]
    for queue, _ in moved:
        queue.is_held = True
        table.unready(queue)
    try:
        await _wait_landed(desk, [queue for queue, _ in moved])
        yield
        for _, name in moved:
            table.need_route(name)
        for queue, name in moved:
            if table.queues.get(queue.actor_id) is queue:
                table.assign(queue, name)
    finally:
        for queue, _ in moved:
            queue.is_held = False
            table.ready(queue)
            table.forget_if_idle(queue)
        desk.changed.unpark_all()


def _check(table: RouteTable, targets: Mapping[ActorId, str]) -> None:
    """Refuse what cannot be done, before anything has changed."""
    if not isinstance(targets, Mapping):
        raise TypeError(
            f"a migration takes a mapping of actor ids to names of routes, not {targets!r}"
        )
    for actor_id, name in targets.items():
        table.need_route(name)
        queue = table.find(actor_id)
        if queue is not None and queue.is_held:
            raise trio.BusyResourceError(f"actor {actor_id!r} is being moved already")


async def _wait_landed(desk: SendingDesk, queues: list[ActorQueue]) -> None:
    """Wait until nothing of *queues* is in flight; take back what can be taken back."""
    await trio.lowlevel.checkpoint_if_cancelled()
    for queue in queues:
        item = queue.in_flight
        if item is not None and item.route is not None and item.route.is_cancel_safe:
            call_off(item, None)
    while any(queue.in_flight is not None for queue in queues):
        await desk.changed.park()
