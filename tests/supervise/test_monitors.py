"""A monitor tells of each death once, until there will be no more."""

from __future__ import annotations

import functools
import math
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import actorsys
from actorsys import Backoff, Down, OneCancelsAll, OneForAll, OneForOne
from actorsys.errors import Uid
from actorsys.testing.simulation import Simulation

MODULES = [__name__]
AT_ONCE = Backoff(first=0)
PORTALS: list[actorsys.Portal] = []
"""How a portal gets to where it does not belong: all simulated actors share their module."""


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    return Simulation(seed)


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Have *test* run as the root of the simulated tree that is its first argument."""

    @functools.wraps(test)
    def run(sim: Simulation, **arguments: Any) -> None:
        sim.run(functools.partial(test, sim, **arguments))

    return run


async def own_uid() -> Uid:
    return actorsys.current_actor().uid


async def hang() -> None:
    await trio.sleep_forever()


async def fail() -> None:
    raise ValueError("unnoticed")


async def monitor_what_is_not_its_own() -> None:
    async with actorsys.monitor(PORTALS.pop()):
        pass


async def settle() -> None:
    """Let so much simulated time pass that whatever is to happen has happened."""
    await trio.sleep(30)


def all_downs(events: trio.MemoryReceiveChannel[Down]) -> list[Down]:
    """Return what a monitor has told and nobody has read yet."""
    downs = []
    try:
        while True:
            downs.append(events.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        return downs


# --- exactly once -------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [OneCancelsAll(), OneForOne(), OneForAll()])
@simulated
async def test_a_death_is_told_once_and_then_the_channel_ends(
    sim: Simulation, strategy: Any
) -> None:
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal = await nursery.start_actor("worker")
        async with actorsys.monitor(portal) as events:
            sim.kill(portal)
            downs = [down async for down in events]
    ((uid, reason),) = downs
    assert uid == portal.uid
    assert isinstance(reason, actorsys.ActorDied)
    assert (reason.uid, reason.pid) == (portal.uid, portal.pid)
    assert (reason.signal, reason.exit_code) == (signal.SIGKILL, None)


@pytest.mark.parametrize("code", [0, 3])
@simulated
async def test_an_exit_is_a_death_as_well(sim: Simulation, code: int) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker")
        async with actorsys.monitor(portal) as events:
            sim.exit(portal, code)
            (down,) = [down async for down in events]
    assert isinstance(down.reason, actorsys.ActorDied)
    assert (down.reason.exit_code, down.reason.signal) == (code, None)


@pytest.mark.parametrize("what", ["cancel_actor", "cancel", "error"])
@pytest.mark.parametrize("strategy", [OneCancelsAll(), OneForOne()])
@simulated
async def test_an_orderly_end_is_told_once(sim: Simulation, what: str, strategy: Any) -> None:
    async def watch() -> None:
        async with actorsys.monitor(portal) as events:
            watching.set()
            downs.extend([down async for down in events])

    downs: list[Down] = []
    watching = trio.Event()
    async with trio.open_nursery() as tasks:
        with pytest.raises(KeyError, match="of the body"):
            async with actorsys.open_nursery(strategy=strategy) as nursery:
                portal = await nursery.start_actor("worker")
                tasks.start_soon(watch)
                await watching.wait()
                if what != "error":
                    await (portal.cancel_actor() if what == "cancel_actor" else nursery.cancel())
                raise KeyError("of the body")
    ((uid, reason),) = downs
    assert uid == portal.uid
    assert isinstance(reason, actorsys.ActorDied)
    assert reason.exit_code == 0


@simulated
async def test_each_of_several_monitors_is_told_once(sim: Simulation) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker")
        async with (
            actorsys.monitor(portal) as one,
            actorsys.monitor(portal) as two,
            actorsys.monitor(portal) as three,
        ):
            sim.kill(portal)
            await settle()
            for events in (one, two, three):
                assert [down.uid for down in all_downs(events)] == [portal.uid]


@simulated
async def test_a_monitor_is_told_only_of_its_own_actor(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        one, two = [await nursery.start_actor(name) for name in ("one", "two")]
        async with actorsys.monitor(one) as of_one, actorsys.monitor(two) as of_two:
            sim.kill(one)
            await settle()
            assert [down.uid for down in all_downs(of_one)] == [one.uid]
            assert all_downs(of_two) == []
        await nursery.cancel()


@simulated
async def test_a_broken_link_is_told_as_one_death(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        portal = await nursery.start_actor("worker", restart="permanent")
        uid = portal.uid
        async with actorsys.monitor(portal) as events:
            sim.cut_links(portal)
            await settle()
            (down,) = all_downs(events)
            assert down.uid == uid
            assert isinstance(down.reason, actorsys.ActorDied)
            assert down.reason.exit_code != 0
            assert portal.is_alive
            assert portal.uid != uid
        await nursery.cancel()


@simulated
async def test_a_frozen_actor_whose_link_breaks_is_killed_and_told_once(sim: Simulation) -> None:
    async with trio.open_nursery() as tasks, actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES)
        async with actorsys.monitor(portal) as events:
            tasks.start_soon(never_mind, portal)
            await settle()
            sim.cut_links(portal)
            (down,) = [down async for down in events]
    assert isinstance(down.reason, actorsys.ActorDied)
    assert down.reason.signal == signal.SIGKILL
    assert "link" in str(down.reason)


async def never_mind(portal: actorsys.Portal) -> None:
    with pytest.raises(actorsys.ActorDied):
        await portal.run(refuse_to_end)


async def refuse_to_end() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(100)


@simulated
async def test_deaths_wait_for_a_reader_that_is_late(sim: Simulation) -> None:
    strategy = OneForOne(10, math.inf, AT_ONCE)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES, restart="permanent")
        uids = []
        async with actorsys.monitor(portal) as events:
            for _ in range(5):
                uids.append(portal.uid)
                sim.kill(portal)
                await settle()
            await nursery.cancel()
            uids.append(portal.uid)
            assert [down.uid async for down in events] == uids


# --- across restarts ----------------------------------------------------------------------


@simulated
async def test_a_monitor_goes_on_until_the_actor_will_not_come_back(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne(10)) as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES, restart="transient")
        lives = [portal.uid]
        async with actorsys.monitor(portal) as events:
            for code in (3, 4, 5):
                sim.exit(portal, code)
                down = await events.receive()
                assert isinstance(down.reason, actorsys.ActorDied)
                assert (down.uid, down.reason.exit_code) == (lives[-1], code)
                lives.append(await portal.run(own_uid))
            sim.exit(portal, 0)
            assert [down.uid async for down in events] == [lives[-1]]
        assert len(set(lives)) == 4


@simulated
async def test_a_monitor_opened_between_two_lives_is_told_of_the_second(sim: Simulation) -> None:
    strategy = OneForOne(10, math.inf, Backoff(first=60, most=60, jitter=0))
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES, restart="permanent")
        for _ in range(2):
            await portal.run(own_uid)
            sim.kill(portal)
            await trio.sleep(1)
        assert not portal.is_alive
        async with actorsys.monitor(portal) as events:
            uid = await portal.run(own_uid)
            sim.kill(portal)
            assert (await events.receive()).uid == uid
            await nursery.cancel()
            assert [down async for down in events] == []


@simulated
async def test_members_that_are_stopped_with_the_others_are_told_of(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
        one, two = [await nursery.start_actor(n, restart="permanent") for n in ("one", "two")]
        helper = await nursery.start_actor("helper")
        uids = [two.uid, helper.uid]
        async with actorsys.monitor(two) as of_two, actorsys.monitor(helper) as of_helper:
            sim.kill(one)
            assert (await of_two.receive()).uid == uids[0]
            assert [down.uid async for down in of_helper] == uids[1:]
            await settle()
            assert all_downs(of_two) == []
        await nursery.cancel()


@simulated
async def test_a_start_that_comes_to_nothing_is_no_death(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne(5, math.inf, AT_ONCE)) as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES, restart="permanent")
        async with actorsys.monitor(portal) as events:
            sim.max_boot_seconds = 1e6
            sim.kill(portal)
            await events.receive()
            await trio.sleep(0.1)
            sim.max_boot_seconds = 0.1
            sim.kill(max(sim.processes))
            assert await portal.run(own_uid) == portal.uid
            assert all_downs(events) == []
            assert len(sim.processes) == 4
        await nursery.cancel()


@simulated
async def test_the_channel_ends_when_the_nursery_gives_up(sim: Simulation) -> None:
    async def watch() -> None:
        async with actorsys.monitor(portal) as events:
            watching.set()
            downs.extend([down async for down in events])

    downs: list[Down] = []
    watching = trio.Event()
    async with trio.open_nursery() as tasks:
        with pytest.raises(ExceptionGroup):
            async with actorsys.open_nursery(strategy=OneForOne(max_restarts=0)) as nursery:
                portal = await nursery.start_actor("worker", restart="permanent")
                tasks.start_soon(watch)
                await watching.wait()
                sim.kill(portal)
                await trio.sleep_forever()
    assert [down.uid for down in downs] == [portal.uid]


# --- who has been told --------------------------------------------------------------------


@simulated
async def test_a_death_that_a_monitor_was_told_of_does_not_fail_the_nursery(
    sim: Simulation,
) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker")
        other = await nursery.start_actor("other", modules=MODULES)
        async with actorsys.monitor(portal):
            sim.kill(portal)
            await settle()
        assert await other.run(own_uid) == other.uid
        await other.cancel_actor()


@simulated
async def test_a_monitor_that_was_closed_before_is_not_told(sim: Simulation) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("worker")
            async with actorsys.monitor(portal) as events:
                pass
            sim.kill(portal)
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, actorsys.ActorDied)
    with pytest.raises(trio.ClosedResourceError):
        events.receive_nowait()


@simulated
async def test_a_failed_call_is_not_told_to_a_monitor(sim: Simulation) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES)
        async with actorsys.monitor(portal) as events:
            with pytest.raises(ValueError, match="unnoticed"):
                await portal.run(fail)
            await settle()
            assert all_downs(events) == []
        await nursery.cancel()


@simulated
async def test_callers_and_monitors_are_both_told(sim: Simulation) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=MODULES)
        async with actorsys.monitor(portal) as events, trio.open_nursery() as tasks:
            tasks.start_soon(kill_later, sim, portal)
            with pytest.raises(actorsys.ActorDied) as caught:
                await portal.run(hang)
            (down,) = [down async for down in events]
    assert isinstance(down.reason, actorsys.ActorDied)
    assert down.reason.pid == caught.value.pid
    assert down.reason is not caught.value


async def kill_later(sim: Simulation, portal: actorsys.Portal) -> None:
    await trio.sleep(1)
    sim.kill(portal)


@simulated
async def test_the_end_of_a_one_shot_is_told(sim: Simulation) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(own_uid)
        async with actorsys.monitor(portal) as events:
            assert [down.uid async for down in events] == [await portal.result()]


# --- what cannot be monitored -------------------------------------------------------------


@simulated
async def test_the_portal_of_another_actor_is_refused(sim: Simulation) -> None:
    async with actorsys.open_nursery() as nursery:
        portal, other = [await nursery.start_actor(n, modules=MODULES) for n in ("one", "two")]
        PORTALS.append(other)
        with pytest.raises(actorsys.LocalProtocolError, match="belongs to actor 'root'"):
            await portal.run(monitor_what_is_not_its_own)
        await nursery.cancel()


@pytest.mark.parametrize("how", ["died", "cancelled"])
@simulated
async def test_an_actor_that_is_gone_is_refused(sim: Simulation, how: str) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        portal = await nursery.start_actor("worker")
        if how == "died":
            sim.kill(portal)
            await settle()
        else:
            await portal.cancel_actor()
        for _ in range(2):
            with pytest.raises(actorsys.ActorUnavailable, match="worker"):
                async with actorsys.monitor(portal):
                    pytest.fail("it was opened")


@pytest.mark.parametrize("what", [None, "worker", ("worker", "uid"), 1000, actorsys.Portal])
@simulated
async def test_what_is_no_portal_is_refused(sim: Simulation, what: Any) -> None:
    with pytest.raises(TypeError, match="portal"):
        async with actorsys.monitor(what):
            pytest.fail("it was opened")


async def test_without_a_runtime_nothing_is_monitored(sim: Simulation) -> None:
    async def main() -> actorsys.Portal:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("worker")
            await portal.cancel_actor()
        return portal

    portal = await trio.to_thread.run_sync(sim.run, main)
    with pytest.raises(actorsys.NoRuntime):
        async with actorsys.monitor(portal):
            pytest.fail("it was opened")
