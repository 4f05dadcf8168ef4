"""Who dies, at whatever moment, takes nothing from the others and leaves nothing behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import pytest
import topic_functions as remote
import trio
from topic_functions import broker, open_actors, open_reader, settle, simulated

import actorsys
from actorsys import Backoff, OneForOne, Topic
from actorsys.testing import Simulation

EVER_AGAIN = OneForOne(10**6, math.inf, Backoff(first=0))
ITEMS = 8


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


class AtStep(trio.abc.Instrument):
    """Does something after the n-th step of the scheduler from when the block is entered."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self.steps_left = step
        self._act = act

    def __enter__(self) -> AtStep:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            self._act()


def break_links() -> None:
    """Have writing fail on all links of this actor but that to its parent."""
    actor = actorsys.current_actor()
    for link in actor.channels:
        if link is not actor.directory.parent:
            link.outbox.fail(actorsys.ChannelBroken("cut by a test"))


@pytest.mark.parametrize("how", ["kill", "cut_links"])
@pytest.mark.parametrize("capacity", [1, 100])
@simulated
async def test_a_subscriber_may_die_at_any_step_of_publishing(
    sim: Simulation, capacity: int, how: str
) -> None:
    """The publisher notices nothing, and who else listens misses nothing."""
    async with actorsys.open_nursery(strategy=EVER_AGAIN) as nursery:
        modules = remote.MODULES
        mortal = await nursery.start_actor("mortal", modules=modules, restart="permanent")
        steady = await nursery.start_actor("steady", modules=modules)
        async with open_reader(steady, "a", capacity=100) as reader:
            for step in range(1, 1000, 11):
                async with trio.open_nursery() as tasks:
                    await tasks.start(listen_until_death, mortal, capacity)
                    with AtStep(step, lambda: getattr(sim, how)(mortal)) as killer:
                        assert (await remote.publish("a", *range(ITEMS)))[0] == 2
                        assert await reader.read(ITEMS) == list(range(ITEMS))
                    if killer.steps_left > 0:
                        sim.kill(mortal)
                await settle()
                assert await Topic("a").count_subscribers() == 1
                if killer.steps_left > 0:
                    break
            assert step > 10
        await nursery.cancel()


async def listen_until_death(
    where: actorsys.Portal, capacity: int, *, task_status: trio.TaskStatus[None]
) -> None:
    with suppress(actorsys.ActorUnavailable):
        async with open_reader(where, "a", capacity=capacity) as reader:
            task_status.started()
            await reader.read(10**6)


@simulated
async def test_a_link_that_breaks_while_it_is_written_to_is_not_the_publishers_concern(
    sim: Simulation,
) -> None:
    async with actorsys.open_nursery(strategy=EVER_AGAIN) as nursery:
        mortal = await nursery.start_actor("mortal", modules=remote.MODULES, restart="permanent")
        async with trio.open_nursery() as tasks:
            await tasks.start(listen_until_death, mortal, 100)
            await remote.publish("a", 0)
            break_links()
            assert await remote.publish("a", *range(ITEMS)) == [1] * ITEMS
        await nursery.cancel()


@simulated
async def test_what_a_dying_publisher_has_sent_comes_in_order(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=EVER_AGAIN) as nursery:
        mortal = await nursery.start_actor("mortal", modules=remote.MODULES, restart="permanent")
        async with open_reader(None, "a", capacity=2) as reader:
            for step in range(1, 2000, 23):
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(publish_until_death, mortal)
                    with AtStep(step, lambda: sim.kill(mortal)) as killer:
                        values = await reader.read_all()
                assert values == list(range(len(values)))
                if killer.steps_left > 0:
                    assert len(values) == 3 * ITEMS
                    break
                await mortal.run(remote.count_subscribers, "a")
            assert step > 10
        await settle()
        assert repr(broker()) == "<Broker of 0 subscribers>"
        await nursery.cancel()


async def publish_until_death(where: actorsys.Portal) -> None:
    with suppress(actorsys.ActorUnavailable):
        await where.run(remote.publish_all, "a", list(range(3 * ITEMS)))


@simulated
async def test_a_restarted_subscriber_can_subscribe_again(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=EVER_AGAIN) as nursery:
        mortal = await nursery.start_actor("mortal", modules=remote.MODULES, restart="permanent")
        for _ in range(3):
            with pytest.raises(actorsys.ActorDied):
                async with open_reader(mortal, "a") as reader:
                    await remote.publish("a", 1)
                    assert await reader.read() == [1]
                    sim.kill(mortal)
                    await trio.sleep_forever()
        await settle()
        assert await remote.publish("a", 1) == [0]
        await nursery.cancel()


@simulated
async def test_a_lost_link_to_the_root_is_told_and_what_came_before_is_read(
    sim: Simulation,
) -> None:
    async with open_actors("one") as (one,):
        assert await one.run(f"{__name__}:read_after_the_link") == ["ActorUnavailable", 5, 7]


async def read_after_the_link() -> list[object]:
    """Lose the link to the root while items are unread; use topics again over another one."""
    told: list[object] = []
    try:
        async with Topic("a").subscribe() as subscription:
            await Topic("a").publish(5)
            break_links()
            with trio.CancelScope(shield=True):
                told.append((await subscription.receive()).value)
            await trio.sleep_forever()
    except actorsys.ActorUnavailable as error:
        told.insert(0, type(error).__name__)
    async with Topic("a").subscribe() as subscription:
        await Topic("a").publish(7)
        told.append((await subscription.receive()).value)
    return told


remote.MODULES.append(__name__)
