"""What the actors of the tests of discovery run, and how these tests make their trees."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import trio

import actorsys
from actorsys import Buffer, OneForOne, find_actor, wait_for_actor
from actorsys.actor.directory import ask
from actorsys.actor.introductions import Invitation, open_direct_link
from actorsys.actor.introductions import _visit as visit
from actorsys.actor.registry import TreeRegistry
from actorsys.errors import Uid
from actorsys.testing import Simulation

MODULES = [__name__]
LATE_SECONDS = 100.0
"""Longer than anything in a simulated tree takes by itself."""


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Have *test* run as the root of the simulated tree that is its first argument."""

    @functools.wraps(test)
    def run(sim: Simulation, **arguments: Any) -> None:
        sim.run(functools.partial(test, sim, **arguments))

    return run


@asynccontextmanager
async def open_actors(*names: str, **options: Any) -> AsyncIterator[list[actorsys.Portal]]:
    """Open a nursery with an actor of each name; stop them when the block ends."""
    async with actorsys.open_nursery(**options) as nursery:
        yield [await nursery.start_actor(name, modules=MODULES) for name in names]
        await nursery.cancel()


async def never_mind(
    error: type[BaseException], portal: actorsys.Portal, what: str, *args: Any
) -> None:
    """Run a function of this module that ends with nothing but *error*."""
    with pytest.raises(error):
        await portal.run(f"{__name__}:{what}", *args)


async def settle() -> None:
    """Let so much simulated time pass that whatever is to happen has happened."""
    await trio.sleep(30)


def calls_in_flight() -> int:
    """Return how many calls this actor has made, or runs, right now."""
    return sum(link.calls_in_flight for link in actorsys.current_actor().statistics().links)


def waiting_at_root() -> int:
    """Return how many wait for an actor that is to come; the root asks."""
    registry = actorsys.current_actor().directory.registry
    assert isinstance(registry, TreeRegistry)
    return sum(map(len, registry._arrivals.values()))


# --- who and where ----------------------------------------------------------------------------


async def own_uid() -> Uid:
    return actorsys.current_actor().uid


async def links_to() -> list[str]:
    """Return the names of those that this actor has links to."""
    return sorted(link.session.peer_uid[0] for link in actorsys.current_actor().channels)


async def break_link_to(name: str) -> None:
    """Have the links to an actor end, as if the network had cut them."""
    for link in actorsys.current_actor().channels:
        if link.session.peer_uid[0] == name:
            link.outbox.fail(actorsys.ChannelBroken("cut by a test"))


async def break_all_direct_links() -> None:
    """Have all links end but those to the family."""
    actor = actorsys.current_actor()
    for link in actor.channels:
        if link.session.peer_uid != actor.parent_uid:
            link.outbox.fail(actorsys.ChannelBroken("cut by a test"))


async def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def open_links_by_hand(uid: Uid, count: int) -> int:
    """Open links to an actor, past the one that is shared; return how many it has let in."""
    actor = actorsys.current_actor()
    opened = 0
    for _ in range(count):
        try:
            channel = await open_direct_link(actor, uid)
        except actorsys.LimitExceeded:
            break
        assert channel is not None
        opened += 1
    return opened


async def expected_guests() -> int:
    return len(actorsys.current_actor().reception._expected)


async def waiting_tasks() -> int:
    """Return how many tasks the services of this actor have."""
    return len(actorsys.current_actor().services.child_tasks)


# --- finding ----------------------------------------------------------------------------------


async def call_found(name: str) -> Uid | None:
    """Find an actor, and have it say who it is."""
    async with find_actor(name) as portal:
        return None if portal is None else await portal.run(own_uid)


async def compare_found(name: str) -> bool:
    """Find an actor; tell whether it is the one that its portal says."""
    async with find_actor(name) as portal:
        return portal is None or portal.uid == await portal.run(own_uid)


async def compare_awaited(name: str) -> bool:
    with trio.move_on_after(1):
        async with wait_for_actor(name) as portal:
            return portal.uid == await portal.run(own_uid)
    return True


