"""An array on the host and on a device: copied when needed, counted, given back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import trio

import actorsys
from actorsys import (
    BufferPoolFull,
    BufferReleased,
    BufferState,
    DeviceUnavailable,
    Limits,
    NoRuntime,
    NotShareable,
    UnifiedBuffer,
    get_memory_pool,
)
from actorsys.devices import add_device, find_device, remove_device
from actorsys.testing import fake_cuda


class FakeDevice:
    """A device whose memory is that of NumPy; it notes what is done."""

    name = "cuda:0"

    def __init__(self) -> None:
        self.done: list[str] = []
        self.pinned: set[int] = set()

    def upload(self, array: Any) -> Any:
        self.done.append("upload")
        return array.copy()

    def update(self, on_device: Any, array: Any) -> None:
        self.done.append("update")
        on_device[...] = array

    def download(self, on_device: Any, array: Any) -> None:
        self.done.append("download")
        array[...] = on_device

    def pin(self, address: int, size: int) -> None:
        self.pinned.add(address)

    def unpin(self, address: int) -> None:
        self.pinned.remove(address)


@pytest.fixture
def device() -> Iterator[FakeDevice]:
    """A device in place of the GPU."""
    fake = FakeDevice()
    add_device(fake)
    yield fake
    remove_device(fake.name)


async def test_nothing_is_copied_before_it_is_asked_for(device: FakeDevice) -> None:
    async with actorsys.open_nursery():
        buffer = UnifiedBuffer((4,), np.float32)
        assert buffer.state is BufferState.UNINITIALIZED
        buffer.copy_from([1, 2, 3, 4])
        assert (buffer.state, device.done) == (BufferState.HOST_ONLY, [])
        assert buffer.device.tolist() == [1, 2, 3, 4]
        assert (buffer.state, device.done) == (BufferState.SYNCHRONIZED, ["upload"])
        assert buffer.device.tolist() == [1, 2, 3, 4]
        assert buffer.host.tolist() == [1, 2, 3, 4]
        assert device.done == ["upload"]
        buffer.release()


async def test_each_side_gets_what_the_other_has_written(device: FakeDevice) -> None:
    async with actorsys.open_nursery():
        buffer = UnifiedBuffer((2,), "f8")
        assert not buffer.device.any()
        with buffer.write_device() as on_device:
            on_device[:] = 5
        assert buffer.state is BufferState.DEVICE_DIRTY
        assert buffer.host.tolist() == [5, 5]
        assert buffer.state is BufferState.SYNCHRONIZED
        with buffer.write_host() as on_host:
            on_host[0] = 7
        assert buffer.state is BufferState.HOST_DIRTY
        assert buffer.device.tolist() == [7, 5]
        assert device.done == ["upload", "download", "update"]
        target = np.zeros(2)
        buffer.copy_to(target)
        assert target.tolist() == [7, 5]
        del on_host
        buffer.release()


async def test_what_the_device_has_as_well_is_not_changed_by_the_way(device: FakeDevice) -> None:
    async with actorsys.open_nursery():
        buffer = UnifiedBuffer((2,))
        buffer.host[:] = 1
        assert buffer.device.tolist() == [1, 1]
        with pytest.raises(ValueError, match="read-only"):
            buffer.host[0] = 2
        buffer.release()


async def test_a_device_has_nothing_to_mark_before_it_was_asked_for() -> None:
    async with actorsys.open_nursery():
        buffer = UnifiedBuffer((2,))
        with pytest.raises(ValueError, match="ask for `device`"):
            buffer.mark_device_dirty()
        buffer.release()


async def test_pinned_memory_is_let_go_with_the_buffer(device: FakeDevice) -> None:
    async with actorsys.open_nursery():
        buffer = UnifiedBuffer((2,), pinned=True)
        assert len(device.pinned) == 1
        buffer.release()
        assert not device.pinned


async def test_nothing_stands_in_for_a_gpu() -> None:
    async with actorsys.open_nursery():
        pool = get_memory_pool()
        buffer = pool.acquire((2,))
        buffer.copy_from([1, 2])
        with pytest.raises(DeviceUnavailable, match=r"cupy-cuda12x|no GPU"):
            _ = buffer.device
        assert buffer.device_or_host().tolist() == [1, 2]
        with pytest.raises(DeviceUnavailable):
            pool.acquire((2,), pinned=True)
        pool.release(buffer)


@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:", "cuda:x", "cpu", ""])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match="cuda:0"):
        find_device(name)


async def test_memory_is_used_again_and_counted() -> None:
    async with actorsys.open_nursery():
        pool = get_memory_pool()
        assert get_memory_pool() is pool
        for number in range(5):
            buffer = pool.acquire((1000,), "f8")
            assert not buffer.host.any()
            buffer.copy_from(np.full(1000, number))
            pool.release(buffer)
        counts = pool.statistics()
        assert (counts.in_use, counts.peak, counts.acquired, counts.reused) == (0, 1, 5, 4)


async def test_a_buffer_is_given_back_once_and_not_used_after_that() -> None:
    async with actorsys.open_nursery():
        pool = get_memory_pool()
        buffer = pool.acquire((2,))
        pool.release(buffer)
        for use in (lambda: pool.release(buffer), lambda: buffer.host, lambda: buffer.device):
            with pytest.raises(BufferReleased):
                use()
        assert pool.statistics().in_use == 0


async def test_a_full_pool_refuses_or_makes_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with actorsys.open_nursery(limits=Limits(max_buffer_bytes=8192)):
        pool = get_memory_pool()
        buffer = pool.acquire((1000,), "f8")
        with pytest.raises(BufferPoolFull, match="max_buffer_bytes"):
            pool.acquire((1000,), "f8")
        has_waited = False

        async def release_later() -> None:
            nonlocal has_waited
            await trio.sleep(10)
            has_waited = True
            pool.release(buffer)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(release_later)
            async with pool.lease((1000,), "f8") as leased:
                assert has_waited
                assert leased.shape == (1000,)
        with pytest.raises(BufferPoolFull):
            async with pool.lease((10_000,), "f8"):
                pass
        assert pool.statistics().in_use == 0


async def test_bad_wishes_are_refused() -> None:
    async with actorsys.open_nursery():
        with pytest.raises(NotShareable):
            UnifiedBuffer((2,), object)
        buffer = UnifiedBuffer((2, 3))
        with pytest.raises(ValueError, match="shape"):
            buffer.copy_from([1, 2])
        buffer.release()


async def test_there_is_no_pool_without_an_actor() -> None:
    with pytest.raises(NoRuntime):
        get_memory_pool()
    with pytest.raises(NoRuntime):
        UnifiedBuffer((2,))


async def test_its_host_memory_can_be_handed_over() -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=["unified_functions"])
        buffer = UnifiedBuffer((4,), "f8")
        buffer.copy_from([1, 2, 3, 4])
        assert await portal.run("unified_functions:double", buffer.buffer) == 20
        assert buffer.host.tolist() == [2, 4, 6, 8]
        assert await portal.run("unified_functions:total", buffer.id) == 20
        buffer.release()
        await portal.cancel_actor()


async def test_a_unified_buffer_is_on_the_gpu_that_the_runtime_has() -> None:
    runtime = fake_cuda.install()
    async with actorsys.open_nursery():
        buffer = UnifiedBuffer((3,), "f4", pinned=True)
        buffer.copy_from([1, 2, 3])
        with buffer.write_device() as array:
            array *= 2.0
        assert buffer.host.tolist() == [2, 4, 6]
        with buffer.write_host() as array:
            array[0] = 7
        assert buffer.device.tolist() == [7, 4, 6]
        del array
        buffer.release()
        del buffer
    assert (runtime.used_bytes, runtime.broken) == (0, [])
    fake_cuda.uninstall(runtime)
