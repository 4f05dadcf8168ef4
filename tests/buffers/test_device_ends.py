"""Buffers on a device at the edges: ends, cancellations, actors without it, and odd marks."""

from __future__ import annotations

import gc
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import buffer_functions
import contract_functions as remote
import pytest
import trio
import trio.testing

import actorsys
from actorsys import Portal, current_actor, open_buffer, resolve_buffer
from actorsys.buffers.device_block import DeviceBlock
from actorsys.buffers.layout import Layout
from actorsys.cuda import Gpu, find_gpu
from actorsys.memory import read_stat
from actorsys.testing import Simulation, fake_cuda
from actorsys.testing.fake_cuda import FakeCuda

HERE = [remote.__name__]
MODULES = [remote.__name__, "fake_gpu"]
DEVICE = "cuda:0"
COUNT = 1000


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    runtime = fake_cuda.install()
    yield runtime
    gc.collect()
    assert (runtime.broken, runtime.used_bytes, runtime.mapped_bytes) == ([], 0, 0)
    fake_cuda.uninstall(runtime)


class Gate:
    """Keeps the device busy until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        synchronize = Gpu.synchronize

        def wait_and_synchronize(gpu: Gpu) -> None:
            self._open.wait(20)
            synchronize(gpu)

        monkeypatch.setattr(Gpu, "synchronize", wait_and_synchronize)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


@asynccontextmanager
async def open_workers(*modules: list[str]) -> AsyncIterator[list[Portal]]:
    async with actorsys.open_nursery() as nursery:
        yield [
            await nursery.start_actor(f"worker-{number}", modules=offered)
            for number, offered in enumerate(modules)
        ]
        await nursery.cancel()


def own() -> int:
    return current_actor().buffers.statistics().own


async def wait_given_back() -> None:
    with trio.fail_after(5):
        while own():
            await trio.sleep(0.005)


# --- release -----------------------------------------------------------------------------------


async def test_release_waits_until_the_work_is_done(gate: Gate) -> None:
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            async with trio.open_nursery() as tasks:
                tasks.start_soon(buffer.release)
                await trio.testing.wait_all_tasks_blocked()
                assert own() == 1
                gate.open()
            assert own() == 0


async def test_release_that_is_cancelled_has_released(gate: Gate) -> None:
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            with trio.move_on_after(0):
                await buffer.release()
            assert buffer.is_released
            gate.open()
            await wait_given_back()


async def test_what_comes_again_while_it_is_waited_for_stays(gate: Gate) -> None:
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 3.0
            name = buffer.id
        await trio.testing.wait_all_tasks_blocked()
        again = resolve_buffer(name)
        gate.open()
        await trio.sleep(0.05)
        assert remote.total(again) == 3 * COUNT
        await again.release()
        await wait_given_back()


async def test_what_was_never_used_is_given_back_at_once(gate: Gate) -> None:
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE):
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert own() == 0


# --- the end of the actor ----------------------------------------------------------------------


async def test_a_view_that_outlives_its_actor_gives_its_memory_back(fake: FakeCuda) -> None:
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            view = buffer.array()[10:20]
            view[:] = 1.0
    assert view.sum() == 10
    assert fake.used_bytes > 0
    del view, buffer
    gc.collect()
    assert fake.used_bytes == 0


async def test_a_device_that_is_busy_for_ever_ends_no_actor_late(
    fake: FakeCuda, gate: Gate, autojump_clock: trio.testing.MockClock
) -> None:
    begin = trio.current_time()
    async with actorsys.open_nursery():
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
    assert trio.current_time() - begin < 4
    del buffer
    assert fake.used_bytes > 0
    gate.open()
    deadline = time.monotonic() + 10
    while fake.used_bytes and time.monotonic() < deadline:
        find_gpu(DEVICE).tidy()  # as the next actor of this process does
    assert fake.used_bytes == 0


# --- who has no device -------------------------------------------------------------------------


async def test_who_only_hands_a_buffer_on_needs_no_device(fake: FakeCuda) -> None:
    async with open_workers(HERE, MODULES) as (middle, last):
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            buffer.array()[:] = 1.0
            # What the middle one gives back stands for what it was told.
            assert await middle.run(remote.echo, buffer) is buffer
            assert await last.run(remote.sum_of, await middle.run(remote.echo, buffer)) == COUNT
            assert await middle.run(remote.device_name, buffer) == "cuda:FAKE-0"
            with pytest.raises(actorsys.BufferFault, match="cupy"):
                await middle.run(remote.sum_of, buffer)
            assert await last.run(remote.sum_of, buffer) == COUNT


async def test_work_is_ordered_past_who_has_no_device(fake: FakeCuda) -> None:
    async with open_workers(HERE) as (middle,):
        async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            async with middle.open_context(remote.relay, MODULES) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for number in range(3):
                        array = buffer.array()
                        array += 1.0
                        await stream.send(buffer)
                        assert await stream.receive() is buffer
                        assert remote.values(buffer) == {2.0 * (number + 1)}
                        del array


# --- odd marks ---------------------------------------------------------------------------------

MARK = [2, bytes(64)]


@asynccontextmanager
async def open_liar(*modules: str) -> AsyncIterator[Portal]:
    """Start an actor that keeps no books about what it lends."""
    async with open_workers([*modules, buffer_functions.__name__]) as (worker,):
        await worker.run(buffer_functions.turn)
        yield worker


@pytest.mark.parametrize(
    "marks",
    [
        [1],
        [[1]],
        [[0, bytes(64)]],
        [[-1, bytes(64)]],
        [[2, bytes(63)]],
        [["2", bytes(64)]],
        [MARK] * 65,
    ],
    ids=["number", "short", "pid 0", "pid -1", "63 bytes", "text", "65 marks"],
)
async def test_marks_that_stand_for_nothing_are_refused(fake: FakeCuda, marks: Any) -> None:
    async with open_liar(*MODULES) as worker:
        with pytest.raises(actorsys.EncodeError, match="extension 32"):
            await worker.run(remote.lend_with_marks, COUNT, DEVICE, marks)
        assert current_actor().buffers.statistics().borrowed == 0


async def test_memory_on_the_host_comes_with_no_marks() -> None:
    async with open_liar(*HERE) as worker:
        with pytest.raises(actorsys.EncodeError, match="no marks"):
            await worker.run(remote.lend_with_marks, COUNT, "cpu", [MARK])


async def test_a_mark_of_nothing_fails_its_user_and_nobody_else(fake: FakeCuda) -> None:
    async with open_liar(*MODULES) as worker:
        pid = worker.pid
        buffer = await worker.run(remote.lend_with_marks, COUNT, DEVICE, [[pid, b"x" * 64]])
        with pytest.raises(actorsys.DeviceUnavailable):
            buffer.array()
        await buffer.release()


# --- who is in the book ------------------------------------------------------------------------


async def test_memory_is_not_used_again_while_a_dying_process_may_work_on_it(
    fake: FakeCuda,
) -> None:
    """Its locks are gone, and it has not ended: so the driver has not stopped its work either."""
    async with actorsys.open_nursery():
        with subprocess.Popen(["sleep", "20"]) as dying:
            stat = read_stat(dying.pid)
            assert stat is not None
            block = DeviceBlock(find_gpu(DEVICE), 4096)
            assert block.renew(Layout(COUNT, "f4").pack())
            block._book._write(0, dying.pid, stat.start)
            assert not block.is_free
            assert not block.renew(Layout(COUNT, "f4").pack())
            block.close()
            find_gpu(DEVICE).tidy()
            assert fake.used_bytes > 0
            dying.kill()
        find_gpu(DEVICE).tidy()
        assert fake.used_bytes == 0


# --- many actors in one process ----------------------------------------------------------------


def test_simulated_processes_share_a_device(fake: FakeCuda) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            worker = await nursery.start_actor("worker", modules=HERE)
            async with open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                buffer.array()[:] = 1.0
                assert await worker.run(remote.add, buffer, 1.0) is buffer
                assert remote.values(buffer) == {2.0}
            theirs = await worker.run(remote.make, COUNT, DEVICE, 3.0)
            assert remote.total(theirs) == 3 * COUNT
            await theirs.release()
            await nursery.cancel()

    Simulation(1).run(main)