async def compare_all() -> bool:
    """Call every actor there is; tell whether each is the one that its portal says."""
    for portal in await actorsys.actors():
        with contextlib.suppress(actorsys.ActorUnavailable, actorsys.ContextCancelled):
            if portal.uid != await portal.run(own_uid):
                return False
    return True


async def call_awaited(name: str) -> Uid:
    async with wait_for_actor(name) as portal:
        uid: Uid = await portal.run(own_uid)
        return uid


async def find_often(name: str, times: int) -> set[Uid | None]:
    return {await call_found(name) for _ in range(times)}


async def find_at_once(name: str, times: int) -> set[Uid | None]:
    found: set[Uid | None] = set()

    async def find() -> None:
        found.add(await call_found(name))

    async with trio.open_nursery() as tasks:
        for _ in range(times):
            tasks.start_soon(find)
    return found


async def list_all() -> list[Uid]:
    return [portal.uid for portal in await actorsys.actors()]


async def call_all() -> list[Uid]:
    return [await portal.run(own_uid) for portal in await actorsys.actors()]


async def run_found(name: str, what: str, *args: Any) -> Any:
    """Run a function of this module in an actor that is found."""
    async with find_actor(name) as portal:
        assert portal is not None
        return await portal.run(f"{__name__}:{what}", *args)


async def run_found_within(seconds: float, name: str, what: str) -> str:
    with trio.move_on_after(seconds):
        await run_found(name, what)
        return "it came to an end"
    return "too late"


async def read_found(name: str, stop: int) -> list[int]:
    async with find_actor(name) as portal:
        assert portal is not None
        async with portal.open_stream_from(count, stop) as items:
            return [item async for item in items]


async def talk_to_found(name: str, words: list[Any]) -> list[Any]:
    async with find_actor(name) as portal:
        assert portal is not None
        async with portal.open_context(parrot) as (ctx, first):
            said = [first]
            async with ctx.open_stream() as stream:
                for word in words:
                    await stream.send(word)
                    said.append(await stream.receive())
            return [*said, await ctx.result()]


async def describe_failure(name: str, what: str) -> dict[str, Any]:
    """Run a function in an actor that is found; return what its failure says."""
    try:
        await run_found(name, what)
    except actorsys.ActorsysError as error:
        return {"type": type(error).__name__, "text": str(error), **vars(error)}
    return {}


