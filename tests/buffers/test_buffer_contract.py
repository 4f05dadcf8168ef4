"""What a buffer is, on the host and on a GPU: one suite that both pass.

The fake device enforces the rules of CUDA, and does no work before somebody waits for it. On a real
GPU the same tests run with `scripts/test-gpu`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import contract_functions as remote
import pytest
import trio
from buffer_helpers import wait_process_gone
from tree_helpers import noting

import actorsys
from actorsys import Buffer, BufferReleased, Limits, Portal, current_actor, open_buffer
from actorsys.cuda import find_gpu, find_runtime
from actorsys.errors import DeviceUnavailable
from actorsys.limits import KIB, MIB
from actorsys.testing import fake_cuda

pytestmark = pytest.mark.timeout(60)

COUNT = 10_000
HAND_OVERS = 400
"""So many are enough to see growth; `scripts/chaos buffers` does many more."""


@dataclass(frozen=True)
class Place:
    """Where buffers are, and what actors offer for that."""

    device: str
    modules: list[str]

    @property
    def is_gpu(self) -> bool:
        return self.device != "cpu"

    def open(self, count: int = COUNT) -> Any:
        return open_buffer(count, "f4", device=self.device)


def _host() -> Iterator[Place]:
    yield Place("cpu", [remote.__name__])


def _fake() -> Iterator[Place]:
    fake = fake_cuda.install()
    yield Place("cuda:0", [remote.__name__, "fake_gpu"])
    gc.collect()
    assert (fake.broken, fake.used_bytes, fake.mapped_bytes) == ([], 0, 0)
    fake_cuda.uninstall(fake)


def _gpu() -> Iterator[Place]:
    try:
        find_gpu("cuda:0")
    except DeviceUnavailable as error:
        pytest.skip(str(error))
    yield Place("cuda:0", [remote.__name__])
    gc.collect()
    assert find_gpu("cuda:0").slab_bytes == 0


PLACES = {"host": _host, "fake": _fake, "gpu": _gpu}


@pytest.fixture(params=["host", "fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from PLACES[request.param]()


@pytest.fixture(params=["fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def gpu_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from PLACES[request.param]()


@asynccontextmanager
async def open_workers(
    place: Place, *names: str, limits: Limits | None = None
) -> AsyncIterator[tuple[Portal, ...]]:
    async with actorsys.open_nursery(limits=limits) as nursery:
        yield tuple([await nursery.start_actor(name, modules=place.modules) for name in names])
        await nursery.cancel()


async def wait_quiet(*portals: Portal) -> None:
    """Wait until no buffer is used or lent, here and in *portals*."""
    quiet = {"own": 0, "borrowed": 0, "pending": 0, "accepted": 0}
    with trio.fail_after(5):
        for portal in portals:
            while not quiet.items() <= (await portal.run(remote.statistics)).items():
                await trio.sleep(0.005)
        while not quiet.items() <= (await remote.statistics()).items():
            await trio.sleep(0.005)


async def wait_baseline(place: Place, portal: Portal) -> None:
    """Wait until nothing of a device is mapped or used any more, but for what rests."""
    await wait_quiet(portal)
    if place.is_gpu:
        with trio.fail_after(5):
            while (await portal.run(remote.device_use))[:2] != [0, 0]:
                await trio.sleep(0.05)
        assert (await portal.run(remote.device_use))[2] == []


# --- the same memory ---------------------------------------------------------------------------


async def test_each_side_sees_what_the_other_writes(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        async with place.open() as buffer:
            assert remote.total(buffer) == 0
            buffer.array()[:] = 3.0
            assert await worker.run(remote.add_and_wait, buffer, 1.0) == 4 * COUNT
            assert remote.total(buffer) == 4 * COUNT
        await wait_baseline(place, worker)


async def test_the_owner_can_be_on_the_other_side(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        buffer = await worker.run(remote.make_kept, COUNT, place.device, 2.0)
        assert not buffer.is_own
        assert buffer.device == place.device
        array = buffer.array()
        array += 1.0
        assert await worker.run(remote.sum_of, buffer) == 3 * COUNT
        del array
        await buffer.release()
        await worker.run(remote.drop)
        await wait_quiet(worker)


async def test_what_comes_home_is_what_was_opened(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        async with place.open() as buffer:
            assert await worker.run(remote.echo, buffer) is buffer


async def test_many_buffers_are_told_apart(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        buffers = [remote.new_buffer(COUNT, place.device, n + 1.0) for n in range(10)]
        expected = [COUNT * (n + 1.0) for n in range(10)]
        assert await worker.run(remote.sums_of, buffers) == expected
        if place.is_gpu:
            own, mapped, _ = await worker.run(remote.device_use)
            assert (own, mapped) == (0, 1)
        buffers.clear()
        await wait_baseline(place, worker)


async def test_it_is_handed_on_from_one_to_the_next(place: Place) -> None:
    async with open_workers(place, "middle") as (middle,):
        async with place.open() as buffer:
            async with middle.open_context(remote.relay, place.modules) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for number in range(3):
                        await stream.send(buffer)
                        assert await stream.receive() is buffer
                        assert remote.values(buffer) == {number + 1.0}
        await wait_baseline(place, middle)


async def test_a_new_buffer_is_zeros_whatever_its_memory_was(place: Place) -> None:
    limits = Limits(max_buffer_bytes=64 * KIB)
    async with open_workers(place, "worker", limits=limits) as (worker,):
        for _ in range(3):
            async with place.open() as buffer:
                assert remote.values(buffer) == {0.0}
                assert await worker.run(remote.add_and_wait, buffer, 1.0) == COUNT


# --- its end -----------------------------------------------------------------------------------


async def test_what_was_released_is_not_used(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        async with place.open() as buffer:
            await buffer.release()
            await buffer.release()
            for use in (buffer.array, buffer.memoryview, lambda: buffer.__dlpack__()):
                with pytest.raises(BufferReleased):
                    use()
            with pytest.raises(BufferReleased):
                await worker.run(remote.echo, buffer)


async def test_the_name_of_what_was_released_names_nothing_else(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        async with place.open() as buffer:
            name = buffer.id
            assert await worker.run(remote.resolve_fault, name) == "none"
        await wait_quiet(worker)
        async with place.open() as second:
            assert second.id != name
            assert await worker.run(remote.resolve_fault, name) == "StaleBuffer"


async def test_who_opens_too_much_waits_until_others_release(place: Place) -> None:
    limits = Limits(max_buffer_bytes=64 * KIB)
    async with open_workers(place, "worker", limits=limits) as (worker,):
        async with place.open() as buffer:
            await worker.run(remote.keep_array, buffer)
        with trio.move_on_after(0.05) as waiting:
            async with place.open():
                pass
        assert waiting.cancelled_caught
        await worker.run(remote.drop)
        with trio.fail_after(5):
            async with place.open() as buffer:
                assert remote.total(buffer) == 0
        with pytest.raises(actorsys.BufferPoolFull):
            async with place.open(MIB):
                pass


async def test_hand_overs_leave_nothing_behind(place: Place) -> None:
    async with open_workers(place, "worker") as (worker,):
        fds = len(os.listdir("/proc/self/fd"))
        for number in range(HAND_OVERS):
            buffer = remote.new_buffer(100, place.device)
            array = buffer.array()
            array[:] = number
            assert await worker.run(remote.add_and_wait, buffer, 1.0) == 100 * (number + 1)
            del array, buffer
        # Those that are at rest for the next buffers have one each: as many as were under way.
        with trio.fail_after(5):
            while len(os.listdir("/proc/self/fd")) >= fds + HAND_OVERS // 2:
                await trio.sleep(0.01)
        await wait_baseline(place, worker)
        assert current_actor().buffers.statistics().handed_over == HAND_OVERS


# --- the ends of others ------------------------------------------------------------------------

ONE_BUFFER = Limits(max_buffer_bytes=64 * KIB)
"""Room for one buffer, and not for two."""


async def test_memory_comes_back_from_an_importer_that_dies(place: Place) -> None:
    async with actorsys.open_nursery(limits=ONE_BUFFER) as nursery:
        for step in ("decoded", "mapped", "written", "let go", "answered"):
            mortal = await nursery.start_actor("mortal", modules=place.modules)
            with noting(step), trio.fail_after(5):
                async with place.open() as buffer:
                    assert remote.values(buffer) == {0.0}
                    await die_at(mortal, step, buffer)
                async with place.open() as buffer:
                    assert remote.values(buffer) == {0.0}
                await wait_quiet()


async def die_at(mortal: Portal, step: str, buffer: Buffer) -> None:
    if step == "answered":
        assert await mortal.run(remote.die, step, buffer) is buffer
        await _expect_death(mortal.run(remote.hang))
    else:
        await _expect_death(mortal.run(remote.die, step, buffer))


async def _expect_death(call: Any) -> None:
    with pytest.raises(actorsys.ActorDied):
        await call


@pytest.mark.parametrize("is_mapped", [True, False], ids=["mapped", "unmapped"])
async def test_a_buffer_is_lost_with_its_owner(place: Place, is_mapped: bool) -> None:
    async with actorsys.open_nursery() as nursery:
        mortal = await nursery.start_actor("mortal", modules=place.modules)
        buffer = await mortal.run(remote.make_kept, COUNT, place.device, 1.0)
        if is_mapped:
            assert remote.total(buffer) == COUNT
        await kill(mortal)
        with trio.fail_after(5):  # `scripts/chaos buffers` measures how long it takes
            while not await is_lost(buffer):
                await trio.sleep(0.001)
        with pytest.raises(actorsys.BufferLost):
            await (await nursery.start_actor("other", modules=place.modules)).run(
                remote.echo, buffer
            )
        await buffer.release()
        await wait_quiet()
        if place.is_gpu:
            await wait_unmapped()
        await nursery.cancel()


async def is_lost(buffer: Buffer) -> bool:
    try:
        buffer.array()
    except actorsys.BufferLost:
        return True
    return False


async def kill(portal: Portal) -> None:
    """End the process of *portal* while somebody waits for it; return when it has ended."""
    assert portal.pid is not None
    pidfd = os.pidfd_open(portal.pid)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(_expect_death, portal.run(remote.hang))
        await trio.sleep(0)
        os.kill(portal.pid, signal.SIGKILL)
        await wait_process_gone(pidfd)


async def wait_unmapped() -> None:
    with trio.fail_after(5):
        while (await remote.device_use())[1]:
            await trio.sleep(0.05)


# --- order, on a device ------------------------------------------------------------------------


async def test_work_that_was_queued_before_comes_first(gpu_place: Place) -> None:
    async with open_workers(gpu_place, "worker") as (worker,):
        async with gpu_place.open() as buffer:
            for number in range(5):  # one mapping, and a mark for each hand-over
                buffer.array()[:] = number
                assert await worker.run(remote.sum_of, buffer) == number * COUNT


async def test_work_of_who_hands_it_back_comes_first(gpu_place: Place) -> None:
    async with open_workers(gpu_place, "worker") as (worker,):
        async with gpu_place.open() as buffer:
            for number in range(5):
                assert await worker.run(remote.add, buffer, 1.0) is buffer
                assert remote.values(buffer) == {number + 1.0}


@pytest.mark.parametrize("function", ["add_unfinished", "add_and_release"])
async def test_memory_is_used_again_after_the_work_on_it(gpu_place: Place, function: str) -> None:
    async with open_workers(gpu_place, "worker", limits=ONE_BUFFER) as (worker,):
        for _ in range(5):
            async with gpu_place.open() as buffer:
                assert remote.values(buffer) == {0.0}
                await worker.run(getattr(remote, function), buffer, 1.0)


async def test_what_the_owner_has_queued_is_done_before_its_memory_is_used_again(
    gpu_place: Place,
) -> None:
    async with open_workers(gpu_place, "worker", limits=ONE_BUFFER):
        for _ in range(5):
            async with gpu_place.open() as buffer:
                array = buffer.array()
                array += 1.0
                del array


async def test_an_array_on_a_device_is_refused_with_advice(gpu_place: Place) -> None:
    async with open_workers(gpu_place, "worker") as (worker,):
        async with gpu_place.open() as buffer:
            with pytest.raises(actorsys.NotShareable, match=r"actorsys\.adopt"):
                await worker.run(remote.echo, buffer.array())
            adopted = await actorsys.adopt(buffer.array())
            assert adopted.device == gpu_place.device
            assert await worker.run(remote.add_and_wait, adopted, 2.0) == 2 * COUNT
            assert remote.total(buffer) == 0
            await adopted.release()


async def test_the_host_is_told_that_it_does_not_reach_there(gpu_place: Place) -> None:
    import numpy

    async with open_workers(gpu_place):
        async with gpu_place.open() as buffer:
            for reach in (buffer.memoryview, lambda: numpy.asarray(buffer)):
                with pytest.raises(actorsys.NotReachable, match="get"):
                    reach()
            with pytest.raises(actorsys.BufferFault, match="on the host can be frozen"):
                buffer.freeze()
            interface = buffer.__cuda_array_interface__
            assert interface["shape"] == (COUNT,)
            assert buffer.__dlpack_device__() == (2, 0)


async def test_what_is_on_the_host_has_no_interface_of_a_device() -> None:
    async with actorsys.open_nursery():
        async with open_buffer(3, "f4") as buffer:
            assert not hasattr(buffer, "__cuda_array_interface__")


@pytest.mark.parametrize("dtype", ["S3", "M8[s]", ">f4", "g", [("a", "f4")]], ids=str)
async def test_what_no_device_computes_with_is_refused(gpu_place: Place, dtype: Any) -> None:
    async with open_workers(gpu_place):
        with pytest.raises(actorsys.NotShareable, match="float32"):
            async with open_buffer(3, dtype, device=gpu_place.device):
                pass


async def test_a_device_that_has_no_room_says_so(gpu_place: Place) -> None:
    async with open_workers(gpu_place, limits=Limits(max_buffer_bytes=2**50)):
        with pytest.raises(actorsys.DeviceOutOfMemory, match="no room"):
            async with gpu_place.open(2**44):
                pass
        async with gpu_place.open(10) as buffer:
            assert remote.total(buffer) == 0


async def test_an_array_is_adopted_as_it_lies(place: Place) -> None:
    import numpy

    async with open_workers(place, "worker") as (worker,):
        values: Any = numpy.arange(6, dtype="f4").reshape(2, 3)
        if place.is_gpu:
            values = find_runtime().upload(values)
        async with await actorsys.adopt(values) as buffer:
            assert (buffer.shape, buffer.device) == ((2, 3), place.device)
            assert await worker.run(remote.sum_of, buffer) == 15
