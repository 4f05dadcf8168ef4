"""Actors change their routes under load: nothing is lost, doubled or out of order."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from routing_helpers import Channel, Receiver, ask, dispatch_all, reasons_of
from trio.testing import wait_all_tasks_blocked

from actorsys import NotRouted, RoutedMessage, RouterDispatcher
from actorsys.testing.steps import cancel_at_every_step

ACTORS = [f"actor-{n}" for n in range(20)]


def in_steps(kind: type[Receiver]) -> type[Receiver]:
    """Return the same kind of route, but each message takes it a few steps."""

    class Stepping(kind):  # type: ignore[misc, valid-type]
        async def __call__(self, message: RoutedMessage) -> str:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            return await super().__call__(message)  # type: ignore[no-any-return]

    return Stepping


class Slow(Receiver):
    """A route that takes a little while for each message, another one each time."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def __call__(self, message: RoutedMessage) -> str:
        await trio.sleep(self._chance.random() / 1000)
        return await super().__call__(message)


@pytest.fixture
def chance() -> random.Random:
    seed = random.randrange(2**32)
    print("seed", seed)
    return random.Random(seed)


def spread(routes: list[str]) -> dict[object, str]:
    """Return a route for each actor, in turn."""
    return {actor: routes[n % len(routes)] for n, actor in enumerate(ACTORS)}


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4)])
async def test_scaling_under_load_loses_and_doubles_nothing_and_keeps_order(
    dispatcher: RouterDispatcher, chance: random.Random, before: int, after: int
) -> None:
    everything: list[tuple[object, int]] = []

    class Noting(Slow):
        async def __call__(self, message: RoutedMessage) -> str:
            answer = await super().__call__(message)
            everything.append((message.actor_id, message.payload))
            return answer

    def add_routes(count: int) -> list[str]:
        names = [f"{count}-{n}" for n in range(count)]
        for name in names:
            dispatcher.add_route(name, Noting(chance))
        return names

    old = add_routes(before)
    for actor, name in spread(old).items():
        dispatcher.assign(actor, name)
    for n in range(10_000):
        dispatcher.dispatch_nowait(ask(ACTORS[n % 20], n, deadline=1000))
        if n == 5000:
            await trio.sleep(0.1)
            new = add_routes(after)
            async with dispatcher.open_migration(spread(new)):
                assert dispatcher.statistics().in_flight == 0
            for name in old:
                dispatcher.remove_route(name)
    await dispatcher.aclose(grace=1000)
    assert Counter(everything) == Counter((ACTORS[n % 20], n) for n in range(10_000))
    for actor in ACTORS:
        of_actor = [n for to, n in everything if to == actor]
        assert of_actor == sorted(of_actor)


async def test_assigned_actors_never_look_unassigned(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    dispatcher.add_route("b", Receiver())
    for actor in ACTORS:
        dispatcher.assign(actor, "a")
    async with dispatcher.open_migration(dict.fromkeys(ACTORS, "b")):
        assert dispatcher.routes == {"a": ACTORS, "b": []}
    assert dispatcher.routes == {"a": [], "b": ACTORS}


async def test_a_migration_that_fails_leaves_everything_as_it_was(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Receiver(), Receiver()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    with pytest.raises(OSError, match="the server says no"):
        async with dispatcher.open_migration({"one": "b"}):
            await dispatch_all(dispatcher, "one", [1, 2])
            assert a.payloads == []
            raise OSError("the server says no")
    await dispatch_all(dispatcher, "one", [3])
    assert (a.payloads, b.payloads) == ([1, 2, 3], [])


async def test_a_migration_to_a_missing_route_changes_nothing(
    dispatcher: RouterDispatcher,
) -> None:
    dispatcher.add_route("a", Receiver())
    dispatcher.assign("one", "a")
    with pytest.raises(NotRouted, match="'b' is missing"):
        await dispatcher.move(["one", "two"], "b")
    assert dispatcher.routes == {"a": ["one"]}


async def test_a_route_that_goes_during_the_migration_undoes_it(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Receiver(), Receiver()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    for actor in ("one", "two"):
        dispatcher.assign(actor, "a")
    with pytest.raises(NotRouted, match="'b' is missing"):
        async with dispatcher.open_migration({"one": "a", "two": "b"}):
            dispatcher.remove_route("b")
    assert dispatcher.routes == {"a": ["one", "two"]}


async def test_a_move_waits_for_a_send_that_cannot_be_taken_back(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Receiver(), Receiver()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    async with trio.open_nursery() as tasks:
        tasks.start_soon(dispatcher.move, ["one"], "b")
        await wait_all_tasks_blocked()
        assert dispatcher.routes == {"a": ["one"], "b": []}
        a.open()
    await wait_all_tasks_blocked()
    assert (a.payloads, b.payloads) == ([1], [2])


async def test_a_move_from_a_full_channel_takes_the_message_along(
    dispatcher: RouterDispatcher,
) -> None:
    a, b = Channel(), Receiver()
    a.shut()
    dispatcher.add_route("a", a)
    dispatcher.add_route("b", b)
    dispatcher.assign("one", "a")
    dispatcher.assign("two", "a")
    await dispatch_all(dispatcher, "one", [1, 2])
    await dispatch_all(dispatcher, "two", [3])
    await dispatcher.move(["one"], "b")
    a.open()
    await wait_all_tasks_blocked()
    assert (a.payloads, b.payloads) == ([3], [1, 2])


async def test_one_actor_is_in_one_migration_at_a_time(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    async with dispatcher.open_migration({"one": "a"}):
        with pytest.raises(trio.BusyResourceError, match="moved already"):
            await dispatcher.move(["two", "one"], "a")
    await dispatcher.move(["two", "one"], "a")
    assert dispatcher.routes == {"a": ["one", "two"]}


async def test_an_actor_that_is_removed_while_it_is_moved_stays_removed(
    dispatcher: RouterDispatcher,
) -> None:
    dispatcher.add_route("a", Receiver())
    async with dispatcher.open_migration({"one": "a"}):
        await dispatch_all(dispatcher, "one", [1])
        dispatcher.remove("one")
    assert reasons_of(dispatcher) == [(1, "actor_removed")]
    assert dispatcher.routes == {"a": []}


@pytest.mark.parametrize("kind", [Receiver, Channel])
async def test_a_move_cancelled_at_any_moment_has_happened_or_not(
    dispatcher: RouterDispatcher, kind: type[Receiver]
) -> None:
    receivers = {"a": in_steps(kind)(), "b": in_steps(kind)()}
    for name, receiver in receivers.items():
        dispatcher.add_route(name, receiver)
    dispatcher.assign("one", "a")
    sent = 0

    async def operation() -> None:
        nonlocal sent
        for name in ("b", "a"):
            for _ in range(3):
                sent += 1
                await dispatcher.dispatch(ask("one", sent))
            await trio.lowlevel.checkpoint()
            await dispatcher.move(["one"], name)

    async def check() -> None:
        await wait_all_tasks_blocked()
        counts = dispatcher.statistics()
        assert counts.accepted == counts.delivered
        for receiver in receivers.values():
            assert receiver.payloads == sorted(set(receiver.payloads))
        assert sum(len(r.payloads) for r in receivers.values()) == counts.delivered
        dispatcher.assign("one", "a")

    assert await cancel_at_every_step(operation, check) >= 1
