"""Buffers on devices that fail, are full, or are others elsewhere; and odd arrays on them."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import contract_functions as remote
import numpy as np
import pytest
import trio
import trio.testing
from buffer_helpers import outcome

import actorsys
from actorsys import Limits, Portal, current_actor, open_buffer
from actorsys.buffers.device_holding import MAX_MARKS, DeviceHolding
from actorsys.buffers.layout import Layout
from actorsys.cuda import Gpu, find_gpu, find_runtime
from actorsys.errors import DeviceOutOfMemory, DeviceUnavailable
from actorsys.limits import KIB, MIB
from actorsys.testing import cancel_at_every_step, fake_cuda
from actorsys.testing.fake_cuda import FakeCuda

MODULES = [remote.__name__, "fake_gpu"]
DEVICE = "cuda:0"
COUNT = 1000
NO_PID = 2**22 + 1  # above the largest that Linux gives


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    runtime = fake_cuda.install(devices=2, memory_bytes=192 * MIB)
    yield runtime
    gc.collect()
    assert (runtime.broken, runtime.used_bytes, runtime.mapped_bytes) == ([], 0, 0)
    fake_cuda.uninstall(runtime)


@asynccontextmanager
async def open_worker(*modules: str, limits: Limits | None = None) -> AsyncIterator[Portal]:
    async with actorsys.open_nursery(limits=limits) as nursery:
        yield await nursery.start_actor("worker", modules=[*(modules or MODULES)])
        await nursery.cancel()


def failing(error: Exception) -> Any:
    def fail(*args: Any) -> Any:
        raise error

    return fail


def counts() -> dict[str, int]:
    return current_actor().buffers.statistics()._asdict()


def is_used(counted: dict[str, int]) -> bool:
    return any(counted[name] for name in ("own", "borrowed", "pending", "accepted"))


async def wait_given_back() -> None:
    with trio.fail_after(5):
        while is_used(counts()):
            await trio.sleep(0.005)


# --- its end -----------------------------------------------------------------------------------


async def test_release_waits_for_no_work_that_came_later(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would never end, where others let go of buffers all the time."""
    turns = [threading.Event(), threading.Event()]
    left = list(turns)
    synchronize = Gpu.synchronize

    def wait_for_turn(gpu: Gpu) -> None:
        if left:
            left.pop(0).wait(20)
        synchronize(gpu)

    monkeypatch.setattr(Gpu, "synchronize", wait_for_turn)
    async with actorsys.open_nursery():
        first, second = (remote.new_buffer(COUNT, DEVICE, 1.0) for _ in range(2))
        try:
            with trio.fail_after(5):
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(first.release)
                    await trio.testing.wait_all_tasks_blocked()
                    second.release_nowait()
                    await trio.testing.wait_all_tasks_blocked()
                    turns[0].set()
            assert counts()["own"] == 1
        finally:
            for turn in turns:
                turn.set()
        await wait_given_back()


