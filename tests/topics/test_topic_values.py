"""Buffers, large arrays, and bytes that mean nothing to who listens."""

from __future__ import annotations

import gc
from typing import Any

import msgpack
import numpy as np
import pytest
import topic_functions as remote
import trio
from topic_functions import broker, open_actors, open_reader, run_at, settle, simulated

import actorsys
from actorsys import Buffer, BufferFault, RemoteProtocolError, Topic, current_actor, open_buffer
from actorsys.testing import Simulation

WHERE = pytest.mark.parametrize("where", ["root", "child"])


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


# --- what the actors run ----------------------------------------------------------------------


async def sum_of(topic: str, count: int) -> list[float]:
    """Return the sums of what is published, and add one to each buffer."""
    sums = []
    async with Topic(topic).subscribe() as subscription:
        await Topic("ready").publish(None)
        for _ in range(count):
            value = (await subscription.receive()).value
            array = value.array() if isinstance(value, Buffer) else value
            sums.append(float(array.sum()))
            if isinstance(value, Buffer):
                array += 1
                await value.release()
    return sums


async def forward(source: str, target: str, count: int) -> None:
    async with Topic(source).subscribe() as subscription:
        await Topic("ready").publish(None)
        for _ in range(count):
            await Topic(target).publish((await subscription.receive()).value)


async def publish_buffer(topic: str, value: float) -> None:
    """Publish a buffer, and let it go at once."""
    async with open_buffer(100, "f8") as buffer:
        buffer.array()[:] = value
        await Topic(topic).publish(buffer)


async def wait_nothing_lent() -> None:
    """Wait until nothing is used or lent in this actor."""
    with trio.fail_after(60):
        while any(current_actor().buffers.statistics()[:4]):
            gc.collect()
            await trio.sleep(1)


async def ready(subscription: actorsys.TopicSubscription, count: int = 1) -> None:
    for _ in range(count):
        await subscription.receive()


# --- buffers ----------------------------------------------------------------------------------


@simulated
async def test_all_who_listen_have_the_same_memory(sim: Simulation) -> None:
    async with open_actors("one", "two") as actors:
        async with Topic("ready").subscribe() as subscription, open_buffer(100, "f8") as buffer:
            async with trio.open_nursery() as tasks:
                for actor in actors:
                    tasks.start_soon(actor.run, f"{__name__}:sum_of", "a", 1)
                await ready(subscription, 2)
                assert await Topic("a").publish(buffer) == 2
            assert buffer.array().sum() == 200
        for actor in actors:
            await actor.run(wait_nothing_lent)
        await wait_nothing_lent()


@WHERE
@simulated
async def test_a_buffer_that_was_let_go_arrives_even_by_a_detour(
    sim: Simulation, where: str
) -> None:
    async with open_actors("one", "two", "three") as (one, two, three):
        async with Topic("ready").subscribe() as subscription, trio.open_nursery() as tasks:
            sums: list[float] = []

            async def collect() -> None:
                sums.extend(await three.run(f"{__name__}:sum_of", "b", 2))

            tasks.start_soon(two.run, forward, "a", "b", 2)
            tasks.start_soon(collect)
            await ready(subscription, 2)
            for value in (1.0, 2.0):
                await run_at(one if where == "child" else None, publish_buffer, "a", value)
        assert sums == [100, 200]
        for actor in (one, two, three):
            await actor.run(wait_nothing_lent)
        await wait_nothing_lent()


@simulated
async def test_nothing_stays_lent_of_what_could_not_be_sent_at_once(sim: Simulation) -> None:
    async with open_actors("one") as (one,):
        async with Topic("ready").subscribe() as subscription, trio.open_nursery() as tasks:
            tasks.start_soon(one.run, f"{__name__}:read_late", "a", ["bytes", "Buffer"])
            await ready(subscription)
            await Topic("a").publish(bytes(300_000))  # more than a stream takes unread
            await publish_buffer("a", 1)
        await one.run(wait_nothing_lent)
        await wait_nothing_lent()


async def read_late(topic: str, types: list[str]) -> None:
    async with Topic(topic).subscribe() as subscription:
        await Topic("ready").publish(None)
        await settle()
        for name in types:
            assert type((await subscription.receive()).value).__name__ == name


