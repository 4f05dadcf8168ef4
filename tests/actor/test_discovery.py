"""Actors find each other by name, over links of their own, for as long as both live."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import discovery_functions as remote
import pytest
import trio
from discovery_functions import MODULES, children_of, open_actors, settle, simulated
from trio.testing import wait_all_tasks_blocked

import actorsys
from actorsys import OneForOne, find_actor, wait_for_actor
from actorsys.actor.registry import Entry, TreeRegistry
from actorsys.errors import Uid
from actorsys.testing import Simulation, cancel_at_every_step

NAMES = ["ann", "bob", "carl", "dora"]
Operation = Callable[[actorsys.Portal, actorsys.Portal], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: few are real, and look for it."""


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    return Simulation(seed)


# --- who finds whom ---------------------------------------------------------------------------


@simulated
async def test_a_sibling_is_found(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        assert await one.run(remote.call_found, "two") == two.uid
        assert await two.run(remote.call_found, "one") == one.uid


@simulated
async def test_the_root_finds_its_child_through_the_portal_that_it_has(sim: Simulation) -> None:
    async with open_actors("one") as (one,), find_actor("one") as found:
        assert found is one


@simulated
async def test_an_actor_finds_itself(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        assert await one.run(remote.call_found, "one") == one.uid


@simulated
async def test_relatives_of_all_degrees_find_each_other(sim: Simulation) -> None:
    async with open_actors("parent", "aunt") as (parent, aunt):
        async with children_of(parent, "child") as ((uid, _),):
            for asker in (parent, aunt):
                assert await asker.run(remote.call_found, "child") == uid
            assert await remote.call_found("child") == uid
            for found in (parent, aunt):
                uids = await parent.run(remote.run_found, "child", "call_found", found.name)
                assert uids == found.uid


@simulated
async def test_all_actors_are_listed_in_the_order_in_which_they_came(sim: Simulation) -> None:
    async with open_actors("parent", "aunt") as (parent, aunt):
        async with children_of(parent, "child") as ((uid, _),):
            everybody = [parent.uid, aunt.uid, uid]
            assert await remote.list_all() == everybody
            assert await aunt.run(remote.call_all) == everybody
            assert await parent.run(remote.run_found, "child", "call_all") == everybody


@simulated
async def test_nobody_is_found_under_a_name_that_nobody_has(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        for name in ("two", "root", "ONE", "one "):
            assert await one.run(remote.call_found, name) is None
            assert await remote.call_found(name) is None


async def test_there_is_no_discovery_without_an_actor() -> None:
    for open_found in (find_actor, wait_for_actor):
        with pytest.raises(actorsys.NoRuntime):
            async with open_found("one"):
                pass
    with pytest.raises(actorsys.NoRuntime):
        await actorsys.actors()


@pytest.mark.parametrize(
    "name",
    ["", "a\nb", "x" * 65, 1, None, b"one", remote.own_uid],
    ids=lambda name: repr(name)[:12],
)
@simulated
async def test_what_is_no_name_is_refused(sim: Simulation, name: Any) -> None:
    for open_found in (find_actor, wait_for_actor):
        with pytest.raises(ValueError, match="name"):
            async with open_found(name):
                pass


# --- several of one name ----------------------------------------------------------------------


@simulated
async def test_of_several_the_oldest_is_found(sim: Simulation) -> None:
    async with open_actors("twin", "twin", "asker", strategy=OneForOne()) as (old, young, asker):
        assert await asker.run(remote.call_found, "twin") == old.uid
        await old.cancel_actor()
        assert await asker.run(remote.call_found, "twin") == young.uid
        await young.cancel_actor()
        assert await asker.run(remote.call_found, "twin") is None


@simulated
async def test_when_the_oldest_has_just_died_the_next_is_found(sim: Simulation) -> None:
    async with open_actors("twin", "twin", "asker", strategy=OneForOne()) as (old, young, asker):
        sim.kill(old)
        assert await asker.run(remote.call_found, "twin") == young.uid


@simulated
async def test_one_that_was_started_again_is_the_youngest(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        old, young = [
            await nursery.start_actor("twin", modules=MODULES, restart="permanent")
            for _ in range(2)
        ]
        asker = await nursery.start_actor("asker", modules=MODULES)
        sim.kill(old)
        await settle()
        assert await asker.run(remote.call_found, "twin") == young.uid
        assert [uid[0] for uid in await asker.run(remote.list_all)] == ["twin", "asker", "twin"]
        await nursery.cancel()


# --- waiting ----------------------------------------------------------------------------------


@simulated
async def test_a_wait_ends_when_the_actor_is_there(sim: Simulation) -> None:
    uids: list[Uid] = []

    async def wait() -> None:
        uids.append(await one.run(remote.call_awaited, "late"))

    async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
        one = await nursery.start_actor("one", modules=MODULES)
        for _ in range(3):
            tasks.start_soon(wait)
        await settle()
        assert not uids
        late = await nursery.start_actor("late", modules=MODULES)
        await settle()
        assert uids == [late.uid] * 3
        await nursery.cancel()


@simulated
async def test_a_wait_for_who_is_there_already_is_none(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        assert await one.run(remote.call_awaited, "two") == two.uid
        assert await remote.call_awaited("two") == two.uid


@simulated
async def test_a_wait_for_a_restart_gives_the_new_incarnation(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        asker = await nursery.start_actor("asker", modules=MODULES)
        worker = await nursery.start_actor("worker", modules=MODULES, restart="permanent")
        before = await asker.run(remote.call_found, "worker")
        sim.kill(worker)
        after = None
        while after is None:
            with contextlib.suppress(
                actorsys.ActorUnavailable
            ):  # the asker has not heard of the death yet
                after = await asker.run(remote.call_awaited, "worker")
        assert before != after == await worker.run(remote.own_uid)
        await nursery.cancel()


@simulated
async def test_nothing_is_left_of_a_wait_that_was_cancelled(sim: Simulation) -> None:
    async with open_actors("parent") as (parent,):
        async with children_of(parent, "asker"):
            before = remote.calls_in_flight()
            for _ in range(5):
                with trio.move_on_after(1) as scope:
                    await parent.run(remote.run_found, "asker", "call_awaited", "nobody")
                assert scope.cancelled_caught
            with trio.move_on_after(1):
                await remote.call_awaited("nobody")
            await settle()
            assert remote.calls_in_flight() == before
            assert remote.waiting_at_root() == 0


@simulated
async def test_nothing_is_left_of_a_wait_whose_asker_has_died(sim: Simulation) -> None:
    async with open_actors("asker", "other", strategy=OneForOne()) as (asker, other):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(remote.never_mind, actorsys.ActorDied, asker, "call_awaited", "nobody")
            await settle()
            assert remote.calls_in_flight() == 2
            sim.kill(asker)
        await settle()
        assert remote.calls_in_flight() == 0
        assert await other.run(remote.list_all) == [other.uid]


# --- the end of those that were found ---------------------------------------------------------


@simulated
async def test_a_dead_actor_is_not_found_and_its_portal_is_of_no_use(sim: Simulation) -> None:
    async with open_actors("asker", "worker", strategy=OneForOne()) as (asker, worker):
        async with asker.open_context(remote.hold_found, "worker") as (ctx, uid):
            assert uid == worker.uid
            sim.kill(worker)
            await settle()
            assert await asker.run(remote.call_found, "worker") is None
            async with ctx.open_stream() as stream:
                await stream.send("go")
                assert await ctx.result() == ["ActorUnavailable", False]


@simulated
async def test_a_portal_stays_with_its_incarnation(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        asker = await nursery.start_actor("asker", modules=MODULES)
        worker = await nursery.start_actor("worker", modules=MODULES, restart="permanent")
        async with asker.open_context(remote.hold_found, "worker") as (ctx, uid):
            sim.kill(worker)
            await settle()
            assert await worker.run(remote.own_uid) != uid
            async with ctx.open_stream() as stream:
                await stream.send("go")
                assert await ctx.result() == ["ActorUnavailable", False]
        await nursery.cancel()


@simulated
async def test_a_call_in_flight_may_have_run_when_its_actor_dies(sim: Simulation) -> None:
    async with open_actors("asker", "worker", strategy=OneForOne()) as (asker, worker):
        failure: dict[str, Any] = {}

        async def call() -> None:
            failure.update(await asker.run(remote.describe_failure, "worker", "hang"))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(call)
            await settle()
            sim.kill(worker)
        assert failure["type"] == "ActorUnavailable"
        assert failure["may_have_run"]
        assert "worker" in failure["text"]


@simulated
async def test_with_an_actor_everybody_below_it_vanishes(sim: Simulation) -> None:
    async with open_actors("top", "asker", strategy=OneForOne()) as (top, asker):
        with pytest.raises(actorsys.ActorUnavailable):
            async with children_of(top, "middle", "other"):
                async with find_actor("middle") as middle:
                    assert middle is not None
                    async with children_of(middle, "bottom"):
                        await asker.run(remote.call_awaited, "bottom")
                        sim.kill(top)
                        await trio.sleep_forever()
        await settle()
        assert await asker.run(remote.list_all) == [asker.uid]


@simulated
async def test_an_end_deep_down_is_known_at_the_root(sim: Simulation) -> None:
    async with open_actors("top", "asker") as (top, asker):
        async with children_of(top, "middle"):
            async with find_actor("middle") as middle:
                assert middle is not None
                async with children_of(middle, "bottom", "ground"):
                    pass
            await settle()
            names = [uid[0] for uid in await asker.run(remote.list_all)]
            assert names == ["top", "asker", "middle"]


@simulated
async def test_an_actor_that_is_being_stopped_is_found_no_more(sim: Simulation) -> None:
    async with open_actors("asker", "worker", "other") as (asker, worker, _):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(
                remote.never_mind, actorsys.ContextCancelled, worker, "clean_up_slowly"
            )
            await settle()
            tasks.start_soon(worker.cancel_actor)
            await trio.sleep(0.1)
            assert await asker.run(remote.call_found, "worker") is None
            assert await asker.run(remote.call_found, "other") is not None


@pytest.mark.parametrize("delay", [i / 1000 for i in range(0, 24, 2)], ids=str)
@simulated
async def test_death_between_a_question_and_its_answer_is_none_or_unavailable(
    sim: Simulation, delay: float
) -> None:
    strategy = OneForOne()
    async with open_actors("asker", "worker", strategy=strategy) as (asker, worker):
        outcomes: list[str] = []

        async def call() -> None:
            with trio.fail_after(remote.LATE_SECONDS):
                outcomes.append(await asker.run(remote.outcome_of, "call_found", "worker"))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(call)
            await trio.sleep(delay * sim.chance.random())
            sim.kill(worker)
        (outcome,) = outcomes
        assert outcome == "nothing" or outcome.startswith("ActorUnavailable")
        await settle()
        assert await asker.run(remote.call_found, "worker") is None
        assert await asker.run(remote.links_to) == ["root"]
        assert await asker.run(remote.expected_guests) == 0


@simulated
async def test_a_link_that_is_lost_is_opened_anew_by_who_finds_again(sim: Simulation) -> None:
    async with open_actors("asker", "worker") as (asker, worker):
        for _ in range(3):
            assert await asker.run(remote.call_found, "worker") == worker.uid
            await asker.run(remote.break_link_to, "worker")
            assert await asker.run(remote.call_found, "worker") == worker.uid
        await settle()
        assert await asker.run(remote.links_to) == ["root", "worker"]
        assert await worker.run(remote.links_to) == ["asker", "root"]


# --- what goes over a direct link -------------------------------------------------------------


@simulated
async def test_calls_streams_and_contexts_go_over_a_direct_link(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, _):
        assert await one.run(remote.read_found, "two", 1000) == list(range(1000))
        words = ["a", b"b" * 500_000, 3]
        assert await one.run(remote.talk_to_found, "two", words) == ["hello", *words, "bye"]


@simulated
async def test_an_error_names_the_actor_where_it_was_raised(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        with pytest.raises(ValueError, match="over there") as caught:
            await one.run(remote.run_found, "two", "fail")
        assert caught.value.src_uid == two.uid  # type: ignore[attr-defined]
        assert caught.value.relay_path == (two.uid, one.uid)  # type: ignore[attr-defined]


@simulated
async def test_cancelling_goes_on_over_a_direct_link(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        with trio.move_on_after(1):
            await one.run(remote.run_found, "two", "hang")
        assert await two.run(remote.hanging) == 0


@simulated
async def test_a_deadline_is_kept_over_a_direct_link(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        assert await one.run(remote.run_found_within, 1, "two", "hang") == "too late"
        assert await two.run(remote.hanging) == 0


@simulated
async def test_what_is_not_exposed_is_not_so_to_siblings_either(sim: Simulation) -> None:
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("one", modules=MODULES)
        await nursery.start_actor("two")
        with pytest.raises(actorsys.NotExposed):
            await one.run(remote.run_found, "two", "own_uid")
        await nursery.cancel()


@simulated
async def test_an_orderly_stop_tells_callers_who_has_asked_for_it(sim: Simulation) -> None:
    failure: dict[str, Any] = {}

    async def call() -> None:
        failure.update(await asker.run(remote.describe_failure, "worker", "hang"))

    async with open_actors("asker", "worker") as (asker, worker):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call)
            await settle()
            await worker.cancel_actor()
        assert failure["type"] == "ContextCancelled"
        assert failure["canceller"] == actorsys.current_actor().uid


# --- what a found portal is for ---------------------------------------------------------------


@pytest.mark.parametrize("watch", ["watch_found", "watch_listed"])
@simulated
async def test_a_monitor_of_a_found_actor_is_told_once(sim: Simulation, watch: str) -> None:
    async with open_actors("asker", "worker", strategy=OneForOne()) as (asker, worker):
        uid = worker.uid
        async with asker.open_context(getattr(remote, watch), "worker") as (ctx, watched):
            assert watched == uid
            sim.kill(worker)
            await settle()
            assert await ctx.result() == [(uid, "ActorUnavailable")]


@simulated
async def test_only_who_has_started_an_actor_stops_it_and_has_its_result(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        for what in ("stop_found", "result_of_found"):
            with pytest.raises(actorsys.LocalProtocolError, match="not started here"):
                await one.run(getattr(remote, what), "two")
        assert await two.run(remote.own_uid) == two.uid


# --- links ------------------------------------------------------------------------------------


@simulated
async def test_many_who_find_at_once_share_a_link(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        assert await one.run(remote.find_at_once, "two", 50) == {two.uid}
        assert await one.run(remote.links_to) == ["root", "two"]
        assert await two.run(remote.links_to) == ["one", "root"]


@simulated
async def test_two_who_find_each_other_at_once_have_a_link_each(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        async with trio.open_nursery() as tasks:
            for _ in range(5):
                tasks.start_soon(one.run, remote.call_found, "two")
                tasks.start_soon(two.run, remote.call_found, "one")
        assert await one.run(remote.links_to) == ["root", "two", "two"]
        assert await two.run(remote.links_to) == ["one", "one", "root"]


@simulated
async def test_a_crowd_finds_one_actor_at_once(sim: Simulation) -> None:
    sim.max_boot_seconds = 0
    names = [f"asker-{number}" for number in range(100)]
    uids: list[Uid | None] = []

    async def find(asker: actorsys.Portal) -> None:
        uids.append(await asker.run(remote.call_found, "worker"))

    async with open_actors("worker", *names) as (worker, *askers):
        async with trio.open_nursery() as tasks:
            for asker in askers:
                tasks.start_soon(find, asker)
        assert set(uids) == {worker.uid}


@simulated
async def test_no_link_is_opened_before_a_portal_is_used(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, _):
        assert len(await one.run(remote.list_all)) == 2
        assert await one.run(remote.links_to) == ["root"]


def test_an_actor_gives_another_only_so_many_links() -> None:
    async def main() -> None:
        async with open_actors("one", "two") as (one, two):
            assert await one.run(remote.open_links_by_hand, two.uid, 3) == 2
            assert await two.run(remote.links_to) == ["one", "one", "root"]

    Simulation(1, limits=actorsys.Limits(max_links_per_peer=2)).run(main)


# --- at every step ----------------------------------------------------------------------------


async def find_and_call(one: actorsys.Portal, two: actorsys.Portal) -> None:
    assert await one.run(remote.call_found, "two") == two.uid


async def wait_and_call(one: actorsys.Portal, two: actorsys.Portal) -> None:
    assert await one.run(remote.call_awaited, "two") == two.uid


async def call_everybody(one: actorsys.Portal, two: actorsys.Portal) -> None:
    assert await one.run(remote.call_all) == [one.uid, two.uid]


@pytest.mark.parametrize("operation", [find_and_call, wait_and_call, call_everybody])
def test_nothing_is_left_after_a_cancel_at_any_step(operation: Operation) -> None:
    async def links() -> list[list[str]]:
        return [await portal.run(remote.links_to) for portal in portals]

    async def run() -> None:
        await operation(*portals)

    async def check() -> None:
        """Check that one more run has one link where another one was cancelled; begin anew."""
        await settle()
        await run()
        assert await links() == after_one_run
        for portal in portals:
            assert await portal.run(remote.expected_guests) == 0
            await portal.run(remote.break_all_direct_links)
        await settle()
        assert await links() == [["root"], ["root"]]
        assert remote.calls_in_flight() == 0

    portals: list[actorsys.Portal] = []
    after_one_run: list[list[str]] = []

    async def main() -> None:
        async with open_actors("one", "two") as started:
            portals.extend(started)
            await run()
            after_one_run.extend(await links())
            assert await cancel_at_every_step(run, check) > 10

    Simulation(seed=1).run(main)


# --- the registry -----------------------------------------------------------------------------


def entry_at(*path: Uid) -> Entry:
    return Entry(path[-1], 1, path)


@pytest.fixture
def registry() -> TreeRegistry:
    return TreeRegistry(actorsys.Limits())


async def test_the_registry_knows_what_a_list_of_paths_would(registry: TreeRegistry) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    known: list[Entry] = []
    for number in range(300):
        above = chance.choice([(), *(entry.path for entry in known)])
        entry = entry_at(*above, (chance.choice(NAMES), str(number)))
        registry.add(entry)
        known.append(entry)
        if chance.random() < 0.3:
            gone = chance.choice(known).path
            registry.remove(gone)
            known = [entry for entry in known if entry.path[: len(gone)] != gone]
        assert await registry.entries() == known
        for name in NAMES:
            assert await registry.find(name) == [e for e in known if e.uid[0] == name]
    for entry in known:
        registry.remove(entry.path)
    assert not any([registry._entries, registry._namesakes, registry._below])


async def test_whoever_waits_for_another_one_of_a_name_is_told_of_that(
    registry: TreeRegistry,
) -> None:
    first, second = ("ann", "1"), ("ann", "2")
    async with trio.open_nursery() as tasks:
        for _ in range(3):
            tasks.start_soon(registry.wait_for, "ann", [first])
        await wait_all_tasks_blocked()
        registry.add(entry_at(first))
        await wait_all_tasks_blocked()
        assert "3 waiting" in repr(registry)
        registry.add(entry_at(second))
    assert "0 waiting" in repr(registry)


async def test_who_has_waited_in_vain_leaves_nothing_in_the_registry(
    registry: TreeRegistry,
) -> None:
    async with trio.open_nursery() as tasks:
        for name in NAMES:
            tasks.start_soon(registry.wait_for, name, [])
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert not registry._arrivals


async def test_a_crowd_of_others_makes_neither_questions_nor_news_dear(
    registry: TreeRegistry,
) -> None:
    crowd = [entry_at((f"actor-{number}", "1")) for number in range(20_000)]
    for entry in crowd:
        registry.add(entry)
    began = time.perf_counter()
    for entry in crowd[:1000]:
        assert await registry.find(entry.uid[0]) == [entry]
        registry.remove(entry.path)
    assert time.perf_counter() - began < 0.5  # a walk over all of them takes five times that


# --- at random --------------------------------------------------------------------------------

UNAVOIDABLE = (actorsys.ActorUnavailable, actorsys.ContextCancelled, actorsys.SpawnError)
"""What may become of a call while actors die and are stopped."""


class Crowd:
    """A tree that grows and dies at random, and whose actors find and call each other."""

    def __init__(self, sim: Simulation, nursery: actorsys.ActorNursery) -> None:
        self.answers: list[bool] = []
        self._sim = sim
        self._nursery = nursery

    async def live(self) -> None:
        """Do one thing after the other, of which some go on meanwhile; end with all of them."""
        chance = self._sim.chance
        things = [self.grow] * 3 + [self.find] * 8 + [self.die] * 2 + [self.stop]
        with trio.move_on_after(remote.LATE_SECONDS) as patience:
            async with trio.open_nursery() as tasks:
                for _ in range(50):
                    tasks.start_soon(self.do, chance.choice(things))
                    await trio.sleep(chance.uniform(0, 0.05))
        assert not patience.cancelled_caught, "something hangs"

    async def do(self, thing: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(*UNAVOIDABLE):
            await thing()

    async def grow(self) -> None:
        chance = self._sim.chance
        restart: Any = chance.choice(["permanent", "temporary"])
        name = chance.choice(NAMES)
        portal = await self._nursery.start_actor(name, modules=MODULES, restart=restart)
        if chance.random() < 0.5:
            async with children_of(portal, *chance.choices(NAMES, k=2)):
                await trio.sleep(chance.uniform(0, 2))

    async def die(self) -> None:
        alive = living(self._sim)
        if alive:
            self._sim.kill(self._sim.chance.choice(alive))

    async def stop(self) -> None:
        if self._nursery.children:
            name = self._sim.chance.choice(sorted(self._nursery.children))
            await self._nursery.children[name].cancel_actor(0.5)

    async def find(self) -> None:
        chance = self._sim.chance
        what = chance.choice(["compare_found", "compare_awaited", "compare_all"])
        args = [] if what == "compare_all" else [chance.choice(NAMES)]
        portals = await actorsys.actors()
        if portals:
            asker = chance.choice(portals)
            self.answers.append(await asker.run(f"{remote.__name__}:{what}", *args))


def living(sim: Simulation) -> list[int]:
    """Return the pids of the actors that live, but that of the root."""
    _, *processes = sim.processes.values()
    return [process.pid for process in processes if process.describe_end() == "alive"]


@pytest.mark.parametrize("seed", range(6))
def test_a_tree_that_dies_and_grows_is_known_as_it_is(seed: int) -> None:
    sim = Simulation(seed)

    async def main() -> None:
        async with actorsys.open_nursery(strategy=OneForOne(1000)) as nursery:
            await nursery.start_actor(NAMES[0], modules=MODULES, restart="permanent")
            crowd = Crowd(sim, nursery)
            await crowd.live()
            assert crowd.answers
            assert all(crowd.answers)
            await settle()
            portals = await actorsys.actors()
            assert {portal.pid for portal in portals} == set(living(sim))
            assert remote.calls_in_flight() == remote.waiting_at_root() == 0
            for portal in portals:
                assert await portal.run(remote.own_uid) == portal.uid
                assert await portal.run(remote.expected_guests) == 0
            await nursery.cancel()
            assert await actorsys.actors() == []

    sim.run(main)


# --- real processes ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_thousand_lookups_take_no_more_files_than_one(leak_check: None) -> None:
    async with open_actors("one", "two") as (one, two):
        assert await one.run(remote.find_often, "two", 1) == {two.uid}
        before = [await portal.run(remote.open_files) for portal in (one, two)]
        assert await one.run(remote.find_often, "two", 1000) == {two.uid}
        assert [await portal.run(remote.open_files) for portal in (one, two)] == before


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "unix"])
async def test_buffers_and_arrays_go_over_a_direct_link(transport: str, leak_check: None) -> None:
    async with open_actors("one", "two", transport=transport) as (one, _):
        assert await one.run(remote.total_by_found, "two") == [100_000, 200_000]


@pytest.mark.slow
async def test_the_end_of_a_process_is_the_end_of_its_name(leak_check: None) -> None:
    async with open_actors("one", "two", strategy=OneForOne()) as (one, two):
        async with one.open_context(remote.hold_found, "two") as (ctx, uid):
            assert uid == two.uid
            assert two.pid is not None
            async with actorsys.monitor(two) as events:
                os.kill(two.pid, signal.SIGKILL)
                await events.receive()
            assert await one.run(remote.call_found, "two") is None
            async with ctx.open_stream() as stream:
                await stream.send("go")
                assert await ctx.result() == ["ActorUnavailable", False]
