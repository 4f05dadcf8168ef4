"""A child that was taken over: what it can make others believe, and whom it can pose as.

It speaks the protocol by hand, over the link that it has to its parent. It may lose that link, and
what it asks may fail. Nobody else is found where he is not, and nobody is let in as somebody else.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discovery_functions as remote
import pytest
import trio
from discovery_functions import MODULES, children_of, open_actors, settle, simulated

import actorsys
from actorsys import Limits, OneForOne, open_endpoint, open_link
from actorsys.actor.directory import ask
from actorsys.actor.introductions import Invitation
from actorsys.actor.introductions import _visit as visit
from actorsys.actor.runtime import open_runtime
from actorsys.errors import Uid
from actorsys.spawn import LocalHost
from actorsys.testing import Simulation

KEY = b"k" * 32
LOOPBACK = "tcp:127.0.0.1:0"
GHOST = ["ghost", "0" * 16]
RUNTIME_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("look_up", {"name": "bob"}),
    ("await_actor", {"name": "bob", "ignored": []}),
    ("list_actors", {}),
    ("introduce", {"target": GHOST, "below": []}),
    ("admit", {"path": [], "guest": GHOST, "key": KEY}),
]


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: few are real, and look for it."""


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    return Simulation(seed)


@asynccontextmanager
async def open_eve(**options: Any) -> AsyncIterator[tuple[actorsys.Portal, actorsys.Portal]]:
    """Open a tree with Eve, who was taken over, and Bob, who has to be well afterwards."""
    async with open_actors("eve", "bob", "ann", strategy=OneForOne(), **options) as (eve, bob, ann):
        yield eve, bob
        await settle()
        assert await ann.run(remote.call_found, "bob") == bob.uid
        names = [uid[0] for uid in await ann.run(remote.list_all)]
        assert [name for name in names if name != "ghost"][-2:] == ["bob", "ann"]


def packed(uid: Uid) -> list[str]:
    return list(uid)


# --- news ---------------------------------------------------------------------------------------


