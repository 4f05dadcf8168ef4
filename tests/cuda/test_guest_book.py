"""Who is in the book of a file counts until he has left, or has ended for good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from actorsys.memory import GuestBook, Mapping, SharedFile, has_ended, read_stat


class Guest:
    """One who has the file open, as another process would."""

    def __init__(self, owner: SharedFile) -> None:
        file = SharedFile.open(owner.address)
        self.mapping: Mapping = file.map(0, GuestBook.SIZE_BYTES)
        self.book = GuestBook(file, self.mapping)
        try:
            self.line = self.book.enter()
        except BlockingIOError:
            self.mapping.close()
            raise
        finally:
            file.close()


@pytest.fixture
def file() -> Iterator[SharedFile]:
    file = SharedFile.create(GuestBook.SIZE_BYTES)
    yield file
    file.close()


@pytest.fixture
def book(file: SharedFile) -> Iterator[GuestBook]:
    mapping = file.map(0, GuestBook.SIZE_BYTES)
    yield GuestBook(file, mapping)
    mapping.close()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_it_is_empty_when_all_guests_have_left(file: SharedFile, book: GuestBook) -> None:
    guests = [Guest(file) for _ in range(3)]
    assert [guest.line for guest in guests] == [0, 1, 2]
    for guest in guests:
        assert not book.is_empty()
        guest.book.leave(guest.line)
        guest.mapping.close()
    assert book.is_empty()


def test_a_guest_whose_lock_is_gone_counts_until_his_process_has_ended(
    book: GuestBook, process: subprocess.Popen[bytes]
) -> None:
    stat = read_stat(process.pid)
    assert stat is not None
    book._write(5, process.pid, stat.start)
    assert not book.is_empty()
    process.kill()
    process.wait()
    assert book.is_empty()
    assert "0 lines" in repr(book)


def test_a_process_that_was_not_waited_for_has_ended(process: subprocess.Popen[bytes]) -> None:
    stat = read_stat(process.pid)
    assert stat is not None
    assert not has_ended(process.pid, stat.start)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(process.pid, stat.start)


def test_another_process_with_the_pid_of_a_guest_is_not_him(book: GuestBook) -> None:
    stat = read_stat(os.getpid())
    assert stat is not None
    book._write(0, os.getpid(), stat.start + 1)
    assert book.is_empty()


@pytest.mark.parametrize("pid", [2**63, 2**31, 2**22 + 1])
def test_nonsense_in_the_book_is_nobody(book: GuestBook, pid: int) -> None:
    book._write(7, pid, 1)
    assert book.is_empty()


def test_a_full_book_refuses_guests_until_one_has_left(file: SharedFile, book: GuestBook) -> None:
    guests = [Guest(file) for _ in range(256)]
    with pytest.raises(BlockingIOError, match="256"):
        Guest(file)
    guests[77].book.leave(77)
    guests[77].mapping.close()
    guests[77] = Guest(file)
    assert guests[77].line == 77
    for guest in guests:
        guest.book.leave(guest.line)
        guest.mapping.close()
    assert book.is_empty()
