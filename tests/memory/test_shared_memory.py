"""Files in memory: locks that the kernel keeps, freezing, and whatever stands at an address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tree_helpers import wait_until

import actorsys
from actorsys.memory import FileAddress, Mapping, SharedFile, is_supported

PAGE = 4096
SIZE = 4 * PAGE

OTHER = """
import sys
from actorsys.memory import FileAddress, SharedFile
file = SharedFile.open(FileAddress(*map(int, sys.argv[1:4])))
for step in sys.argv[4:]:
    name, position = step.split(":")
    print(getattr(file, name)(int(position)), flush=True)
print("ready", flush=True)
sys.stdin.read()
"""

OWNER = """
import sys
from actorsys.memory import SharedFile
file = SharedFile.create(8192)
file.write(0, b"of another")
print(*file.address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file() -> Iterator[SharedFile]:
    file = SharedFile.create(SIZE)
    yield file
    file.close()


@contextmanager
def running(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run *code* in another process until the block ends."""
    root = str(Path(actorsys.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def other_has(file: SharedFile, *steps: str) -> Iterator[list[str]]:
    """Have another process open *file* and do something with it; yield what that has told."""
    with running(OTHER, *file.address, *steps) as process:
        assert process.stdout is not None
        told = []
        while (line := process.stdout.readline().strip()) != "ready":
            assert line
            told.append(line)
        yield told


@contextmanager
def file_of_another() -> Iterator[tuple[FileAddress, subprocess.Popen[str]]]:
    """Have another process make a file; yield its address."""
    with running(OWNER) as process:
        assert process.stdout is not None
        yield FileAddress(*map(int, process.stdout.readline().split())), process


def opened(file: SharedFile, *, is_writable: bool = True) -> SharedFile:
    return SharedFile.open(file.address, is_writable=is_writable)


# --- bytes -------------------------------------------------------------------------------------


def test_this_system_has_such_files() -> None:
    assert is_supported()


def test_what_is_written_anywhere_is_seen_everywhere(file: SharedFile) -> None:
    other = opened(file)
    first, second = file.map(0, SIZE), other.map(PAGE, PAGE)
    assert bytes(first.view()) == bytes(SIZE)
    second.view()[:5] = b"hello"
    assert file.read(PAGE, 5) == b"hello"
    file.write(PAGE + 1, b"a")
    assert bytes(second.view()[:5]) == b"hallo"
    assert other.size == SIZE
    for each in (first, second, other):
        each.close()
        each.close()
    assert "closed" in repr(first)
    assert "closed" in repr(other)
    assert file.read(PAGE, 5) == b"hallo"


def test_mappings_outlive_the_file(file: SharedFile) -> None:
    other = opened(file)
    mapping = other.map(0, PAGE)
    other.close()
    file.write(0, b"still")
    assert bytes(mapping.view()[:5]) == b"still"
    mapping.close()


def test_nothing_beyond_the_end_is_mapped(file: SharedFile) -> None:
    for offset, size in ((0, SIZE + 1), (SIZE, 1), (PAGE, SIZE)):
        with pytest.raises(ValueError, match="are more than"):
            file.map(offset, size)
    for offset, size in ((1, PAGE), (0, 0)):
        with pytest.raises(OSError, match="Invalid argument"):
            file.map(offset, size)


def test_nobody_can_change_its_size(file: SharedFile) -> None:
    other = opened(file)
    for size in (0, SIZE - 1, SIZE + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(file.address.fd, size)
    other.close()


def test_a_file_that_cannot_be_made_leaves_nothing_behind() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Invalid argument"):
        SharedFile.create(-1)
    with pytest.raises((OSError, OverflowError)):
        SharedFile.create(2**63)
    assert os.listdir("/proc/self/fd") == before


# --- locks -------------------------------------------------------------------------------------


def test_many_can_hold_a_byte_and_one_can_take_it(file: SharedFile) -> None:
    first, second = opened(file), opened(file)
    assert first.hold(0)
    assert second.hold(0)
    assert not file.take(0)
    assert not first.take(0)
    first.let_go(0)
    first.let_go(0)
    assert second.take(0)
    assert not file.hold(0)
    assert file.take(1)
    assert second.hold(0)
    assert file.hold(0)
    second.close()
    assert file.take(0)
    first.close()


def test_locks_count_between_processes_and_end_with_them(file: SharedFile) -> None:
    with other_has(file, "hold:0", "take:1") as told:
        assert told == ["True", "True"]
        assert file.hold(0)
        assert not file.take(0)
        assert not file.hold(1)
    wait_until(lambda: file.take(0), 1)
    assert file.take(1)
    with other_has(file, "hold:0", "take:1", "take:2") as told:
        assert told == ["False", "False", "True"]


def test_a_lock_ends_with_its_file_whatever_is_mapped(file: SharedFile) -> None:
    other = opened(file)
    mapping = other.map(0, PAGE)
    assert other.hold(0)
    mapping.close()
    other.close()
    assert file.take(0)


def test_a_mapping_keeps_the_locks_of_its_file(file: SharedFile) -> None:
    other = opened(file)
    mapping = other.map(0, PAGE)
    assert other.hold(0)
    other.close()
    assert not file.take(0)
    mapping.close()
    assert file.take(0)


def test_who_can_only_read_can_hold(file: SharedFile) -> None:
    other = opened(file, is_writable=False)
    assert other.hold(0)
    with pytest.raises(PermissionError):
        other.map(0, PAGE)
    mapping = other.map(0, PAGE, is_writable=False)
    assert mapping.view().readonly
    mapping.close()
    other.close()


# --- freezing ----------------------------------------------------------------------------------


def test_nobody_writes_to_what_is_frozen(file: SharedFile) -> None:
    mapping = file.map(0, SIZE)
    address = mapping.address
    mapping.view()[:2] = b"ok"
    other = opened(file)
    file.freeze(mapping)
    assert file.is_frozen
    assert other.is_frozen
    assert (mapping.address, mapping.is_writable) == (address, False)
    assert bytes(mapping.view()[:2]) == b"ok"
    assert "read-only" in repr(mapping)
    for each in (file, other):
        with pytest.raises(PermissionError):
            each.write(0, b"no")
        with pytest.raises(PermissionError):
            each.map(0, PAGE)
    with other_has(file, "hold:0") as told:
        assert told == ["True"]
    again = other.map(0, PAGE, is_writable=False)
    assert bytes(again.view()[:2]) == b"ok"
    file.freeze(mapping)
    for one in (mapping, again, other):
        one.close()


def test_what_another_may_write_to_is_not_frozen(file: SharedFile) -> None:
    mapping = file.map(0, SIZE)
    other = opened(file)
    theirs = other.map(0, PAGE)
    with pytest.raises(BlockingIOError):
        file.freeze(mapping)
    assert not file.is_frozen
    assert mapping.is_writable
    mapping.view()[:2] = b"ok"
    theirs.close()
    file.freeze(mapping)
    assert file.is_frozen
    mapping.close()
    other.close()


# --- whatever stands at an address --------------------------------------------------------------


def test_an_address_of_another_process_is_opened() -> None:
    with file_of_another() as (address, _):
        file = SharedFile.open(address)
        assert file.read(0, 10) == b"of another"
        assert file.hold(0)
        file.close()


def test_a_process_that_has_ended_has_no_files() -> None:
    with file_of_another() as (address, process):
        file = SharedFile.open(address)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(FileNotFoundError):
            SharedFile.open(address)
        assert file.read(0, 10) == b"of another"
        file.close()


def test_another_file_in_its_place_is_found_out(file: SharedFile) -> None:
    address = file.address
    file.close()
    second = SharedFile.create(SIZE)
    try:
        os.dup2(second.address.fd, address.fd)
        with pytest.raises(FileNotFoundError):
            SharedFile.open(address)
    finally:
        second.close()
        if second.address.fd != address.fd:
            os.close(address.fd)


def _unsealed() -> int:
    fd = os.memfd_create("actorsys", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SIZE)
    return fd


def _named_otherwise() -> int:
    return os.memfd_create("other", os.MFD_ALLOW_SEALING)


def _pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def _socket() -> int:
    return socket.socket().detach()


def _listening() -> int:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener.detach()


def _without_seals() -> int:
    return os.memfd_create("actorsys", 0)


STRANGE: list[Callable[[], int]] = [
    _unsealed,
    _without_seals,
    _named_otherwise,
    _pipe,
    _socket,
    _listening,
    lambda: os.open("/dev/zero", os.O_RDWR),
    lambda: os.open("/proc/self/status", os.O_RDONLY),
    lambda: os.open("/", os.O_RDONLY),
    lambda: os.pidfd_open(os.getpid()),
    lambda: os.eventfd(0),
]


@pytest.mark.parametrize("make", STRANGE)
def test_what_is_no_such_file_is_refused(make: Callable[[], int]) -> None:
    fd = make()
    before = os.listdir("/proc/self/fd")
    try:
        with pytest.raises(ValueError, match=r"shared memory of an actor|cut short"):
            SharedFile.open(FileAddress(os.getpid(), fd, os.fstat(fd).st_ino))
        assert os.listdir("/proc/self/fd") == before
    finally:
        os.close(fd)


def test_a_fifo_with_such_a_name_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "memfd:actorsys"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(ValueError, match=r"shared memory of an actor|cut short"):
            SharedFile.open(FileAddress(os.getpid(), fd, os.fstat(fd).st_ino))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("pid", "fd"), [(0, 0), (2**22 + 1, 3), (2**62, 2**62), (-1, 3), (1, -1)], ids=repr
)
def test_what_is_not_there_is_not_found(pid: int, fd: int) -> None:
    with pytest.raises((FileNotFoundError, PermissionError)):
        SharedFile.open(FileAddress(pid, fd, 1))


def test_a_mapping_that_cannot_be_had_is_an_error(file: SharedFile) -> None:
    with pytest.raises(OSError, match="Bad file"):
        Mapping(-1, 0, PAGE, is_writable=True)
    with pytest.raises(OSError, match="memory"):
        Mapping(file.address.fd, 0, 2**60, is_writable=True)