async def outcome_of(what: str, *args: Any) -> str:
    """Run a function of this module here; return the name of what it raises."""
    try:
        await globals()[what](*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


async def stop_found(name: str) -> None:
    async with find_actor(name) as portal:
        assert portal is not None
        await portal.cancel_actor()


async def result_of_found(name: str) -> None:
    async with find_actor(name) as portal:
        assert portal is not None
        await portal.result()


@actorsys.context
async def watch_found(ctx: actorsys.Context, name: str) -> list[Any]:
    """Monitor an actor that is found; return everything that is told until there is no more."""
    async with find_actor(name) as portal:
        assert portal is not None
        async with actorsys.monitor(portal) as events:
            await ctx.started(portal.uid)
            return [(down.uid, type(down.reason).__name__) async for down in events]


@actorsys.context
async def watch_listed(ctx: actorsys.Context, name: str) -> list[Any]:
    """Monitor an actor of the list, which was never called; return everything that is told."""
    (portal,) = [portal for portal in await actorsys.actors() if portal.name == name]
    async with actorsys.monitor(portal) as events:
        await ctx.started(portal.uid)
        return [(down.uid, type(down.reason).__name__) async for down in events]


@actorsys.context
async def hold_found(ctx: actorsys.Context, name: str) -> list[Any]:
    """Find an actor; once its caller has said so, call it again and return what becomes of it."""
    async with find_actor(name) as portal:
        assert portal is not None
        await ctx.started(portal.uid)
        async with ctx.open_stream() as stream:
            await stream.receive()
        try:
            return [await portal.run(own_uid), portal.is_alive]
        except actorsys.ActorUnavailable as error:
            return [type(error).__name__, error.may_have_run]


# --- being found ------------------------------------------------------------------------------

_hanging: Counter[Uid] = Counter()
"""Calls of `hang`, by actor: all simulated actors share their module."""


async def count(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


@actorsys.context
async def parrot(ctx: actorsys.Context) -> str:
    await ctx.started("hello")
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return "bye"


async def hang() -> None:
    _hanging[await own_uid()] += 1
    try:
        await trio.sleep_forever()
    finally:
        _hanging[await own_uid()] -= 1


async def hanging() -> int:
    return _hanging[await own_uid()]


async def clean_up_slowly() -> None:
    """Hang; take a second to end."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)


async def fail() -> None:
    raise ValueError("it failed over there")


async def total(value: Any) -> float:
    array = value.array() if isinstance(value, Buffer) else value
    return float(array.sum())


async def total_by_found(name: str) -> list[float]:
    """Give another actor a buffer and an array, both large; return what it makes of them."""
    async with find_actor(name) as portal, actorsys.open_buffer(100_000, "f8") as buffer:
        assert portal is not None
        buffer.array()[:] = 1
        return [await portal.run(total, buffer), await portal.run(total, np.full(100_000, 2.0))]


# --- further down -----------------------------------------------------------------------------


@actorsys.context
async def keep_children(ctx: actorsys.Context, *names: str) -> None:
    """Start children of those names and keep them until the caller leaves."""
    async with open_actors(*names, strategy=OneForOne()) as portals:
        await ctx.started([(portal.uid, portal.pid) for portal in portals])
        async with ctx.open_stream() as stream:
            async for _ in stream:
                pass


@asynccontextmanager
async def children_of(portal: actorsys.Portal, *names: str) -> AsyncIterator[list[tuple[Uid, int]]]:
    """Have an actor start children; yield the uid and the pid of each."""
    async with portal.open_context(keep_children, *names) as (_, children):
        yield children


# --- being taken over -------------------------------------------------------------------------


async def tell_parent(what: str, kwargs: dict[str, Any]) -> None:
    """Tell the runtime of the parent whatever an attacker likes."""
    parent = actorsys.current_actor().directory.parent
    assert parent is not None
    parent.send_runtime_call(what, kwargs)


async def tell_parent_and_hang(what: str, kwargs: dict[str, Any]) -> None:
    await tell_parent(what, kwargs)
    await trio.sleep_forever()


async def ask_parent(what: str, kwargs: dict[str, Any]) -> Any:
    parent = actorsys.current_actor().directory.parent
    assert parent is not None
    return await ask(parent, what, **kwargs)


async def ask_parent_often(what: str, kwargs: dict[str, Any], times: int) -> list[Any]:
    return [await ask_parent(what, kwargs) for _ in range(times)]


async def tell_parent_of_many(count: int) -> None:
    """Register that many actors below this one, none of which there is."""
    uid = actorsys.current_actor().uid
    for number in range(count):
        await tell_parent("register", {"path": [["ghost", f"{uid[1]}-{number}"]], "pid": 1})


async def connect_with(address: str, target: Uid, key: bytes) -> str:
    """Connect to a door as this actor; return what becomes of it."""
    actor = actorsys.current_actor()
    try:
        channel = await visit(actor, target, Invitation(address, key))
    except actorsys.HandshakeError as error:
        return type(error).__name__
    channel.outbox.close()
    return "let in"


async def answer_with(address: Any) -> None:
    """Tell whoever is introduced that this actor is to be found at *address*."""

    async def lie() -> Any:
        return address

    setattr(actorsys.current_actor().reception, "address", lie)  # noqa: B010


async def never_answer() -> None:
    setattr(actorsys.current_actor().reception, "address", trio.sleep_forever)  # noqa: B010


async def call_link_by_hand(name: str, what: str, kwargs: dict[str, Any]) -> Any:
    """Call the runtime of an actor that is found."""
    async with find_actor(name) as portal:
        assert portal is not None
        return await ask(await portal.peer.channel(), what, **kwargs)
