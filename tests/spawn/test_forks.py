"""A copy that an actor forks of itself is not the actor, and does not outlive it."""

from __future__ import annotations

import os

import fork_functions as remote
import pytest
from tree_helpers import is_running, open_worker, wait_until_async

MODULE = "fork_functions"


@pytest.mark.slow
async def test_a_forked_copy_goes_with_its_actor() -> None:
    async with open_worker(MODULE) as portal:
        pid = await portal.run(remote.fork_and_wait, "")
        assert is_running(pid)
    await wait_until_async(lambda: not is_running(pid), 1)


@pytest.mark.slow
async def test_a_copy_that_comes_back_into_the_loop_is_ended() -> None:
    async with open_worker(MODULE) as portal:
        pid = await portal.run(remote.fork_and_return)
        assert pid not in (0, os.getpid(), portal.pid)
        await wait_until_async(lambda: not is_running(pid), 1)
        assert [await portal.run(remote.add, i, 1) for i in range(50)] == list(range(1, 51))


@pytest.mark.slow
async def test_nothing_else_runs_in_a_copy_that_comes_back() -> None:
    async with open_worker(MODULE) as portal:
        assert await portal.run(remote.fork_among_others) == {portal.pid}
