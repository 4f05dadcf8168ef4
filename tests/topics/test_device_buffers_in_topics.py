"""Buffers on a device that are published: who hears of one works on it after who published it."""

from __future__ import annotations

from collections.abc import Iterator

import device_functions as remote
import pytest
import trio
from device_helpers import COUNT, DEVICE, MODULES, fake_device, wait_nothing_lent

import actorsys
from actorsys import Topic, open_buffer
from actorsys.buffers.device_holding import MAX_MARKS
from actorsys.testing.fake_cuda import FakeCuda
from actorsys.topics.subscriber import WhenFull

STARTS_PROCESSES = True
WITH_DEVICE = [remote.__name__, *MODULES]


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with fake_device() as runtime:
        yield runtime


async def test_who_listens_works_on_it_after_who_published_it(fake: FakeCuda) -> None:
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("one", modules=WITH_DEVICE)
        two = await nursery.start_actor("two", modules=WITH_DEVICE)
        async with one.open_stream_from(remote.listen, "a", 10) as heard:
            assert await heard.receive() == []
            for _ in range(3):
                await two.run(remote.publish, "a")
                assert await heard.receive() == [7]
        await nursery.cancel()


async def test_what_waits_for_a_slow_listener_is_as_it_was_published(fake: FakeCuda) -> None:
    """When it leaves, another stream is the current one, and its publisher has let it go."""
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("one", modules=WITH_DEVICE)
        async with one.open_stream_from(remote.listen, "a", 2) as heard:
            assert await heard.receive() == []
            with fake.stream():
                for number in range(4):
                    async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                        buffer.array()[:] = number
                        await Topic("a").publish(buffer)
            for number in range(4):
                assert await heard.receive() == [number]
        await nursery.cancel()


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_new", "end"])
async def test_what_is_left_out_lets_its_buffers_go(fake: FakeCuda, when_full: WhenFull) -> None:
    async with actorsys.open_nursery():
        async with Topic("a").subscribe(capacity=1, when_full=when_full):
            for _ in range(3):
                await remote.publish("a")
        await wait_nothing_lent()


async def test_what_a_root_without_a_device_passes_on_is_not_seen_too_early() -> None:
    times = MAX_MARKS + 2
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("one", modules=WITH_DEVICE)
        two = await nursery.start_actor("two", modules=WITH_DEVICE)
        async with two.open_stream_from(remote.listen_to_last, "a", times) as heard:
            assert await heard.receive() == []
            async with trio.open_nursery() as tasks:
                tasks.start_soon(one.run, remote.publish_often, "a", times)
                assert await heard.receive() == [times]
        await nursery.cancel()
