"""What makes no sense is refused at once, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from routing_helpers import Receiver, ask, dispatch_all

from actorsys import NotRouted, Protocol, RouterDispatcher, open_dispatcher


@pytest.mark.parametrize("name", [None, 5, ""], ids=repr)
async def test_a_route_has_a_name(dispatcher: RouterDispatcher, name: Any) -> None:
    for use in (
        lambda: dispatcher.add_route(name, Receiver()),
        lambda: dispatcher.remove_route(name),
        lambda: dispatcher.assign("one", name),
    ):
        with pytest.raises(TypeError, match="the name of a route is a str"):
            use()
    with pytest.raises(TypeError, match="the name of a route is a str"):
        async with dispatcher.open_migration({"one": name}):
            pass
    assert dispatcher.routes == {}


@pytest.mark.parametrize("targets", [None, ["one"], "one"], ids=repr)
async def test_a_migration_maps_actors_to_routes(
    dispatcher: RouterDispatcher, targets: Any
) -> None:
    with pytest.raises(TypeError, match="a mapping of actor ids to names of routes"):
        async with dispatcher.open_migration(targets):
            pass


async def test_one_actor_alone_is_not_moved_letter_by_letter(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    with pytest.raises(TypeError, match=r"\['one'\]"):
        await dispatcher.move("one", "a")
    assert dispatcher.routes == {"a": []}


async def test_an_actor_id_is_hashable(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    dispatcher.assign("one", "a")
    for use in (
        lambda: dispatcher.dispatch_nowait(ask([])),
        lambda: dispatcher.assign([], "a"),  # type: ignore[arg-type]
        lambda: dispatcher.unassign([]),  # type: ignore[arg-type]
        lambda: dispatcher.remove([]),  # type: ignore[arg-type]
        lambda: dispatcher.rename([], "two"),  # type: ignore[arg-type]
        lambda: dispatcher.rename("one", []),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=r"an actor id is hashable, not \[\]"):
            use()
    with pytest.raises(TypeError, match=r"an actor id is hashable, not \[\]"):
        await dispatcher.move([[]], "a")  # type: ignore[list-item]
    assert dispatcher.routes == {"a": ["one"]}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"deadlines": 5}, "deadlines is a mapping"),
        ({"limits": 5}, "limits is a RoutingLimits"),
        ({"limits": None}, "limits is a RoutingLimits"),
        ({"control": Protocol.SHUTDOWN}, "control is a collection"),
        ({"control": 5}, "control is a collection"),
        ({"control": "x"}, "control is a collection"),
        ({"is_transient": None}, "is_transient is a function"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_options_say_what_they_should_be(options: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        async with open_dispatcher(**options):
            pass


@pytest.mark.parametrize(
    ("grace", "kind"),
    [("x", TypeError), (-1, ValueError), (math.nan, ValueError)],
    ids=["text", "negative", "nan"],
)
async def test_a_grace_that_is_none_closes_nothing(
    dispatcher: RouterDispatcher, grace: Any, kind: type[Exception]
) -> None:
    a = Receiver()
    with pytest.raises(kind, match="grace"):
        await dispatcher.aclose(grace)
    dispatcher.add_route("a", a)
    dispatcher.assign("one", "a")
    await dispatch_all(dispatcher, "one", [1])
    assert a.payloads == [1]


async def test_migrations_that_fail_leave_nothing_behind(dispatcher: RouterDispatcher) -> None:
    dispatcher.add_route("a", Receiver())
    async with dispatcher.open_migration({"one": "a"}):
        for n in range(10):
            with pytest.raises(trio.BusyResourceError):
                await dispatcher.move([n, "one"], "a")
            with pytest.raises(NotRouted):
                await dispatcher.move([n], "missing")
    assert "<RouteTable: 1 actors," in repr(dispatcher)
