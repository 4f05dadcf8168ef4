"""Each part of what device memory needs is needed: without one, the fake device tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import broken_devices
import contract_functions as remote
import pytest
import trio

import actorsys
from actorsys import Limits, Portal, open_buffer
from actorsys.limits import KIB
from actorsys.testing import fake_cuda
from actorsys.testing.fake_cuda import FakeCuda

MODULES = [remote.__name__, "fake_gpu", broken_devices.__name__]
COUNT = 10_000
ONE_BUFFER = Limits(max_buffer_bytes=64 * KIB)


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    runtime = fake_cuda.install()
    yield runtime
    fake_cuda.uninstall(runtime)


@asynccontextmanager
async def open_worker(limits: Limits | None = None) -> AsyncIterator[Portal]:
    async with actorsys.open_nursery(limits=limits) as nursery:
        yield await nursery.start_actor("worker", modules=MODULES)
        await nursery.cancel()


async def test_who_does_not_wait_reads_old_bytes(fake: FakeCuda) -> None:
    async with open_worker() as worker:
        await worker.run(broken_devices.forget_to_wait)
        async with open_buffer(COUNT, "f4", device="cuda:0") as buffer:
            buffer.array()[:] = 1.0
            assert await worker.run(remote.sum_of, buffer) == 0
            fake.synchronize()
            buffer.array()[:] = 2.0  # and so it is with what was mapped before
            assert await worker.run(remote.sum_of, buffer) == COUNT


async def test_who_gives_back_what_he_still_works_on_is_found_out(fake: FakeCuda) -> None:
    with pytest.raises(ExceptionGroup):
        async with open_worker(ONE_BUFFER) as worker:
            await worker.run(broken_devices.forget_to_synchronize)
            for _ in range(2):
                async with open_buffer(COUNT, "f4", device="cuda:0") as buffer:
                    await worker.run(remote.add_unfinished, buffer, 1.0)
                    del buffer
    assert "before work of process" in fake.broken[0]


async def test_who_maps_a_slab_twice_is_found_out(fake: FakeCuda) -> None:
    async with open_worker() as worker:
        await worker.run(broken_devices.forget_to_count)
        async with open_buffer(COUNT, "f4", device="cuda:0") as buffer:
            async with open_buffer(COUNT, "f4", device="cuda:0") as second:
                await worker.run(remote.keep, buffer)
                await worker.run(remote.sum_of, buffer)
                with pytest.raises(AssertionError, match="opened twice"):
                    await worker.run(remote.sum_of, second)


async def test_who_frees_what_others_have_mapped_is_found_out(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actorsys.cuda import find_gpu
    from actorsys.cuda.slabs import Slab

    async with open_worker() as worker:
        async with open_buffer(COUNT, "f4", device="cuda:0") as buffer:
            await worker.run(remote.sum_of, buffer)
        pool = actorsys.current_actor().buffers.devices.pool("cuda:0")
        with trio.fail_after(5):
            while actorsys.current_actor().buffers.statistics().own:
                await trio.sleep(0.005)
        monkeypatch.setattr(Slab, "is_free", property(lambda slab: slab.parts.is_unused))
        with pytest.raises(fake_cuda.CudaRuleBroken, match="mapped"):
            pool.close()
            find_gpu("cuda:0").tidy()
