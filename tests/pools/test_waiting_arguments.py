"""What becomes of an argument while its call waits for a worker is told to that call alone."""

from __future__ import annotations

import pool_functions as remote
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorsys import BufferReleased, open_buffer, open_pool

MODULE = "pool_functions"


async def test_a_buffer_that_is_released_meanwhile_fails_its_call_and_no_other() -> None:
    outcomes: list[object] = []

    async def use(buffer: object) -> None:
        with pytest.raises(BufferReleased, match="argument 1 of pool_functions:note") as told:
            await pool.run(remote.note, buffer)
        outcomes.append(told.type)

    async with open_pool(1, modules=[MODULE], concurrency=1) as pool:
        pid = await pool.run(remote.own_pid)
        async with trio.open_nursery() as tasks:
            async with open_buffer(10, "f8") as buffer:
                for _ in range(100):  # more than a worker has at hand
                    tasks.start_soon(pool.run, remote.nap, 0.001)
                await wait_all_tasks_blocked()
                tasks.start_soon(use, buffer)
                await wait_all_tasks_blocked()
        assert outcomes == [BufferReleased]
        assert await pool.run(remote.own_pid) == pid
