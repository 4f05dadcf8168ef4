"""Every use of a topic, cancelled at each of its steps, in the root and in another actor."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest
import topic_functions as remote
import trio
from topic_functions import broker, open_actors, open_reader, run_at, settle

import actorsys
from actorsys import Topic
from actorsys.testing import Simulation, cancel_at_every_step

Operation = Callable[[], Awaitable[None]]
WHERE = pytest.mark.parametrize("where", ["root", "child"])


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


async def publish_once() -> None:
    assert await Topic("steady").publish("item") == 1


async def publish_and_wait() -> None:
    """Publish to one who has no room, until it has."""
    async with Topic("full").subscribe(capacity=1) as subscription, trio.open_nursery() as tasks:
        tasks.start_soon(remote.publish, "full", 0, 1, 2, 3)
        for number in range(4):
            assert (await subscription.receive()).value == number


async def publish_much() -> None:
    async with Topic("steady").open_publisher() as publisher:
        await publisher.wait_subscribers()
        for _ in range(3):
            await publisher.send("item")


async def listen() -> None:
    async with Topic("news.*").subscribe() as subscription:
        assert await Topic("news.one").publish(1) == 1
        assert await Topic("news.two").publish(2) == 1
        assert [(await subscription.receive()).value for _ in range(2)] == [1, 2]


async def listen_until_it_is_too_much() -> None:
    async with Topic("full").subscribe(capacity=1, when_full="end") as subscription:
        while await Topic("full").publish("item"):
            pass
        with pytest.raises(actorsys.SubscriberTooSlow):
            async for _ in subscription:
                pass


async def count() -> None:
    assert await Topic("steady").count_subscribers() == 1


OPERATIONS: list[Operation] = [
    publish_once,
    publish_and_wait,
    publish_much,
    listen,
    listen_until_it_is_too_much,
    count,
]


@pytest.mark.parametrize("operation", OPERATIONS)
@WHERE
def test_nothing_is_left_after_a_cancel_at_any_step(where: str, operation: Operation) -> None:
    async def main() -> None:
        async with (
            open_actors("one") as (one,),
            Topic("steady").subscribe(when_full="drop_oldest") as steady,
        ):
            place = one if where == "child" else None
            await run_at(place, cancel_everywhere, operation.__name__)
            await settle()
            assert repr(broker()) == "<Broker of 1 subscribers>"
            assert calls_in_flight() == 0
            await Topic("steady").publish("last")
            while (await steady.receive()).value != "last":
                pass

    Simulation(1).run(main)


async def cancel_everywhere(name: str) -> None:
    async def check() -> None:
        await trio.sleep(1)
        assert await Topic("full").publish(None) == 0
        assert await Topic("news.one").publish(None) == 0

    await Topic("warm.up").publish(None)  # the link to the root is opened once
    await cancel_at_every_step(globals()[name], check)


def calls_in_flight() -> int:
    return sum(link.calls_in_flight for link in actorsys.current_actor().statistics().links)


@WHERE
def test_a_cancelled_receive_loses_and_doubles_nothing(where: str) -> None:
    async def main() -> None:
        async with open_actors("one") as (one,):
            await run_at(one if where == "child" else None, receive_with_cancellations)

    Simulation(1).run(main)


async def receive_with_cancellations() -> None:
    received: list[int] = []

    async def receive() -> None:
        for _ in range(3):
            received.append((await subscription.receive()).value)

    async def check() -> None:
        assert received == list(range(len(received)))

    async with Topic("a").subscribe(capacity=2) as subscription, trio.open_nursery() as tasks:
        tasks.start_soon(publish_numbers)
        await cancel_at_every_step(receive, check)
        tasks.cancel_scope.cancel()
    assert received


async def publish_numbers() -> None:
    for number in itertools.count():
        await Topic("a").publish(number)
        await trio.sleep(0.001 * (number % 3))


@pytest.mark.parametrize("rule", ["block", "drop_oldest", "drop_new"])
def test_a_publisher_cancelled_at_any_step_gives_each_its_item_once_or_not(rule: str) -> None:
    async def main() -> None:
        async with open_actors("one") as (one,):
            options = {"capacity": 1000, "when_full": rule}
            async with open_reader(None, "a", **options) as here:
                async with open_reader(one, "a", **options) as there:
                    last = [-2, -1]

                    async def publish() -> None:
                        last[:] = [last[1] + 1, last[1] + 2]
                        await one.run(remote.publish, "a", *last)

                    async def check() -> None:
                        await trio.sleep(1)

                    await cancel_at_every_step(publish, check)
                    for reader in (here, there):
                        values = await reader.read_all()
                        assert values == sorted(set(values))
                        assert values[-2:] == last

    Simulation(1).run(main)


remote.MODULES.append(__name__)
