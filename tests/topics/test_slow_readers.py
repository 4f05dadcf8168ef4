"""What becomes of items for one who does not keep up, rule by rule, with exact counts."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
import topic_functions as remote
import trio
import trio.testing
from topic_functions import Where, broker, open_actors, open_reader, settle, simulated

import actorsys
from actorsys import Limits, SubscriberTooSlow, Topic
from actorsys.limits import DEFAULT_LIMITS
from actorsys.testing import Simulation

KIB = 1024
WHERE = pytest.mark.parametrize("where", ["root", "child"])


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


def room(where: str, capacity: int) -> int:
    """Return how many items fit before a subscriber is full: as many more are under way."""
    return capacity if where == "root" else 2 * capacity


# --- dropping ---------------------------------------------------------------------------------


@WHERE
@pytest.mark.parametrize("capacity", [1, 2, 5])
@simulated
async def test_the_oldest_are_dropped(sim: Simulation, where: str, capacity: int) -> None:
    async with open_actors("one") as (one,):
        place = one if where == "child" else None
        async with open_reader(place, "a", capacity=capacity, when_full="drop_oldest") as reader:
            await remote.publish("a", *range(100))
            values = await reader.read_all()
        sent = [] if where == "root" else list(range(capacity))
        assert values == [*sent, *range(100 - capacity, 100)]
        assert len(values) + reader.dropped == 100


@WHERE
@pytest.mark.parametrize("capacity", [1, 2, 5])
@simulated
async def test_what_has_just_come_is_dropped(sim: Simulation, where: str, capacity: int) -> None:
    async with open_actors("one") as (one,):
        place = one if where == "child" else None
        async with open_reader(place, "a", capacity=capacity, when_full="drop_new") as reader:
            await remote.publish("a", *range(100))
            values = await reader.read_all()
            assert values == list(range(room(where, capacity)))
            await remote.publish("a", "next")
            assert await reader.read_all() == ["next"]
        assert len(values) + 1 + reader.dropped == 101


@WHERE
@simulated
async def test_one_item_of_room_holds_the_newest(sim: Simulation, where: str) -> None:
    """At most twice the capacity lies between what is read and what was published last."""
    async with open_actors("one") as (one,):
        place = one if where == "child" else None
        async with open_reader(place, "a", capacity=1, when_full="drop_oldest") as reader:
            for newest in range(0, 100, 10):
                await remote.publish("a", *range(newest, newest + 10))
                await settle()
                values = await reader.read_all()
                assert values[-1] == newest + 9
                assert len(values) <= room(where, 1)


@pytest.mark.parametrize("when_full", ["block", "drop_oldest", "drop_new"])
@WHERE
@simulated
async def test_received_and_dropped_are_published(
    sim: Simulation, where: str, when_full: str
) -> None:
    """Whatever the rhythm of the two ends, and where an item ends up."""
    published = 0

    async def publish() -> None:
        nonlocal published
        async with Topic("a").open_publisher() as publisher:
            for _ in range(200):
                await publisher.send(published)
                published += 1
                if sim.chance.random() < 0.3:
                    await trio.sleep(sim.chance.uniform(0, 0.01))

    async with open_actors("one") as (one,):
        place = one if where == "child" else None
        capacity = sim.chance.randint(1, 8)
        async with open_reader(place, "a", capacity=capacity, when_full=when_full) as reader:
            received = []
            async with trio.open_nursery() as tasks:
                tasks.start_soon(publish)
                while tasks.child_tasks:
                    with trio.move_on_after(sim.chance.uniform(0, 0.02)):
                        received += await reader.read()
            received += await reader.read_all()
        assert received == sorted(set(received))
        assert len(received) + reader.dropped == published == 200
        assert not reader.dropped or when_full != "block"


# --- waiting ----------------------------------------------------------------------------------


@WHERE
@simulated
async def test_a_publisher_waits_and_others_have_it_already(sim: Simulation, where: str) -> None:
    async with open_actors("one", "two") as (one, two):
        place = one if where == "child" else None
        async with (
            open_reader(place, "a", capacity=2) as slow,
            open_reader(two, "a", capacity=100) as quick,
            trio.open_nursery() as tasks,
        ):
            most = room(where, 2)
            tasks.start_soon(remote.publish, "a", *range(20))
            assert await quick.read(most + 1) == list(range(most + 1))
            await settle()
            assert tasks.child_tasks
            assert await slow.read(20) == list(range(20))
            assert await quick.read(19 - most) == list(range(most + 1, 20))


@pytest.mark.parametrize("publisher", ["root", "two"])
@pytest.mark.parametrize("end", ["read", "leave", "kill"])
@simulated
async def test_a_publisher_goes_on_when_the_slow_one_does(
    sim: Simulation, end: str, publisher: str
) -> None:
    async with open_actors("one", "two", strategy=actorsys.OneForOne()) as (one, two):
        place = two if publisher == "two" else None
        async with trio.open_nursery() as tasks:
            leave = trio.Event()
            await tasks.start(be_slow, one, leave)
            tasks.start_soon(remote.run_at, place, remote.publish, "a", *range(5))
            await settle()
            assert len(tasks.child_tasks) == 2
            if end == "kill":
                sim.kill(one)
            else:
                await Topic("go").publish(end)
            await settle()
            assert len(tasks.child_tasks) == (1 if end == "read" else 0)
            leave.set()
        assert await remote.publish("a", "nobody") == [0]


async def be_slow(where: Where, leave: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    """Listen with as little room as there is; read all when that is published, until told."""
    with suppress(actorsys.ActorDied):
        async with open_reader(where, "a", capacity=1) as reader, Topic("go").subscribe() as go:
            task_status.started()
            if (await go.receive()).value == "read":
                await reader.read_all()
                await leave.wait()


@simulated
async def test_a_publisher_that_gives_up_waiting_leaves_nothing_behind(sim: Simulation) -> None:
    async with Topic("a").subscribe(capacity=1) as one, Topic("a").subscribe(capacity=9) as other:
        await Topic("a").publish(0)
        with trio.move_on_after(1) as scope:
            await Topic("a").publish(1)
        assert scope.cancelled_caught
        assert (await one.receive()).value == 0
        await Topic("a").publish(2)
        assert (await one.receive()).value == 2
        assert [(await other.receive()).value for _ in range(3)] == [0, 1, 2]


# --- ending -----------------------------------------------------------------------------------


@WHERE
@pytest.mark.parametrize("capacity", [1, 4])
@simulated
async def test_one_that_is_to_end_reads_what_came_before(
    sim: Simulation, where: str, capacity: int
) -> None:
    most = room(where, capacity)
    async with open_actors("one") as (one,):
        place = one if where == "child" else None
        async with open_reader(place, "a", capacity=capacity, when_full="end") as reader:
            counts = await remote.publish("a", *range(most + 3))
            assert counts == [1] * (most + 1) + [0, 0]
            assert await Topic("a").count_subscribers() == 0
            await settle()
            assert await reader.read(most) == list(range(most))
            for _ in range(2):
                with pytest.raises(SubscriberTooSlow, match="'a'"):
                    await reader.read()


@WHERE
@simulated
async def test_one_that_has_ended_leaves_without_reading(sim: Simulation, where: str) -> None:
    async with open_actors("one") as (one,):
        place = one if where == "child" else None
        with trio.fail_after(60):
            async with open_reader(place, "a", capacity=2, when_full="end"):
                await remote.publish("a", *range(10))
                await settle()


@simulated
async def test_a_body_that_is_busy_is_not_interrupted(sim: Simulation) -> None:
    """The one that was too slow is told when it comes for more, and not before."""
    async with open_actors("one") as (one,):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(publish_when_there_is, "a", 10)
            read = await one.run(f"{__name__}:sleep_then_read")
        assert read == [0, 1, "SubscriberTooSlow"]


async def sleep_then_read() -> list[int | str]:
    read: list[int | str] = []
    async with Topic("a").subscribe(capacity=1, when_full="end") as subscription:
        await trio.sleep(10)
        try:
            async for item in subscription:
                read.append(item.value)
                await trio.sleep(10)
        except SubscriberTooSlow as error:
            read.append(type(error).__name__)
    return read


async def publish_when_there_is(topic: str, stop: int) -> None:
    async with Topic(topic).open_publisher() as publisher:
        await publisher.wait_subscribers()
        for number in range(stop):
            await publisher.send(number)


@simulated
async def test_the_error_travels_as_what_it_is(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        with pytest.raises(SubscriberTooSlow, match="read faster") as caught:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(publish_when_there_is, "a", 10)
                try:
                    await one.run(f"{__name__}:read_too_slowly")
                except SubscriberTooSlow as error:
                    failure = error
            raise failure
        assert isinstance(caught.value, actorsys.RemoteActorError)


async def read_too_slowly() -> None:
    async with Topic("a").subscribe(capacity=1, when_full="end") as subscription:
        async for _ in subscription:
            await trio.sleep(1)


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_new", "end", "block"])
def test_what_waits_for_a_slow_one_is_bounded_in_bytes(when_full: str) -> None:
    """Even if the items get larger: as many as before would be far too much then."""
    most = 256 * KIB

    async def main() -> None:
        async with Topic("a").subscribe(capacity=1000, when_full=when_full) as subscription:  # type: ignore[arg-type]
            for size in [KIB] * 200 + [64 * KIB] * 100:
                with trio.move_on_after(0.1):
                    await Topic("a").publish(bytes(size))
            total = 0
            with trio.move_on_after(1):
                try:
                    while True:
                        total += len((await subscription.receive()).value)
                except SubscriberTooSlow:
                    pass
            assert total <= most + 64 * KIB
            if when_full.startswith("drop"):
                assert subscription.dropped > 0

    limits = Limits(max_subscriber_bytes=most)
    Simulation(1, limits=limits).run(main)


def test_the_smallest_items_are_bounded_in_bytes_too() -> None:
    async def main() -> None:
        async with Topic("a").subscribe(capacity=10**18, when_full="drop_new"):
            await Topic("a").publish(None)
            tracemalloc.start()
            try:
                for _ in range(5000):
                    await Topic("a").publish(None)
                current, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert current < 256 * KIB

    Simulation(1, limits=Limits(max_subscriber_bytes=128 * KIB)).run(main)


def test_the_root_keeps_little_for_a_slow_child() -> None:
    """Large items, one after the other, to one who reads nothing."""
    size = 256 * KIB

    async def main() -> None:
        async with open_actors("one") as (one,):
            async with open_reader(one, "a", capacity=10, when_full="drop_oldest") as reader:
                await Topic("a").publish(bytes(size))
                tracemalloc.start()
                try:
                    for _ in range(100):
                        await Topic("a").publish(bytes(size))
                        await trio.sleep(0.01)
                    current, _ = tracemalloc.get_traced_memory()
                finally:
                    tracemalloc.stop()
                assert current < 12 * size
                values = await reader.read_all()
                assert len(values) + reader.dropped == 101

    Simulation(1, limits=Limits(max_subscriber_bytes=4 * size)).run(main)


# --- a crowded link ---------------------------------------------------------------------------


@simulated
async def test_several_tasks_may_read_one_subscription(sim: Simulation) -> None:
    async with open_actors("one") as (one,), trio.open_nursery() as tasks:
        tasks.start_soon(publish_when_there_is, "a", 40)
        assert sorted(await one.run(f"{__name__}:read_in_two_tasks", 40)) == list(range(40))


async def read_in_two_tasks(count: int) -> list[int]:
    read: list[int] = []

    async def read_half() -> None:
        for _ in range(count // 2):
            read.append((await subscription.receive()).value)
            item = bytes(2 * DEFAULT_LIMITS.outbox_high_water_bytes)
            await Topic("elsewhere").publish(item)  # the link is crowded now and then

    async with Topic("a").subscribe(capacity=1) as subscription, trio.open_nursery() as tasks:
        for _ in range(2):
            tasks.start_soon(read_half)
    return read


@simulated
async def test_what_was_read_is_told_even_over_a_crowded_link(sim: Simulation) -> None:
    """The one report that is due comes when the link takes nothing more: it is made up for."""
    async with open_actors("one") as (one,), trio.open_nursery() as tasks:
        tasks.start_soon(publish_when_there_is, "a", 20)
        assert await one.run(f"{__name__}:read_over_crowded_link") == list(range(20))


async def read_over_crowded_link() -> list[int]:
    async with Topic("a").subscribe(capacity=1) as subscription, trio.open_nursery() as tasks:
        read: list[int] = []
        for _ in range(20):
            item = bytes(2 * DEFAULT_LIMITS.outbox_high_water_bytes)
            tasks.start_soon(actorsys.Topic("elsewhere").publish, item)
            await trio.testing.wait_all_tasks_blocked()
            read.append((await subscription.receive()).value)
        return read


def test_all_are_forgotten() -> None:
    async def main() -> None:
        async with open_actors("one") as (one,):
            async with open_reader(one, "a"), open_reader(None, "a.*"):
                assert repr(broker()) == "<Broker of 2 subscribers>"
            assert repr(broker()) == "<Broker of 0 subscribers>"
            assert not broker()._by_name
            assert not broker()._by_pattern

    Simulation(1).run(main)


remote.MODULES.append(__name__)
