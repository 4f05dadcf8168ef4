"""What an actor without a device has to tell of the order of what it only hands on."""

from __future__ import annotations

import contract_functions as remote

import actorsys
from actorsys.buffers.device_holding import MAX_MARKS

DEVICE = "cuda:0"


async def test_who_has_no_device_hands_a_buffer_on_as_often_as_it_likes() -> None:
    async with actorsys.open_nursery() as nursery:
        modules = [remote.__name__, "fake_gpu"]
        workers = [await nursery.start_actor(name, modules=modules) for name in ("one", "two")]
        buffer = await workers[0].run(remote.make_kept, 1000, DEVICE, 0.0)
        for worker in workers:
            await worker.run(remote.keep, buffer)
        for number in range(MAX_MARKS + 2):
            await workers[number % 2].run(remote.add, buffer, 1.0)
        assert await workers[0].run(remote.sum_of, buffer) == 1000.0 * (MAX_MARKS + 2)
        await nursery.cancel()