@simulated
async def test_a_buffer_that_was_heard_can_be_handed_back_to_its_owner(sim: Simulation) -> None:
    async with open_actors("one") as (one,), Topic("ready").subscribe() as subscription:
        async with open_buffer(1, "f8") as buffer, trio.open_nursery() as tasks:
            tasks.start_soon(one.run, f"{__name__}:hand_back", "a")
            await ready(subscription)
            await Topic("a").publish(buffer)


async def hand_back(topic: str) -> Any:
    async with Topic(topic).subscribe() as subscription:
        await Topic("ready").publish(None)
        return (await subscription.receive()).value


@simulated
async def test_what_is_dropped_lets_its_buffers_go(sim: Simulation) -> None:
    async with Topic("a").subscribe(capacity=1, when_full="drop_oldest") as subscription:
        for value in (1, 2, 3):
            await publish_buffer("a", value)
        gc.collect()
        assert current_actor().buffers.statistics().own == 1
        (await subscription.receive()).value.array()
    await wait_nothing_lent()


@pytest.mark.parametrize("reader_at", ["root", "child"])
@simulated
async def test_a_buffer_whose_lender_died_is_lost_and_the_next_item_comes(
    sim: Simulation, reader_at: str
) -> None:
    async with open_actors("lender", "one", strategy=actorsys.OneForOne()) as (lender, one):
        place = one if reader_at == "child" else None
        async with open_reader(place, "a", capacity=1) as reader, open_reader(None, "a"):
            if reader_at == "child":
                await Topic("a").publish("fills what is under way")
            await lender.run(publish_buffer, "a", 1.0)
            sim.kill(lender)
            await settle()
            async with trio.open_nursery() as tasks:
                tasks.start_soon(Topic("a").publish, "next")
                if reader_at == "child":
                    await reader.read()
                with pytest.raises(BufferFault):
                    await reader.read()
                assert await reader.read() == ["next"]


# --- large arrays -----------------------------------------------------------------------------


@simulated
async def test_large_arrays_and_bytes_reach_all(sim: Simulation) -> None:
    array = np.arange(100_000.0)
    async with open_actors("one", "two") as (one, two), open_reader(None, "a") as here:
        async with Topic("ready").subscribe() as subscription, trio.open_nursery() as tasks:
            sums: list[float] = []

            async def collect() -> None:
                sums.extend(await two.run(f"{__name__}:sum_of", "b", 3))

            tasks.start_soon(one.run, forward, "a", "b", 3)
            tasks.start_soon(collect)
            await ready(subscription, 2)
            await Topic("a").publish(array)
            async with Topic("a").open_publisher() as publisher:
                for _ in range(2):
                    await publisher.send(array)
                    array += 1  # it was published as it was
        assert sums == [array.sum() - 200_000] * 2 + [array.sum() - 100_000]
        assert [value.sum() for value in await here.read(3)] == sums


# --- what means nothing -----------------------------------------------------------------------

GARBAGE = [
    b"",
    b"\xc1",
    b"\x91",
    b"\x01\x01",
    b"\xdd\xff\xff\xff\xff",
    b"\x91" * 100_000,
    b"\x81\x91\x01\x02",
    b"\x81\x80\x02",
    msgpack.packb(msgpack.ExtType(99, b"")),
    msgpack.packb(msgpack.ExtType(34, b"\xff")),
    msgpack.packb(msgpack.ExtType(34, b"not a buffer")),
    msgpack.packb(msgpack.ExtType(13, b"\x00")),
    msgpack.packb(msgpack.ExtType(32, b"\x90")),
]


@WHERE
@simulated
async def test_what_cannot_be_unpacked_fails_alone(sim: Simulation, where: str) -> None:
    async with open_actors("one") as (one,):
        async with open_reader(one if where == "child" else None, "a") as reader:
            for parcel in GARBAGE:
                await broker().publish("a", parcel)
                await Topic("a").publish("sound")
                with pytest.raises(RemoteProtocolError):
                    await reader.read()
                assert await reader.read() == ["sound"]


remote.MODULES.append(__name__)
