"""What is left behind is found and named, and nothing else is."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from tree_helpers import wait_until

from actorsys.testing import LeakCheck, Resources, leaked, leaks


@contextlib.contextmanager
def process_left() -> Iterator[str]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield rf"process {process.pid} \(cat\)"


@contextlib.contextmanager
def zombie_left() -> Iterator[str]:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield rf"process {process.pid} \(true\), a zombie"


@contextlib.contextmanager
def grandchild_left() -> Iterator[str]:
    program = "import os; pid = os.fork(); pid and os.write(1, b'%d\\n' % pid); os.read(0, 1)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"process {int(process.stdout.readline())} "


@contextlib.contextmanager
def pipe_left() -> Iterator[str]:
    ends = os.pipe()
    yield rf"descriptor {ends[0]}: pipe:.*descriptor {ends[1]}: pipe:"
    for end in ends:
        os.close(end)


@contextlib.contextmanager
def listener_left() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield rf"descriptor {listener.fileno()}: a tcp socket at port {port}, listening"


@contextlib.contextmanager
def unix_socket_left() -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0actorsys-test-{os.getpid()}")
        yield rf"descriptor {sock.fileno()}: a unix socket at @actorsys-test-{os.getpid()}"


@contextlib.contextmanager
def thread_left() -> Iterator[str]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="a forgotten one", daemon=True)
    thread.start()
    yield "thread 'a forgotten one'"
    stop.set()
    thread.join()


@contextlib.contextmanager
def memory_left() -> Iterator[str]:
    path = Path(f"/dev/shm/actorsys-test-{os.getpid()}")
    path.write_bytes(bytes(5000))
    yield rf"shared memory {path} of 5000 bytes"
    path.unlink()


Leak = Callable[[], contextlib.AbstractContextManager[str]]
LEAKS: list[Leak] = [
    process_left,
    zombie_left,
    grandchild_left,
    pipe_left,
    listener_left,
    unix_socket_left,
    thread_left,
    memory_left,
]


@pytest.mark.parametrize("leak", LEAKS)
def test_what_is_left_is_named(leak: Leak) -> None:
    before = Resources.now()
    with contextlib.ExitStack() as left:
        check = LeakCheck(within=0)
        check.__enter__()
        expected = left.enter_context(leak())
        with pytest.raises(AssertionError, match=f"left behind: .*{expected}"):
            check.__exit__(None, None, None)
    wait_until(lambda: leaked(before, Resources.now()) == [], 2)


@pytest.mark.parametrize("leak", LEAKS)
def test_what_was_there_before_is_no_leak(leak: Leak) -> None:
    with leak(), LeakCheck(within=0):
        pass


def test_what_ends_by_itself_has_time_to() -> None:
    with LeakCheck():
        thread = threading.Timer(0.02, lambda: None)
        thread.start()


async def test_a_block_of_trio_is_checked_while_its_tasks_go_on() -> None:
    async with trio.open_nursery() as nursery:
        async with LeakCheck():
            process = await trio.lowlevel.open_process(["true"])
            nursery.start_soon(process.wait)
        with pytest.raises(AssertionError, match=r"left behind: descriptor \d+: pipe"):
            async with LeakCheck(within=0):
                ends = os.pipe()
        for end in ends:
            os.close(end)


def test_an_error_of_the_block_is_not_replaced() -> None:
    with contextlib.ExitStack() as left:
        with pytest.raises(KeyError, match="of the block"), LeakCheck(within=0):
            left.enter_context(pipe_left())
            raise KeyError("of the block")


def test_garbage_is_collected_first() -> None:
    class Owner:
        def __init__(self) -> None:
            self.itself = self
            self.ends = os.pipe()

        def __del__(self) -> None:
            for end in self.ends:
                os.close(end)

    gc.disable()
    with LeakCheck():
        Owner()
    gc.enable()


async def test_idle_workers_are_no_leak() -> None:
    async with LeakCheck(within=0):
        await trio.to_thread.run_sync(lambda: None)


def test_memory_of_another_tree_is_no_leak() -> None:
    program = (
        "import mmap, os, sys; file = open(sys.argv[1], 'wb+'); file.truncate(10)\n"
        "memory = mmap.mmap(file.fileno(), 10); file.close()\n"
        "os.fork() and os._exit(0)\n"  # an orphan is no descendant any more
        "os.setsid(); os.write(1, b'%d\\n' % os.getpid()); os.read(0, 1)"
    )
    path = f"/dev/shm/actorsys-test-{os.getpid()}"
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with LeakCheck():
            process.stdout.readline()
            process.wait()
        assert Path(path).exists()
        os.unlink(path)


def test_without_proc_the_children_come_from_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_HAS_PROC", False)
    before = Resources.now()
    with process_left() as expected, pipe_left():
        found = leaked(before, Resources.now())
    assert re.fullmatch(expected, found[0])
    assert re.match(r"descriptor \d+: inode", found[1])
