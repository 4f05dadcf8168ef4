"""What is published anywhere reaches all who listen, wherever they are, in order."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import topic_functions as remote
import trio
import trio.testing
from topic_functions import (
    MODULES,
    open_actors,
    open_family,
    open_reader,
    run_at,
    settle,
    simulated,
)

import actorsys
from actorsys import Topic
from actorsys.limits import DEFAULT_LIMITS
from actorsys.testing import Simulation

PASSES = 2 * DEFAULT_LIMITS.items_per_checkpoint
MEMBERS = ["root", "child", "sibling", "grandchild"]


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


# --- who hears what ---------------------------------------------------------------------------


@simulated
async def test_everybody_hears_everybody(sim: Simulation) -> None:
    async with open_family() as family:
        for listener, publisher in itertools.product(MEMBERS, MEMBERS):
            async with open_reader(family[listener], "news") as reader:
                assert await run_at(family[publisher], remote.publish, "news", publisher) == [1]
                assert await reader.read() == [publisher]


@simulated
async def test_all_who_listen_hear_it_and_are_counted(sim: Simulation) -> None:
    async with open_family() as family:
        async with (
            open_reader(family["root"], "a.b") as one,
            open_reader(family["child"], "a.*") as two,
            open_reader(family["grandchild"], "**") as three,
            open_reader(family["sibling"], "a.c") as other,
        ):
            assert await run_at(family["child"], remote.publish, "a.b", 1) == [3]
            assert [await reader.read() for reader in (one, two, three)] == [[1]] * 3
            assert await other.read_all() == []


@simulated
async def test_items_name_the_topic_that_they_were_published_to(sim: Simulation) -> None:
    async with open_actors("one") as (one,), open_reader(one, "**") as reader:
        for topic in ("a", "a.b", "c"):
            await Topic(topic).publish(None)
        await reader.read(3)
        assert reader.topics == ["a", "a.b", "c"]


@simulated
async def test_one_who_listens_twice_is_two(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        async with open_reader(one, "a") as first, open_reader(one, "a") as second:
            assert await remote.publish("a", 1) == [2]
            assert [await first.read(), await second.read()] == [[1], [1]]


@pytest.mark.parametrize("publisher", MEMBERS)
@simulated
async def test_what_one_publishes_comes_in_its_order(sim: Simulation, publisher: str) -> None:
    numbers = list(range(100))
    async with open_family() as family, trio.open_nursery() as tasks:
        for listener in MEMBERS:
            tasks.start_soon(check_order, family[listener], [("x", n) for n in numbers])
        with trio.fail_after(60):
            await wait_count("news", len(MEMBERS))
        where = family[publisher]
        await run_at(where, remote.publish_all, "news", [("x", n) for n in numbers[:50]])
        await run_at(where, remote.publish, "news", *[("x", n) for n in numbers[50:]])


@simulated
async def test_several_publishers_keep_each_their_order(sim: Simulation) -> None:
    async with open_family() as family, open_reader(family["sibling"], "news") as reader:
        async with trio.open_nursery() as tasks:
            for name in MEMBERS:
                values = [(name, number) for number in range(30)]
                tasks.start_soon(run_at, family[name], remote.publish_all, "news", values)
            values = await reader.read(30 * len(MEMBERS))
        for name in MEMBERS:
            assert [n for who, n in values if who == name] == list(range(30))


async def check_order(where: remote.Where, expected: list[Any]) -> None:
    async with open_reader(where, "news", capacity=3) as reader:
        assert await reader.read(len(expected)) == expected


async def wait_count(topic: str, count: int) -> None:
    async with Topic(topic).open_publisher() as publisher:
        await publisher.wait_subscribers(count)


# --- when one listens -------------------------------------------------------------------------


@pytest.mark.parametrize("listener", MEMBERS)
@simulated
async def test_all_from_the_entry_to_the_exit_is_heard(sim: Simulation, listener: str) -> None:
    """A publisher never rests; numbers are noted around the entry and the exit."""
    published = 0

    async def publish() -> None:
        nonlocal published
        while True:
            await Topic("numbers").publish(published)
            published += 1
            await trio.sleep(sim.chance.uniform(0, 0.01))

    async with open_family() as family, trio.open_nursery() as tasks:
        tasks.start_soon(publish)
        for _ in range(10):
            await trio.sleep(0.1)
            async with open_reader(family[listener], "numbers", capacity=1000) as reader:
                after_entry = published
                await trio.sleep(0.1)
                before_exit = published
                count = before_exit - after_entry - 1
                values = await reader.read(max(1, count))
                assert values[0] <= after_entry
                assert values == list(range(values[0], values[0] + len(values)))
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("where", ["root", "child"])
@simulated
async def test_nothing_is_received_after_the_block(sim: Simulation, where: str) -> None:
    async with open_actors("one") as (one,):
        assert await run_at(one if where == "child" else None, receive_after_leaving) == [
            "ChannelClosed",
            "ChannelClosed",
        ]


async def receive_after_leaving() -> list[str]:
    """Leave and close subscriptions with an item unread; return what `receive` raises then."""
    raised = []
    for closes in (False, True):
        async with Topic("a").subscribe() as subscription:
            await Topic("a").publish(1)
            if closes:
                await subscription.aclose()
                await trio.sleep(1)
                assert await Topic("a").publish(2) == 0
                raised.append(await name_of_error(subscription))
        if not closes:
            raised.append(await name_of_error(subscription))
    return raised


async def name_of_error(subscription: actorsys.TopicSubscription) -> str:
    with trio.fail_after(5):
        try:
            await subscription.receive()
        except actorsys.ActorsysError as error:
            return type(error).__name__
    return "nothing"


@simulated
async def test_who_waits_is_told_that_the_block_was_left(sim: Simulation) -> None:
    async with trio.open_nursery() as tasks:
        async with Topic("a").subscribe() as subscription:
            tasks.start_soon(expect_closed, subscription)
            await trio.testing.wait_all_tasks_blocked()


async def expect_closed(subscription: actorsys.TopicSubscription) -> None:
    with pytest.raises(actorsys.ChannelClosed):
        await subscription.receive()


# --- nobody listens ---------------------------------------------------------------------------


@pytest.mark.parametrize("publisher", MEMBERS)
@simulated
async def test_a_publisher_sees_that_nobody_listens(sim: Simulation, publisher: str) -> None:
    async with open_family() as family:
        where = family[publisher]
        assert await run_at(where, remote.publish, "a.b", 1) == [0]
        assert await run_at(where, remote.count_subscribers, "a.b") == 0
        async with open_reader(family["sibling"], "a.**"):
            assert await run_at(where, remote.count_subscribers, "a.b") == 1
        assert await run_at(where, remote.count_subscribers, "a.b") == 0


@simulated
async def test_what_nobody_hears_is_gone(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        await Topic("a").publish("early")
        async with open_reader(one, "a") as reader:
            await Topic("a").publish("late")
            assert await reader.read_all() == ["late"]


@simulated
async def test_an_open_publisher_is_told_how_many_listen(sim: Simulation) -> None:
    async with open_actors("one", "two") as (one, two):
        async with one.open_context(remote.watch_count, "a") as (ctx, first):
            assert first == 0
            async with ctx.open_stream() as stream:
                async with open_reader(None, "a") as reader:
                    await stream.send(["x", 1])
                    assert [await stream.receive(), await reader.read()] == [1, ["x"]]
                    async with open_reader(two, "*") as other:
                        await stream.send(["y", 2])
                        assert [await stream.receive(), await other.read()] == [2, ["y"]]
                await settle()
                await stream.send(["z", 0])
                assert await stream.receive() == 0


@simulated
async def test_a_wait_for_subscribers_ends_when_there_are_enough(sim: Simulation) -> None:
    async with open_actors("one") as (one,), Topic("a").open_publisher() as publisher:
        assert publisher.subscribers == 0
        async with trio.open_nursery() as tasks:
            tasks.start_soon(publisher.wait_subscribers, 2)
            async with open_reader(one, "a"), open_reader(None, "*"):
                assert await remote.count_subscribers("a") == 2
                await settle()
                assert not tasks.child_tasks
                assert repr(publisher) == "<Publisher to 'a': 2 listen>"


# --- publishers -------------------------------------------------------------------------------


@simulated
async def test_leaving_the_block_of_a_publisher_waits_until_all_is_taken(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        async with open_reader(None, "a", capacity=2) as reader, trio.open_nursery() as tasks:
            tasks.start_soon(one.run, remote.publish_all, "a", list(range(10)))
            await settle()
            assert tasks.child_tasks
            assert await reader.read(10) == list(range(10))


@simulated
async def test_subscribers_may_come_and_go_while_a_publisher_leaves(sim: Simulation) -> None:
    """What it has sent is published all the same; news of who listens is for nobody then."""
    async with open_actors("one", "two") as (one, two):
        async with open_reader(None, "a", capacity=1) as reader, trio.open_nursery() as tasks:
            tasks.start_soon(one.run, remote.publish_all, "a", list(range(10)))
            await settle()
            async with open_reader(two, "a", capacity=100):
                await settle()
            assert await reader.read(10) == list(range(10))


@pytest.mark.parametrize("where", ["root", "child"])
@simulated
async def test_a_closed_publisher_publishes_nothing(sim: Simulation, where: str) -> None:
    async with open_actors("one") as (one,), open_reader(None, "a") as reader:
        await run_at(one if where == "child" else None, use_closed_publishers)
        assert await reader.read_all() == []


async def use_closed_publishers() -> None:
    for closes in (True, False):
        async with Topic("a").open_publisher() as publisher:
            if closes:
                await publisher.aclose()
                await refuse_everything(publisher)
        await refuse_everything(publisher)


async def refuse_everything(publisher: actorsys.Publisher) -> None:
    with pytest.raises(actorsys.ChannelClosed):
        await publisher.send(1)
    with pytest.raises(actorsys.ChannelClosed):
        await publisher.wait_subscribers(10)


@pytest.mark.parametrize("where", ["root", "child"])
@simulated
async def test_who_waits_for_subscribers_is_told_that_the_block_was_left(
    sim: Simulation, where: str
) -> None:
    async with open_actors("one") as (one,):
        await run_at(one if where == "child" else None, leave_while_one_waits)


async def leave_while_one_waits() -> None:
    async def wait() -> None:
        with pytest.raises(actorsys.ChannelClosed):
            await publisher.wait_subscribers()

    async with trio.open_nursery() as tasks:
        async with Topic("a").open_publisher() as publisher:
            tasks.start_soon(wait)
            await trio.sleep(1)


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["root", "child"])
@simulated
async def test_what_is_changed_afterwards_arrives_as_it_was(sim: Simulation, where: str) -> None:
    async with open_actors("one") as (one,):
        async with open_reader(None, "a") as here, open_reader(one, "a") as there:
            await run_at(one if where == "child" else None, publish_and_change)
            assert await here.read(2) == await there.read(2) == [[1, b"x" * 9]] * 2


async def publish_and_change() -> None:
    async with Topic("a").open_publisher() as publisher:
        for publish in (Topic("a").publish, publisher.send):
            value: list[Any] = [1, b"x" * 9]
            await publish(value)
            value[0] = 2
            value.append("more")


@simulated
async def test_each_who_listens_has_a_value_of_its_own(sim: Simulation) -> None:
    async with Topic("a").subscribe() as one, Topic("a").subscribe() as other:
        await Topic("a").publish([1])
        (_, value), (_, same) = await one.receive(), await other.receive()
        value.append(2)
        assert same == [1]


@pytest.mark.parametrize("where", ["root", "child"])
@simulated
async def test_what_cannot_travel_is_refused_where_it_is_published(
    sim: Simulation, where: str
) -> None:
    async with open_actors("one") as (one,), open_reader(one, "a") as reader:
        await run_at(one if where == "child" else None, publish_nonsense)
        assert await reader.read_all() == ["sound"]


async def publish_nonsense() -> None:
    async with Topic("a").open_publisher() as publisher:
        for publish in (Topic("a").publish, publisher.send):
            with pytest.raises(actorsys.EncodeError):
                await publish(object())
        await publisher.send("sound")


def test_what_does_not_fit_into_a_message_is_refused_where_it_is_published() -> None:
    """Even where it would have fitted on the way to the root, and not from there."""

    async def main() -> None:
        async with open_actors("one") as (one,):
            async with open_reader(None, "a" * 200) as here, open_reader(one, "**") as there:
                for where in (None, one):
                    await run_at(where, publish_sizes, "a" * 200)
                for reader in (here, there):
                    assert [len(value) for value in await reader.read_all()] == [15_000] * 4

    limits = actorsys.Limits(max_message_bytes=16 * 1024)
    Simulation(1, limits=limits).run(main)


async def publish_sizes(topic: str) -> None:
    async with Topic(topic).open_publisher() as publisher:
        for publish in (Topic(topic).publish, publisher.send):
            for size in (16_384, 16_350, 16_300, 16_200, 16_100):
                with pytest.raises(actorsys.LimitExceeded, match="buffer"):
                    await publish(bytes(size))
            await publish(bytes(15_000))


# --- use --------------------------------------------------------------------------------------


async def test_there_are_no_topics_without_an_actor() -> None:
    topic = Topic("a")
    for use in (topic.subscribe, topic.open_publisher):
        with pytest.raises(actorsys.NoRuntime):
            use()
    for call in (topic.count_subscribers(), topic.publish(1)):
        with pytest.raises(actorsys.NoRuntime):
            await call


@simulated
async def test_a_pattern_is_not_published_to(sim: Simulation) -> None:
    topic = Topic("a.*")
    with pytest.raises(ValueError, match="not published to"):
        await topic.publish(1)
    with pytest.raises(ValueError, match="not published to"):
        topic.open_publisher()
    with pytest.raises(ValueError, match="not published to"):
        await topic.count_subscribers()


@pytest.mark.parametrize(
    "options",
    [{"capacity": n} for n in (0, -1, 1.0, "1", None, True, math.inf)]
    + [{"when_full": rule} for rule in ("", "drop", None, 1)],
    ids=str,
)
@simulated
async def test_nonsense_is_refused(sim: Simulation, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"capacity|when_full"):
        Topic("a").subscribe(**options)


def test_a_tree_has_so_many_subscriptions_and_no_more() -> None:
    async def main() -> None:
        async with open_actors("one") as (one,):
            async with open_reader(None, "a"), open_reader(one, "b"), open_reader(one, "*"):
                for where in (None, one):
                    with pytest.raises(actorsys.LimitExceeded, match="max_subscribers"):
                        async with open_reader(where, "a"):
                            pass
            async with open_reader(one, "a"):
                assert await remote.publish("a", 1) == [1]

    Simulation(1, limits=actorsys.Limits(max_subscribers=3)).run(main)


@simulated
async def test_no_call_of_the_root_withholds_a_checkpoint(sim: Simulation) -> None:
    topic = Topic("a")
    async with topic.subscribe(capacity=2000) as subscription, topic.open_publisher() as publisher:
        for use in (
            lambda: topic.publish(1),
            lambda: publisher.send(1),
            subscription.receive,
            topic.count_subscribers,
        ):
            with trio.CancelScope() as scope:
                scope.cancel()
                await use()
            assert scope.cancelled_caught
        await expect_others_run(lambda: topic.publish(1), PASSES)
        await expect_others_run(subscription.receive, PASSES)


@simulated
async def test_what_takes_long_to_make_leaves_before_the_next_is_made(sim: Simulation) -> None:
    async with Topic("a").subscribe():
        await expect_others_run(publish_slowly, 2)


async def publish_slowly() -> None:
    """Publish what has taken long to make."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(0.01)
    await Topic("a").publish(1)


async def expect_others_run(use: Any, times: int) -> None:
    ran = trio.Event()

    async def run() -> None:
        ran.set()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(run)
        for _ in range(times):
            await use()
        assert ran.is_set()


MODULES.append(__name__)
