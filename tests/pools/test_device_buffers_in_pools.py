"""Buffers on a device in the calls of a pool: each works on one after who had it before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import device_functions as remote
import pytest
import trio
from device_helpers import COUNT, DEVICE, MODULES, fake_device, values

import actorsys
from actorsys import open_pool
from actorsys.testing.fake_cuda import FakeCuda

STARTS_PROCESSES = True


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with fake_device() as runtime:
        yield runtime


@pytest.mark.parametrize("fn", [remote.add, remote.add_in_thread])
async def test_a_call_works_on_it_after_its_caller_and_before_what_follows(
    fake: FakeCuda, fn: Any
) -> None:
    async with open_pool(1, modules=[remote.__name__, *MODULES]) as pool:
        async with actorsys.open_buffer(COUNT, "f4", device=DEVICE) as buffer:
            for number in range(3):
                array = buffer.array()
                array += 1.0
                assert await pool.run(fn, buffer) is buffer
                assert values(buffer) == [2 * (number + 1)]
                del array


async def test_calls_that_wait_for_a_worker_come_after_their_callers(fake: FakeCuda) -> None:
    async with open_pool(1, modules=[remote.__name__, *MODULES]) as pool:

        async def add(number: int) -> None:
            async with actorsys.open_buffer(COUNT, "f4", device=DEVICE) as buffer:
                buffer.array()[:] = number
                await pool.run(remote.add, buffer)
                assert values(buffer) == [number + 1]

        async with trio.open_nursery() as tasks:
            for number in range(40):
                tasks.start_soon(add, number)
