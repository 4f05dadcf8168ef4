"""No actor outlives its parent, and none dies without a reason."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest
import stop_functions as remote
import trio
from spawn_helpers import PROGRAM, open_tree
from tree_helpers import (
    freeze,
    is_running,
    open_journal,
    open_worker,
    program_running,
    wait_until_async,
)

import actorsys

pytestmark = pytest.mark.timeout(20)
MODULE = "stop_functions"
GONE_WITHIN_SECONDS = 1.0


@pytest.mark.slow
async def test_a_killed_root_takes_its_whole_tree_along(tmp_path: Path) -> None:
    async with open_tree(tmp_path, idle=3, hold_the_gil=2, ignore_sigterm=2, ignore_cancel=1) as t:
        freeze(t.pids["idle-1"])
        t.root.send_signal(signal.SIGKILL)
        await t.wait_gone(GONE_WITHIN_SECONDS)


@pytest.mark.slow
async def test_a_killed_actor_takes_its_own_children_along(tmp_path: Path) -> None:
    async with open_tree(tmp_path, idle=3) as tree:
        freeze(tree.pids["idle-1"])
        os.kill(tree.pids["idle-3"], signal.SIGKILL)
        await tree.wait_gone(GONE_WITHIN_SECONDS)
        status, _, stderr = tree.read_output()
        assert status == 1
        assert stderr.count("ActorDied") >= 1
        assert "SIGKILL" in stderr


@pytest.mark.slow
async def test_a_child_that_is_still_importing_goes_with_its_parent(tmp_path: Path) -> None:
    async with open_tree(tmp_path, import_for_ever=2) as tree:
        tree.root.send_signal(signal.SIGKILL)
        await tree.wait_gone(GONE_WITHIN_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [20, 90, 200])
async def test_a_root_that_is_killed_while_it_starts_leaves_nothing(
    tmp_path: Path, milliseconds: int
) -> None:
    """The moment is random by nature; whatever has been started by then is gone after it."""
    async with open_journal(tmp_path) as journal:
        chains = ["idle", "2", "ignore_cancel", "1"]
        command = [sys.executable, str(PROGRAM), journal.path, "one-shots", *chains]
        with program_running(command, tmp_path) as root:
            assert (await journal.read_line()).startswith("root")
            await trio.sleep(milliseconds / 1000)
            started = psutil.Process(root.pid).children(recursive=True)
            root.kill()
            with trio.fail_after(GONE_WITHIN_SECONDS):
                await journal.wait_all_gone()
            await wait_until_async(
                lambda: not any(is_running(process.pid) for process in started),
                GONE_WITHIN_SECONDS,
            )


@pytest.mark.slow
async def test_an_actor_survives_the_task_and_the_thread_that_started_it() -> None:
    portals: list[actorsys.Portal] = []

    async def start(name: str) -> None:
        portals.append(await nursery.start_actor(name, modules=[MODULE]))

    def start_in_thread() -> None:
        trio.from_thread.run(start, "from a thread")

    async with actorsys.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(start, "from a task")
        thread = threading.Thread(
            target=trio.from_thread.run,
            args=(start, "from a foreign thread"),
            kwargs={"trio_token": trio.lowlevel.current_trio_token()},
        )
        thread.start()
        await trio.to_thread.run_sync(start_in_thread)
        await trio.to_thread.run_sync(thread.join)
        await trio.sleep(0.3)
        assert sorted(nursery.children) == ["from a foreign thread", "from a task", "from a thread"]
        for portal in portals:
            assert await portal.run(remote.add, 1, 1) == 2
        await nursery.cancel()


def test_a_tree_can_live_in_a_thread_that_is_not_the_main_one() -> None:
    results: list[int] = []

    async def main() -> None:
        async with open_worker(MODULE) as portal:
            results.append(await portal.run(remote.add, 1, 1))

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    thread.join(timeout=10)
    assert results == [2]


async def test_an_actor_survives_a_stop_and_a_continue() -> None:
    async with open_worker(MODULE) as portal:
        freeze(portal.pid)
        os.kill(portal.pid, signal.SIGCONT)
        assert await portal.run(remote.add, 1, 1) == 2
