"""Topics between real processes: what a simulation cannot show."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import topic_functions as remote
import trio
from topic_functions import MODULES, broker, open_actors, open_reader

import actorsys
from actorsys import OneForOne, Topic, open_buffer

pytestmark = pytest.mark.slow


async def sums(topic: str) -> AsyncIterator[float]:
    """Yield the sums of what is published, buffers and arrays; None first."""
    async with Topic(topic).subscribe() as subscription:
        yield 0.0
        async for _, value in subscription:
            array = value.array() if isinstance(value, actorsys.Buffer) else value
            yield float(array.sum())


async def test_items_buffers_and_arrays_reach_other_processes() -> None:
    async with open_actors("one", "two") as (one, two):
        async with open_buffer(1000, "f8") as buffer:
            buffer.array()[:] = 2
            async with (
                one.open_stream_from(sums, "a") as of_one,
                two.open_stream_from(sums, "**") as of_two,
            ):
                assert [await of_one.receive(), await of_two.receive()] == [0, 0]
                assert await Topic("a").publish(buffer) == 2
                assert await Topic("a").publish(buffer.array() + 1) == 2
                for items in (of_one, of_two):
                    assert [await items.receive() for _ in range(2)] == [2000, 3000]


async def test_a_publisher_that_waits_for_one_that_is_killed_goes_on() -> None:
    async with open_actors("slow", "other", strategy=OneForOne()) as (slow, other):
        async with open_reader(None, "a", capacity=100) as reader, trio.open_nursery() as tasks:
            await tasks.start(listen_until_killed, slow)
            tasks.start_soon(other.run, remote.publish_all, "a", list(range(20)))
            assert await reader.read(3) == [0, 1, 2]
            assert slow.pid is not None
            os.kill(slow.pid, signal.SIGKILL)
            assert await reader.read(17) == list(range(3, 20))
        assert await remote.publish("a", 1) == [0]
        assert repr(broker()) == "<Broker of 0 subscribers>"


async def listen_until_killed(
    where: actorsys.Portal, *, task_status: trio.TaskStatus[None]
) -> None:
    with pytest.raises(actorsys.ActorDied):
        async with open_reader(where, "a", capacity=1):
            task_status.started()
            await trio.sleep_forever()


async def test_a_buffer_that_is_lost_on_its_way_does_not_end_the_subscription() -> None:
    async with open_actors("one", "lender", strategy=OneForOne()) as (one, lender):
        async with open_reader(one, "a") as reader, actorsys.monitor(lender) as deaths:
            assert one.pid is not None
            assert lender.pid is not None
            os.kill(one.pid, signal.SIGSTOP)
            try:
                await lender.run(lend, "a")
                os.kill(lender.pid, signal.SIGKILL)
                await deaths.receive()
                await Topic("a").publish("next")
            finally:
                os.kill(one.pid, signal.SIGCONT)
            with suppress(actorsys.BufferFault):
                await reader.read()
            assert await reader.read() == ["next"]


async def lend(topic: str) -> None:
    async with open_buffer(100, "f8") as buffer:
        await Topic(topic).publish(buffer)


async def test_hundreds_of_items_come_in_order() -> None:
    async with open_actors("one", "two") as (one, two):
        async with open_reader(two, "a") as reader, trio.open_nursery() as tasks:
            tasks.start_soon(one.run, remote.publish_all, "a", list(range(500)))
            assert await reader.read(500) == list(range(500))


MODULES.append(__name__)
