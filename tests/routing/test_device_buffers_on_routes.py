"""Buffers on a device in routed messages: who gets one works on it after who had it before."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import device_functions as remote
import pytest
from device_helpers import COUNT, DEVICE, MODULES, fake_device, values
from routing_helpers import ask

import actorsys
from actorsys import open_buffer, open_dispatcher
from actorsys.testing.fake_cuda import FakeCuda

STARTS_PROCESSES = True
WITH_DEVICE = [remote.__name__, *MODULES]


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with fake_device() as runtime:
        yield runtime


async def test_what_comes_over_a_stream_is_worked_on_after_its_sender(fake: FakeCuda) -> None:
    async with actorsys.open_nursery() as nursery, open_dispatcher() as dispatcher:
        worker = await nursery.start_actor("worker", modules=WITH_DEVICE)
        async with worker.open_context(remote.look_at_all) as (ctx, _), ctx.open_stream() as stream:
            dispatcher.add_route("a", stream)
            async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                # Who has no route yet waits; there is no mark of it before it leaves.
                buffer.array()[:] = 4.0
                await dispatcher.dispatch(ask("one", buffer))
                dispatcher.assign("one", "a")
                assert await stream.receive() == [4]
            await dispatcher.aclose()
        await nursery.cancel()


async def test_what_a_route_answers_is_worked_on_after_the_answer(fake: FakeCuda) -> None:
    async with actorsys.open_nursery() as nursery, open_dispatcher() as dispatcher:
        worker = await nursery.start_actor("worker", modules=WITH_DEVICE)
        dispatcher.add_route("a", functools.partial(worker.run, remote.add_to_payload))
        dispatcher.assign("one", "a")
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            for number in range(3):
                assert await dispatcher.request(ask("one", buffer)) is buffer
                assert values(buffer) == [number + 1]
        await dispatcher.aclose()
        await nursery.cancel()