async def test_a_device_that_fails_ends_no_actor(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(max_resting_buffer_bytes=1)
    async with actorsys.open_nursery(limits=limits):
        buffer = remote.new_buffer(COUNT, DEVICE, 1.0)
        fake.synchronize()
        with monkeypatch.context() as patch:
            for name in ("free", "synchronize", "record"):
                patch.setattr(fake, name, failing(DeviceUnavailable("status 700")))
            await buffer.release()
            assert counts()["own"] == 0
    assert "status 700" in caplog.text
    for base in list(fake._allocations):
        fake.free(base)


async def test_what_could_not_be_marked_was_not_lent(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_worker() as worker:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            with monkeypatch.context() as patch:
                patch.setattr(fake, "record", failing(DeviceUnavailable("status 700")))
                with pytest.raises(DeviceUnavailable):
                    await worker.run(remote.echo, buffer)
            assert (counts()["pending"], counts()["handed_over"]) == (0, 0)
            assert await worker.run(remote.echo, buffer) is buffer
        await wait_given_back()


# --- odd arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [0, (3, 0), (), (1, 1)], ids=str)
async def test_odd_shapes_travel(fake: FakeCuda, shape: Any) -> None:
    async with open_worker() as worker:
        async with open_buffer(shape, "f4", device=DEVICE) as buffer:
            assert await worker.run(remote.add, buffer, 1.0) is buffer
            assert float(buffer.array().sum()) == np.ones(shape).sum()
            assert await worker.run(remote.sum_of, buffer) == np.ones(shape).sum()


async def test_an_array_with_gaps_is_adopted_where_it_is(fake: FakeCuda) -> None:
    async with open_worker() as worker:
        with fake.on(1):
            array = find_runtime().upload(np.arange(24, dtype="f4").reshape(4, 6))
        for part, values in ((array[::2, ::3], [0, 3, 12, 15]), (array[::-1, 0], [18, 12, 6, 0])):
            async with await actorsys.adopt(part) as buffer:
                assert buffer.device == "cuda:1"
                with fake.on(1):
                    assert buffer.array().get().ravel().tolist() == values
                assert await worker.run(remote.device_name, buffer) == "cuda:FAKE-1"
        del part, array


async def test_one_message_brings_a_buffer_twice(fake: FakeCuda) -> None:
    async with open_worker() as worker:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            assert await worker.run(remote.sums_of, [buffer, buffer]) == [COUNT, COUNT]
        theirs = await worker.run(remote.twice, COUNT, DEVICE)
        assert [remote.total(one) for one in theirs] == [COUNT, COUNT]
        del theirs
        await wait_given_back()


async def test_the_interface_can_be_asked_for_again(fake: FakeCuda) -> None:
    first, again = await ask_for_the_interface_twice()
    assert again == first


async def ask_for_the_interface_twice() -> list[Any]:
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            return [outcome(lambda: buffer.__cuda_array_interface__["data"]) for _ in range(2)]


# --- other devices -----------------------------------------------------------------------------


async def test_a_device_is_known_whatever_its_number_is(fake: FakeCuda) -> None:
    async with open_worker(remote.__name__, "swapped_devices") as worker:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            assert await worker.run(remote.device_name, buffer) == "cuda:1"
            assert await worker.run(remote.add, buffer, 1.0) is buffer
            assert remote.values(buffer) == {2.0}
        theirs = await worker.run(remote.make, COUNT, "cuda:0", 3.0)
        assert theirs.device == "cuda:1"
        assert remote.total(theirs) == 3 * COUNT
        await theirs.release()


async def test_work_is_ordered_though_another_device_is_the_current_one(fake: FakeCuda) -> None:
    async with open_worker(remote.__name__, "swapped_devices") as worker:
        async with open_buffer(COUNT, "f4", device="cuda:1") as buffer:
            for number in range(3):
                array = buffer.array()
                array += 1.0  # on cuda:0, as in the worker, where it is the device of the buffer
                assert await worker.run(remote.add, buffer, 1.0) is buffer
                assert remote.values(buffer) == {2.0 * (number + 1)}
                del array
            with fake.on(1):
                assert remote.values(buffer) == {6.0}


async def test_threads_work_on_a_device(fake: FakeCuda) -> None:
    async with open_worker() as worker:
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            async with trio.open_nursery() as tasks:
                for _ in range(4):
                    tasks.start_soon(worker.run, remote.add_in_thread, buffer, 1.0)
            assert remote.total(buffer) == 4 * COUNT


def test_marks_of_processes_that_have_ended_are_not_handed_on() -> None:
    block: Any = SimpleNamespace(address=None)
    unused: Any = None
    holding = DeviceHolding(block, Layout(3, "f4"), unused, unused, unused, unused, unused)
    for begin in (0, MAX_MARKS):
        ended = [[NO_PID, bytes([begin + number] * 64)] for number in range(MAX_MARKS)]
        holding.put_after(ended)
    holding.put_after([[os.getpid(), bytes(64)]])
    assert holding.order() == [[os.getpid(), bytes(64)]]


# --- room --------------------------------------------------------------------------------------


async def test_what_has_no_room_takes_none(fake: FakeCuda) -> None:
    async with open_worker():
        async with open_buffer(64 * MIB, "u1", device=DEVICE):
            async with open_buffer(64 * MIB, "u1", device=DEVICE):
                for _ in range(3):
                    with pytest.raises(DeviceOutOfMemory):
                        async with open_buffer(128 * MIB, "u1", device=DEVICE):
                            pass
                assert fake.used_bytes == 128 * MIB
                assert counts()["device_bytes"] == 128 * MIB
        async with open_buffer(128 * MIB, "u1", device=DEVICE):
            pass


async def test_one_opens_a_buffer_again_and_again_in_the_room_of_one(fake: FakeCuda) -> None:
    limits = Limits(max_buffer_bytes=64 * KIB, max_resting_buffer_bytes=1)
    async with open_worker(limits=limits) as worker:
        for number in range(5):
            with trio.fail_after(5):
                async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                    assert await worker.run(remote.add_and_wait, buffer, number) == number * COUNT
    assert find_gpu(DEVICE).slab_bytes == 0


# --- cancellation ------------------------------------------------------------------------------


async def test_nothing_is_left_wherever_it_is_cancelled(fake: FakeCuda) -> None:
    async with actorsys.open_nursery() as nursery:
        workers = [await nursery.start_actor(name, modules=MODULES) for name in ("one", "two")]

        async def operation() -> None:
            async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                array = buffer.array()
                array[:] = 1.0
                assert await workers[0].run(remote.add, buffer, 1.0) is buffer
                copied = await actorsys.adopt(array)
                theirs = await workers[1].run(remote.make, COUNT, DEVICE, 5.0)
                assert await workers[0].run(remote.sum_of, theirs) == 5 * COUNT
                await copied.release()
                await theirs.release()

        async def check() -> None:
            looks: list[Any] = [partial(worker.run, remote.statistics) for worker in workers]
            with trio.fail_after(5):
                for look in (remote.statistics, *looks):
                    while is_used(await look()):
                        await trio.sleep(0.005)

        assert await cancel_at_every_step(operation, check) > 3
        await nursery.cancel()
