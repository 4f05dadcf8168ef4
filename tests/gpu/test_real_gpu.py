"""What only a GPU can show: order against real work, what its driver refuses, what comes back."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import gpu_functions as remote
import pytest
import trio

import actorsys
from actorsys import Portal, open_buffer
from actorsys.cuda import Gpu
from actorsys.errors import DeviceUnavailable
from actorsys.limits import MIB

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(60)]

HAND_OVERS = 5000
SLACK_BYTES = 64 * MIB
"""What a context of CUDA may take more or less meanwhile."""


@asynccontextmanager
async def open_worker() -> AsyncIterator[Portal]:
    async with actorsys.open_nursery() as nursery:
        yield await nursery.start_actor("worker", modules=[remote.__name__])
        await nursery.cancel()


def free_bytes(gpu: Gpu) -> int:
    gc.collect()
    with gpu.runtime.on(gpu.number):
        return gpu.runtime.memory_info()[0]


async def test_cuda_refuses_to_open_ones_own_memory(gpu: Gpu) -> None:
    with gpu.runtime.on(gpu.number):
        pointer = gpu.runtime.malloc(2 * MIB)
        with pytest.raises(DeviceUnavailable):
            gpu.runtime.open_memory(gpu.runtime.export_memory(pointer))
        gpu.runtime.free(pointer)


async def test_cuda_refuses_to_export_memory_of_an_asynchronous_pool(gpu: Gpu) -> None:
    import cupy

    with gpu.runtime.on(gpu.number):
        pointer = cupy.cuda.runtime.mallocAsync(2 * MIB, 0)
        with pytest.raises(DeviceUnavailable):
            gpu.runtime.export_memory(pointer)
        cupy.cuda.runtime.freeAsync(pointer, 0)


async def test_slow_work_that_was_queued_comes_first(gpu: Gpu) -> None:
    import cupy

    async with open_worker() as worker:
        async with open_buffer(MIB, "u1", device="cuda:0") as buffer:
            for value in range(1, 6):  # the first maps it, the others find it mapped
                array = buffer.array()
                remote.occupy(cupy)
                cupy.cuda.runtime.memsetAsync(array.data.ptr, value, array.nbytes, 0)
                assert await worker.run(remote.first_byte, buffer) == value
    remote.kept.clear()


async def test_slow_work_of_who_hands_it_back_comes_first(gpu: Gpu) -> None:
    async with open_worker() as worker:
        async with open_buffer(MIB, "u1", device="cuda:0") as buffer:
            for value in range(1, 6):
                assert await worker.run(remote.fill_slowly, buffer, value) is buffer
                assert int(buffer.array()[:1].get()[0]) == value


async def test_who_does_not_wait_reads_old_bytes(gpu: Gpu) -> None:
    """The tests above are worth something: without marks they fail."""
    import cupy

    async with open_worker() as worker:
        async with open_buffer(MIB, "u1", device="cuda:0") as buffer:
            assert await worker.run(remote.first_byte, buffer) == 0
            await worker.run(remote.forget_to_wait)
            remote.occupy(cupy, 2000)
            array = buffer.array()
            cupy.cuda.runtime.memsetAsync(array.data.ptr, 9, array.nbytes, 0)
            assert await worker.run(remote.first_byte, buffer) == 0
    remote.kept.clear()


@pytest.mark.parametrize("allocator", ["malloc_async", "malloc_managed"])
async def test_what_cannot_be_exported_is_adopted(gpu: Gpu, allocator: str) -> None:
    import cupy

    async with open_worker() as worker:
        with cupy.cuda.using_allocator(getattr(cupy.cuda, allocator)):
            array = cupy.asarray([7] * 1000, "u1")
        with pytest.raises(actorsys.NotShareable, match="adopt"):
            async with open_buffer(1, "u1", device="cuda:0"):
                await worker.run(remote.first_byte, array)
        async with await actorsys.adopt(array) as buffer:
            assert await worker.run(remote.first_byte, buffer) == 7


async def test_other_libraries_see_the_same_memory(gpu: Gpu) -> None:
    torch = pytest.importorskip("torch")
    async with actorsys.open_nursery():
        async with open_buffer(10, "f4", device="cuda:0") as buffer:
            tensor = torch.from_dlpack(buffer)
            assert tensor.data_ptr() == buffer.array().data.ptr
            tensor.fill_(3)
            torch.cuda.synchronize()
            assert buffer.array().get().tolist() == [3] * 10
            del tensor


async def test_memory_returns_after_an_importer_was_killed(gpu: Gpu) -> None:
    before = free_bytes(gpu)
    async with actorsys.open_nursery() as nursery:
        mortal = await nursery.start_actor("mortal", modules=[remote.__name__])
        async with open_buffer(512 * MIB, "u1", device="cuda:0") as buffer:
            await mortal.run(remote.keep, buffer)
            with pytest.raises(actorsys.ActorDied):
                await mortal.run(remote.die)
        await wait_free(gpu, before - SLACK_BYTES)


async def wait_free(gpu: Gpu, least: int) -> None:
    with trio.fail_after(10):
        while free_bytes(gpu) < least:
            await trio.sleep(0.1)


async def test_many_hand_overs_take_no_memory(gpu: Gpu) -> None:
    async with open_worker() as worker:
        before: Any = None
        for number in range(HAND_OVERS):
            async with open_buffer(1000, "u1", device="cuda:0") as buffer:
                assert await worker.run(remote.first_byte, buffer) == 0
            if number == 100:
                before = free_bytes(gpu)
        assert free_bytes(gpu) >= before - SLACK_BYTES
