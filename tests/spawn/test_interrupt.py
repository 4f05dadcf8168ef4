"""Ctrl-C and SIGTERM end the whole tree, soon and quietly."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from spawn_helpers import open_tree
from tree_helpers import noting, run_script, script_running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20)]
GONE_WITHIN_SECONDS = 2.0
HURRY_SECONDS = 0.5


def check_output(status: int, stderr: str) -> None:
    """Check that the root alone has said something, and how it ended."""
    assert status in (-signal.SIGINT, 130, 1)
    assert stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert stderr.count("Traceback (most recent call last)") == 1
    for noise in ("Exception ignored", "RuntimeWarning", "ActorDied", "Fatal", "Thread 0x"):
        assert noise not in stderr


@pytest.mark.parametrize("to_group", [True, False])
async def test_an_interrupt_ends_the_tree_and_only_the_root_speaks(
    tmp_path: Path, to_group: bool
) -> None:
    async with open_tree(tmp_path, idle=3, clean_up_slowly=2) as tree:
        (os.killpg if to_group else os.kill)(tree.root.pid, signal.SIGINT)
        await tree.wait_gone(GONE_WITHIN_SECONDS)
        status, stdout, stderr = tree.read_output()
        check_output(status, stderr)
        assert stdout == "cleaned up\n"


async def test_an_interrupt_of_calls_in_tasks_is_told_in_the_group_of_their_nursery(
    tmp_path: Path,
) -> None:
    async with open_tree(tmp_path, "calls", idle=3, clean_up_slowly=1) as tree:
        os.killpg(tree.root.pid, signal.SIGINT)
        await tree.wait_gone(GONE_WITHIN_SECONDS)
        status, stdout, stderr = tree.read_output()
        assert status == 1
        assert stdout == "cleaned up\n"
        assert "KeyboardInterrupt" in stderr
        assert "ActorDied" not in stderr


async def test_an_interrupt_ends_what_does_not_want_to_end(tmp_path: Path) -> None:
    chains = {"ignore_cancel": 2, "ignore_sigterm": 1, "block_the_loop": 1}
    async with open_tree(tmp_path, **chains) as tree:
        os.killpg(tree.root.pid, signal.SIGINT)
        await tree.wait_gone(GONE_WITHIN_SECONDS)
        status, _, stderr = tree.read_output()
        check_output(status, stderr)


@pytest.mark.parametrize("way", ["one-shots", "calls"])
async def test_a_second_interrupt_hurries(tmp_path: Path, way: str) -> None:
    async with open_tree(tmp_path, way, ignore_sigterm=2, hold_the_gil=1) as tree:
        os.killpg(tree.root.pid, signal.SIGINT)
        await trio.sleep(0.1)
        os.killpg(tree.root.pid, signal.SIGINT)
        await tree.wait_gone(HURRY_SECONDS)
        _, _, stderr = tree.read_output()
        assert "KeyboardInterrupt" in stderr


async def test_a_sigterm_ends_the_tree(tmp_path: Path) -> None:
    async with open_tree(tmp_path, idle=2, ignore_sigterm=1) as tree:
        os.kill(tree.root.pid, signal.SIGTERM)
        await tree.wait_gone(GONE_WITHIN_SECONDS)
        status, _, _ = tree.read_output()
        assert status != 0


async def test_an_interrupt_to_an_actor_alone_is_nothing(tmp_path: Path) -> None:
    async with open_tree(tmp_path, idle=2) as tree:
        os.kill(tree.pids["idle-1"], signal.SIGINT)
        os.kill(tree.pids["idle-2"], signal.SIGINT)
        with trio.move_on_after(0.2) as scope:
            await tree.journal.read_line()
        assert scope.cancelled_caught
        assert tree.root.poll() is None
        os.kill(tree.root.pid, signal.SIGINT)
        await tree.wait_gone(GONE_WITHIN_SECONDS)
        check_output(*tree.read_output()[::2])


INTERRUPTED_START = """
import os, signal, subprocess, threading
import psutil, trio
import actorsys

class Popen(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)

async def main():
    async with actorsys.open_nursery() as nursery:
        if IN_FORK:
            subprocess.Popen = Popen
        else:
            threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
        await nursery.start_actor("late")

if __name__ == "__main__":
    try:
        trio.run(main)
    except KeyboardInterrupt:
        print("interrupted", psutil.Process().children())
"""


@pytest.mark.parametrize("in_fork", [True, False])
def test_an_interrupt_while_an_actor_starts_takes_it_along(tmp_path: Path, in_fork: bool) -> None:
    code = INTERRUPTED_START.replace("IN_FORK", str(in_fork))
    ended = run_script(tmp_path, code, timeout=10)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "interrupted []\n", "")


INTERRUPTED_READER = """
import os, signal
import psutil, trio
import actorsys
from actorsys.channel import Flow

take = Flow.on_item

def on_item(self, item):
    os.kill(os.getpid(), signal.SIGINT)
    take(self, item)

async def numbers():
    for number in range(10):
        yield number
    await trio.sleep_forever()

async def main():
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("producer", modules=[__name__])
        Flow.on_item = on_item
        async with portal.open_stream_from(numbers) as stream:
            async for _ in stream:
                pass

if __name__ == "__main__":
    try:
        trio.run(main)
    except KeyboardInterrupt:
        print("interrupted", psutil.Process().children())
"""


def test_an_interrupt_in_the_middle_of_the_readers_work_reaches_the_main_task(
    tmp_path: Path,
) -> None:
    ended = run_script(tmp_path, INTERRUPTED_READER, timeout=10)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "interrupted []\n", "")


INTERRUPTED_CLOSE = """
import os, signal
import trio, trio.testing
import actorsys

async def refuse():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def own(task_status=trio.TASK_STATUS_IGNORED):
    limits = actorsys.Limits(stop_grace_seconds=30, kill_after_seconds=0.2)
    async with actorsys.open_nursery(limits=limits) as nursery:
        portal = await nursery.start_actor("unwilling", modules=[__name__])
        async with trio.open_nursery() as calls:
            calls.start_soon(portal.run, refuse)
            await trio.testing.wait_all_tasks_blocked(0.05)
            calls.cancel_scope.cancel()
        task_status.started()

async def main():
    async with trio.open_nursery() as tasks:
        if IN_TASK:
            await tasks.start(own)
        else:
            tasks.start_soon(interrupt)
            await own()
            print("went on")
        await interrupt()
        await trio.sleep_forever()

async def interrupt():
    await trio.testing.wait_all_tasks_blocked(0.8)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    try:
        trio.run(main)
    except BaseException as error:
        group = BaseExceptionGroup("", [error])
        print("interrupted", group.subgroup(KeyboardInterrupt) is not None)
"""


def test_an_interrupt_while_the_nursery_closes_hurries_and_is_not_lost(tmp_path: Path) -> None:
    code = {in_task: INTERRUPTED_CLOSE.replace("IN_TASK", in_task) for in_task in ("True", "False")}
    with ExitStack() as stack:
        programs = {
            in_task: stack.enter_context(script_running(tmp_path, text, name=f"{in_task}.py"))
            for in_task, text in code.items()
        }
        for in_task, program in programs.items():
            with noting(f"in_task={in_task}"):
                stdout, stderr = program.communicate(timeout=10)
                assert (program.returncode, stdout, stderr) == (0, "interrupted True\n", "")
