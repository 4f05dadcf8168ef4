"""What the actors of the tests of topics run, and how these tests make their trees."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

import actorsys
from actorsys import Topic, TopicSubscription, find_actor
from actorsys.testing import Simulation
from actorsys.topics.broker import Broker

MODULES = [__name__]
_RAISED = "raised"
Where = actorsys.Portal | None
"""An actor of the tree; None is the root."""


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Have *test* run as the root of the simulated tree that is its first argument."""

    @functools.wraps(test)
    def run(sim: Simulation, **arguments: Any) -> None:
        sim.run(functools.partial(test, sim, **arguments))

    return run


async def settle() -> None:
    """Let so much simulated time pass that whatever is to happen has happened."""
    await trio.sleep(30)


def broker() -> Broker:
    """Return the broker of this tree; the root asks."""
    return Broker.of(actorsys.current_actor())


async def run_at(where: Where, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run a function of this module anywhere."""
    return await (fn(*args) if where is None else where.run(fn, *args))


# --- publishing -------------------------------------------------------------------------------


async def publish(topic: str, *values: Any) -> list[int]:
    """Publish values, each after the answer to the one before; return how many listened."""
    return [await Topic(topic).publish(value) for value in values]


async def publish_all(topic: str, values: list[Any]) -> None:
    async with Topic(topic).open_publisher() as publisher:
        for value in values:
            await publisher.send(value)


async def count_subscribers(topic: str) -> int:
    return await Topic(topic).count_subscribers()


@actorsys.context
async def watch_count(ctx: actorsys.Context, topic: str) -> None:
    """Open a publisher; for each item that comes, publish it and tell how many listen."""
    async with Topic(topic).open_publisher() as publisher:
        await ctx.started(publisher.subscribers)
        async with ctx.open_stream() as stream:
            async for value, wanted in stream:
                await publisher.wait_subscribers(wanted)
                await publisher.send(value)
                await stream.send(publisher.subscribers)


# --- listening --------------------------------------------------------------------------------


class Reader:
    """A subscription anywhere in the tree, which reads when it is told to."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.dropped = 0

    async def read(self, count: int = 1) -> list[Any]:
        """Return the next *count* values."""
        values = []
        for _ in range(count):
            topic, value, self.dropped = await self._read_one()
            self.topics.append(topic)
            values.append(value)
        return values

    async def read_all(self) -> list[Any]:
        """Return all that is there, or comes within a second of simulated time."""
        values: list[Any] = []
        with trio.move_on_after(1):
            while True:
                values += await self.read()
        return values

    async def _read_one(self) -> tuple[str, Any, int]:
        raise NotImplementedError


class _ReaderHere(Reader):
    def __init__(self, subscription: TopicSubscription) -> None:
        super().__init__()
        self._subscription = subscription

    async def _read_one(self) -> tuple[str, Any, int]:
        topic, value = await self._subscription.receive()
        return topic, value, self._subscription.dropped


class _ReaderThere(Reader):
    def __init__(self, stream: actorsys.MsgStream) -> None:
        super().__init__()
        self._stream = stream
        self._asked = False

    async def _read_one(self) -> tuple[str, Any, int]:
        if not self._asked:  # a question whose asker was cancelled is still being answered
            await self._stream.send(None)
            self._asked = True
        topic, value, dropped = await self._stream.receive()
        self._asked = False
        if topic == _RAISED:
            raise getattr(actorsys, value[0])(value[1])
        return topic, value, dropped


@actorsys.context
async def listen(ctx: actorsys.Context, pattern: str, options: dict[str, Any]) -> None:
    """Read an item whenever one comes, and send it on."""
    async with Topic(pattern).subscribe(**options) as subscription:
        await ctx.started()
        asked = trio.Semaphore(0)
        async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
            tasks.start_soon(_send_on, subscription, asked, stream)
            async for _ in stream:
                asked.release()
            tasks.cancel_scope.cancel()


async def _send_on(
    subscription: TopicSubscription, asked: trio.Semaphore, stream: actorsys.MsgStream
) -> None:
    while True:
        await asked.acquire()
        try:
            topic, value = await subscription.receive()
        except actorsys.ActorsysError as error:
            topic, value = _RAISED, [type(error).__name__, str(error)]
        await stream.send([topic, value, subscription.dropped])


@asynccontextmanager
async def open_reader(where: Where, pattern: str, **options: Any) -> AsyncIterator[Reader]:
    """Open a subscription in an actor."""
    if where is None:
        async with Topic(pattern).subscribe(**options) as subscription:
            yield _ReaderHere(subscription)
    else:
        async with where.open_context(listen, pattern, options) as (ctx, _):
            async with ctx.open_stream() as stream:
                yield _ReaderThere(stream)


# --- trees ------------------------------------------------------------------------------------


@asynccontextmanager
async def open_actors(*names: str, **options: Any) -> AsyncIterator[list[actorsys.Portal]]:
    """Open a nursery with an actor of each name; stop them when the block ends."""
    async with actorsys.open_nursery(**options) as nursery:
        yield [await nursery.start_actor(name, modules=MODULES) for name in names]
        await nursery.cancel()


@actorsys.context
async def keep_child(ctx: actorsys.Context, name: str) -> None:
    """Have a child until the caller leaves."""
    async with open_actors(name):
        await ctx.started()
        async with ctx.open_stream() as stream:
            async for _ in stream:
                pass


@asynccontextmanager
async def open_family() -> AsyncIterator[dict[str, Where]]:
    """Open a tree of three generations."""
    async with open_actors("child", "sibling") as (child, sibling):
        async with child.open_context(keep_child, "grandchild"):
            async with find_actor("grandchild") as grandchild:
                yield {"root": None, "child": child, "sibling": sibling, "grandchild": grandchild}