@simulated
async def test_nobody_is_where_another_says_that_he_is(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        before = await remote.list_all()
        await eve.run(remote.tell_parent, "register", {"path": [packed(bob.uid)], "pid": 1})
        assert await remote.list_all() == before
        assert eve.is_alive


@simulated
async def test_nobody_vanishes_because_another_says_so(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        before = await remote.list_all()
        own, of_bob = packed(eve.uid), packed(bob.uid)
        for path in ([of_bob], [own], [own, of_bob]):
            await eve.run(remote.tell_parent, "unregister", {"path": path})
        await settle()
        assert await remote.list_all() == before


@simulated
async def test_nobody_is_below_whom_nobody_knows(sim: Simulation) -> None:
    async with open_eve() as (eve, _):
        before = await remote.list_all()
        below = {"path": [["nobody", "1"], GHOST], "pid": 1}
        await eve.run(remote.tell_parent, "register", below)
        assert await remote.list_all() == before


@simulated
async def test_a_name_that_nobody_bears_is_not_found(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        await eve.run(remote.tell_parent, "register", {"path": [GHOST], "pid": 1})
        assert tuple(GHOST) in await remote.list_all()
        assert await bob.run(remote.call_found, "ghost") is None
        with trio.move_on_after(10) as scope:
            await bob.run(remote.call_awaited, "ghost")
        assert scope.cancelled_caught


@pytest.mark.parametrize(
    "path",
    [
        None,
        5,
        "path",
        [],
        {},
        [5],
        [["one"]],
        [["a", "b", "c"]],
        [["a", 1]],
        [["a\n", "b"]],
        [["a", "b\x1b"]],
        [["x" * 65, "1"]],
        [["a", "x" * 65]],
        [["a", "1"]] * 65,
        [["a", "1"]] * 100_000,
    ],
    ids=lambda path: repr(path)[:20],
)
@pytest.mark.parametrize("what", ["register", "unregister"])
@simulated
async def test_news_that_make_no_sense_end_the_link(sim: Simulation, what: str, path: Any) -> None:
    async with open_eve() as (eve, _):
        kwargs = {"path": path, "pid": 1} if what == "register" else {"path": path}
        await remote.never_mind(actorsys.ActorDied, eve, "tell_parent_and_hang", what, kwargs)
        await settle()
        assert not eve.is_alive


@pytest.mark.parametrize("pid", [None, "1", 0, -1, 1.5, True, 2**31, 2**70, b"1"], ids=repr)
@simulated
async def test_an_actor_that_is_no_process_ends_the_link(sim: Simulation, pid: Any) -> None:
    async with open_eve() as (eve, _):
        news = {"path": [GHOST], "pid": pid}
        await remote.never_mind(actorsys.ActorDied, eve, "tell_parent_and_hang", "register", news)
        assert not eve.is_alive


@simulated
async def test_the_root_is_below_nobody(sim: Simulation) -> None:
    async with open_eve() as (eve, _):
        news = {"path": [packed(actorsys.current_actor().uid)], "pid": 1}
        await remote.never_mind(actorsys.ActorDied, eve, "tell_parent_and_hang", "register", news)
        assert not eve.is_alive


@simulated
async def test_a_grandchild_that_makes_no_sense_ends_its_own_link_only(sim: Simulation) -> None:
    async with open_eve() as (parent, _):
        async with parent.open_context(remote.keep_children, "below", "beside") as (_, children):
            async with actorsys.find_actor("below") as below:
                assert below is not None
                news = {"path": "nonsense", "pid": 1}
                await below.run(remote.tell_parent, "register", news)
            await settle()
            assert await remote.call_found("below") is None
            assert await remote.call_found("beside") == children[1][0]


def test_a_flood_of_names_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_actors("eve", "bob", strategy=OneForOne()) as (eve, bob):
            with caplog.at_level(logging.INFO, "actorsys.registry"):
                await eve.run(remote.tell_parent_of_many, 500)
            assert len(await bob.run(remote.list_all)) == 50
            assert await bob.run(remote.call_found, "bob") == bob.uid
            sim.kill(eve)
            await settle()
            assert await remote.list_all() == [bob.uid]

    sim = Simulation(1, limits=Limits(max_registered_actors=50))
    sim.run(main)
    (record,) = [record for record in caplog.records if record.name == "actorsys.registry"]
    assert "max_registered_actors" in record.getMessage()
    assert "eve" in record.getMessage()


# --- questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", 5, None, b"bob", ["bob"], "x" * 65, "x" * 10**6, "\n"], ids=lambda n: repr(n)[:20]
)
@pytest.mark.parametrize("what", ["look_up", "await_actor"])
@simulated
async def test_what_is_no_name_is_not_looked_for(sim: Simulation, what: str, name: Any) -> None:
    async with open_eve() as (eve, _):
        kwargs = {"name": name} if what == "look_up" else {"name": name, "ignored": []}
        with pytest.raises(ValueError, match="name"):
            await eve.run(remote.ask_parent, what, kwargs)


@pytest.mark.parametrize(
    ("what", "kwargs"),
    [
        ("look_up", {}),
        ("look_up", {"name": "bob", "more": 1}),
        ("look_up", {"name": "bob", "actor": 1}),
        ("look_up", {"name": "bob", "channel": 1}),
        ("await_actor", {"name": "bob"}),
        ("await_actor", {"name": "bob", "ignored": 5}),
        ("await_actor", {"name": "bob", "ignored": [["bob"]]}),
        ("list_actors", {"all": True}),
        ("introduce", {"target": GHOST}),
        ("introduce", {"target": "bob", "below": []}),
        ("introduce", {"target": GHOST, "below": 5}),
        ("introduce", {"target": GHOST, "below": [GHOST] * 65}),
    ],
    ids=str,
)
@simulated
async def test_a_question_that_makes_no_sense_fails_alone(
    sim: Simulation, what: str, kwargs: dict[str, Any]
) -> None:
    async with open_eve() as (eve, _):
        with pytest.raises((TypeError, actorsys.RemoteProtocolError)):
            await eve.run(remote.ask_parent, what, kwargs)
        assert eve.is_alive


def test_nobody_waits_for_more_than_a_link_may_ask() -> None:
    async def main() -> None:
        async with open_eve() as (eve, _), trio.open_nursery() as tasks:
            kwargs = {"name": "nobody", "ignored": []}
            for _ in range(20):
                tasks.start_soon(eve.run, remote.outcome_of, "ask_parent", "await_actor", kwargs)
            await settle()
            assert 0 < remote.waiting_at_root() <= 20
            tasks.cancel_scope.cancel()
            await settle()
        assert remote.waiting_at_root() == 0

    Simulation(1, limits=Limits(max_calls_per_link=30)).run(main)


@simulated
async def test_a_parent_is_asked_to_admit_nobody(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        for path in ([], [packed(bob.uid)]):
            kwargs = {"path": path, "guest": packed(eve.uid), "key": KEY}
            with pytest.raises(actorsys.NotExposed):
                await eve.run(remote.ask_parent, "admit", kwargs)


@pytest.mark.parametrize(("what", "kwargs"), RUNTIME_CALLS, ids=lambda value: str(value)[:12])
@simulated
async def test_a_sibling_is_asked_for_nothing(
    sim: Simulation, what: str, kwargs: dict[str, Any]
) -> None:
    async with open_eve() as (eve, _):
        with pytest.raises(actorsys.NotExposed):
            await eve.run(remote.call_link_by_hand, "bob", what, kwargs)


@simulated
async def test_a_sibling_is_told_no_news(sim: Simulation) -> None:
    async with open_eve() as (eve, _):
        before = await remote.list_all()
        for what in ("register", "unregister"):
            with pytest.raises(actorsys.NotExposed):
                kwargs = {"path": [GHOST], "pid": 1}
                await eve.run(remote.call_link_by_hand, "bob", what, kwargs)
        assert await remote.list_all() == before


async def test_another_tree_is_asked_for_nothing(leak_check: None) -> None:
    async with actorsys.open_nursery():
        async with open_endpoint(LOOPBACK, modules=MODULES, allow={"ann": KEY}) as door:
            async with open_link(door.address, key=KEY, name="ann") as portal:
                channel = await portal.peer.channel()
                news = [(what, {"path": [GHOST], "pid": 1}) for what in ("register", "unregister")]
                for what, kwargs in [*RUNTIME_CALLS, *news]:
                    with pytest.raises(actorsys.NotExposed):
                        await ask(channel, what, **kwargs)


# --- introductions ------------------------------------------------------------------------------


@simulated
async def test_nobody_is_introduced_as_another(sim: Simulation) -> None:
    async with open_eve() as (eve, bob), open_actors("carl") as (carl,):
        for uid in (carl.uid, bob.uid, actorsys.current_actor().uid, tuple(GHOST)):
            kwargs = {"target": packed(bob.uid), "below": [packed(uid)]}
            with pytest.raises(actorsys.NotExposed, match="not known"):
                await eve.run(remote.ask_parent, "introduce", kwargs)
        assert await bob.run(remote.expected_guests) == 0


@simulated
async def test_a_name_that_was_taken_first_is_still_not_another(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        await eve.run(remote.tell_parent, "register", {"path": [packed(bob.uid)], "pid": 1})
        kwargs = {"target": packed(bob.uid), "below": [packed(bob.uid)]}
        with pytest.raises(actorsys.NotExposed):
            await eve.run(remote.ask_parent, "introduce", kwargs)


@simulated
async def test_who_has_a_wrong_key_is_turned_away(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        kwargs = {"target": packed(bob.uid), "below": []}
        address, key = await eve.run(remote.ask_parent, "introduce", kwargs)
        for wrong in (bytes(32), key[::-1]):
            outcome = await eve.run(remote.connect_with, address, bob.uid, wrong)
            assert outcome == "AuthenticationFailed"
        assert await bob.run(remote.links_to) == ["root"]


@simulated
async def test_a_key_is_good_for_one_link(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        kwargs = {"target": packed(bob.uid), "below": []}
        address, key = await eve.run(remote.ask_parent, "introduce", kwargs)
        assert await eve.run(remote.connect_with, address, bob.uid, key) == "let in"
        assert await eve.run(remote.connect_with, address, bob.uid, key) == "AuthenticationFailed"


@simulated
async def test_a_key_is_good_for_a_while_only(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        kwargs = {"target": packed(bob.uid), "below": []}
        address, key = await eve.run(remote.ask_parent, "introduce", kwargs)
        await settle()
        assert await eve.run(remote.connect_with, address, bob.uid, key) == "AuthenticationFailed"


@simulated
async def test_of_hundreds_of_introductions_the_last_one_is_open(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        idle = await bob.run(remote.waiting_tasks)
        kwargs = {"target": packed(bob.uid), "below": []}
        invitations = await eve.run(remote.ask_parent_often, "introduce", kwargs, 300)
        assert await bob.run(remote.expected_guests) == 1
        assert await bob.run(remote.waiting_tasks) <= idle + 3
        address, key = invitations[0]
        assert await eve.run(remote.connect_with, address, bob.uid, key) == "AuthenticationFailed"
        address, key = invitations[-1]
        assert await eve.run(remote.connect_with, address, bob.uid, key) == "let in"
        await settle()
        assert await bob.run(remote.expected_guests) == 0


@pytest.mark.parametrize(
    "address",
    [5, b"tcp:127.0.0.1:1", ["a"], {}, 1.5, "x" * 257],
    ids=lambda address: repr(address)[:20],
)
@simulated
async def test_who_gives_no_address_is_not_found(sim: Simulation, address: Any) -> None:
    async with open_eve() as (eve, bob):
        await eve.run(remote.answer_with, address)
        assert await bob.run(remote.call_found, "eve") is None


@simulated
async def test_who_gives_the_address_of_another_cannot_be_reached(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        kwargs = {"target": packed(bob.uid), "below": []}
        address, _ = await eve.run(remote.ask_parent, "introduce", kwargs)
        for lie in (address, "memory:0", ""):
            await eve.run(remote.answer_with, lie)
            with pytest.raises(actorsys.ActorUnavailable, match="cannot be reached"):
                await bob.run(remote.call_found, "eve")


@simulated
async def test_who_does_not_answer_holds_up_only_who_asks_for_him(sim: Simulation) -> None:
    async with open_eve() as (eve, bob):
        await eve.run(remote.never_answer)
        before = remote.calls_in_flight()
        with trio.move_on_after(10) as scope:
            await bob.run(remote.call_found, "eve")
        assert scope.cancelled_caught
        await settle()
        assert remote.calls_in_flight() == before


BAD_ADDRESSES = [
    "",
    ":",
    "tcp",
    "tcp:",
    "tcp:127.0.0.1",
    "tcp:127.0.0.1:x",
    "tcp:127.0.0.1:-1",
    "tcp:127.0.0.1:99999999",
    "tcp:\0:1",
    "tls:127.0.0.1:1",
    "unix:",
    "unix:/nowhere",
    "unix:\0",
    "unix:" + "x" * 200,
    "http://localhost",
    "tcp:[::1",
    "tcp:" + "x" * 200 + ":1",
    "tcp:192.0.2.1:80",
]


async def test_whatever_stands_in_for_an_address_is_an_error_that_is_expected() -> None:
    async with open_runtime(("ann", "1"), None, Limits(), LocalHost(), "tcp") as actor:
        for address in BAD_ADDRESSES:
            with pytest.raises((OSError, ValueError, actorsys.HandshakeError)):
                await visit(actor, ("eve", "1"), Invitation(address, KEY))


# --- what an actor vouches for ------------------------------------------------------------------


@simulated
async def test_an_actor_is_introduced_for_whom_it_has_started(sim: Simulation) -> None:
    async with open_eve() as (eve, bob), children_of(eve, "child") as ((uid, _),):
        kwargs = {"target": packed(bob.uid), "below": [packed(uid)]}
        assert await eve.run(remote.ask_parent, "introduce", kwargs) is not None
        assert await bob.run(remote.expected_guests) == 1
