"""Whether a process runs: where that cannot be told, it is not taken for ended."""

from __future__ import annotations

import builtins
import errno
import os
from typing import Any

import pytest

from actorsys.memory import has_ended, is_alive, read_stat


def own_start() -> int:
    stat = read_stat(os.getpid())
    assert stat is not None
    return stat.start


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EMFILE, "too many open files")


def test_this_process_runs() -> None:
    assert is_alive(os.getpid())
    assert not has_ended(os.getpid(), own_start())


@pytest.mark.parametrize("pid", [0, 2**22 + 1, 2**40])
def test_there_is_no_such_process(pid: int) -> None:
    assert not is_alive(pid)
    assert has_ended(pid, 1)


def test_a_later_process_of_the_same_pid_is_another_one() -> None:
    assert has_ended(os.getpid(), own_start() + 1)


def test_a_process_has_not_ended_because_there_is_no_descriptor_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = own_start()
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        assert is_alive(os.getpid())
        assert not has_ended(os.getpid(), start)
    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert not has_ended(os.getpid(), start)
