"""State in a file: when it is written, that it is whole, and what a crash forgets."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kernel_functions as remote
import pytest
import trio
from kernel_functions import CRASH, Job
from kernel_helpers import SEED, open_kernels, simulated

import actorsys
from actorsys import ActorDied, Checkpoint
from actorsys.kernels import checkpoint as checkpoint_module
from actorsys.kernels.checkpoint import open_checkpoint
from actorsys.testing.simulation import Simulation

STARTS_PROCESSES = True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@asynccontextmanager
async def open_kept(path: Path, default: Any, every: int = 100) -> AsyncIterator[Checkpoint]:
    """Open a checkpoint as a kernel does, which is always inside some actor."""
    async with Simulation(SEED).open():
        async with open_checkpoint(path, default, every) as kept:
            yield kept


def kept_in(path: Path) -> Any:
    """Return what the file holds, None if there is none; nothing may lie beside it."""
    assert {one.name for one in path.parent.iterdir()} <= {path.name}
    return json.loads(path.read_text()) if path.exists() else None


async def test_it_starts_with_the_default_where_there_is_no_file(path: Path) -> None:
    async with open_kept(path, {"count": 0}) as kept:
        assert kept.state == {"count": 0}
        assert kept_in(path) is None
    assert kept_in(path) == {"count": 0}


async def test_it_starts_with_what_was_written(path: Path) -> None:
    path.write_text('{"count": 7, "names": ["ä"]}')
    async with open_kept(path, {"count": 0}) as kept:
        assert isinstance(kept, Checkpoint)
        assert kept.state == {"count": 7, "names": ["ä"]}


async def test_it_is_written_after_so_many_messages_and_at_the_end(path: Path) -> None:
    written = []
    async with open_kept(path, 0) as kept:
        for number in range(1, 251):
            kept.state = number
            await kept.count()
            if kept_in(path) not in (None, *written):
                written.append(kept_in(path))
    assert [*written, kept_in(path)] == [100, 200, 250]


async def test_saving_in_between_starts_the_count_anew(path: Path) -> None:
    async with open_kept(path, [], 3) as kept:
        kept.state.append(1)
        await kept.count()
        await kept.count()
        await kept.save()
        assert kept_in(path) == [1]
        kept.state.append(2)
        await kept.count()
        await kept.count()
        assert kept_in(path) == [1]
        await kept.count()
        assert kept_in(path) == [1, 2]


async def test_an_error_leaves_what_was_written(path: Path) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_kept(path, 0, 2) as kept:
            for kept.state in (1, 2, 3):
                await kept.count()
            raise ValueError("mine")
    assert kept_in(path) == 2


async def test_a_cancelled_kernel_leaves_what_was_written(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_kept(path, 0, 2) as kept:
            for kept.state in (1, 2, 3):
                await kept.count()
            scope.cancel()
            await trio.sleep_forever()
    assert kept_in(path) == 2


async def test_the_last_state_is_written_even_while_the_kernel_is_being_cancelled(
    path: Path,
) -> None:
    with trio.CancelScope() as scope:
        async with open_kept(path, 0) as kept:
            kept.state = 5
            scope.cancel()
    assert kept_in(path) == 5


@pytest.mark.parametrize("state", [{"key": object()}, b"bytes", {1, 2}, {(1, 2): 3}], ids=type)
async def test_what_json_cannot_hold_leaves_the_file_as_it_was(path: Path, state: Any) -> None:
    path.write_text("1")
    with pytest.raises(TypeError):
        async with open_kept(path, 0) as kept:
            kept.state = state
            await kept.save()
    assert kept_in(path) == 1


async def test_the_old_file_is_whole_until_the_new_one_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("1")
    seen = []

    def fsync(descriptor: int) -> None:
        seen.append(path.read_text())
        os.lseek(descriptor, 0, os.SEEK_CUR)

    monkeypatch.setattr(checkpoint_module.os, "fsync", fsync)
    async with open_kept(path, 0, 1) as kept:
        kept.state = "x" * 10_000
        await kept.count()
        assert kept_in(path) == kept.state
    assert seen == ["1", json.dumps("x" * 10_000)]


async def test_a_write_that_fails_leaves_everything_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError("the disk is full")

    path.write_text("1")
    with pytest.raises(OSError, match="full"):
        async with open_kept(path, 0, 1) as kept:
            kept.state = 2
            monkeypatch.setattr(checkpoint_module.os, "fsync", fsync)
            await kept.save()
    assert kept_in(path) == 1


async def test_a_file_that_is_no_state_is_not_written_over(path: Path) -> None:
    path.write_text("{half")
    with pytest.raises(ValueError, match="Expecting"):
        async with open_kept(path, 0, 1):
            pass
    assert path.read_text() == "{half"


def take_folder_away(path: Path) -> None:
    path.parent.rmdir()


def put_file_in_place_of_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (take_folder_away, FileNotFoundError),
        (put_file_in_place_of_folder, NotADirectoryError),
        (Path.mkdir, IsADirectoryError),
    ],
    ids=["no folder", "a file for a folder", "a folder for a file"],
)
async def test_where_nothing_can_be_written_it_does_not_open(
    tmp_path: Path, spoil: Callable[[Path], None], expected: type[OSError]
) -> None:
    path = tmp_path / "kept" / "state.json"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(expected, match=r"a checkpoint cannot be kept in .*state.json.*name a file"):
        async with open_kept(path, 0):
            raise AssertionError("it has opened")


async def test_a_folder_that_refuses_new_files_is_found_out_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_to_read(name: str, mode: str = "r", **kwargs: Any) -> Any:
        if "w" in mode:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return open(name, mode, **kwargs)

    path.write_text("7")
    monkeypatch.setattr(checkpoint_module, "open", open_to_read, raising=False)
    with pytest.raises(PermissionError, match="cannot be kept in"):
        async with open_kept(path, 0):
            raise AssertionError("it has opened")
    assert kept_in(path) == 7


@pytest.mark.parametrize("every", [0, -1])
async def test_it_is_written_after_at_least_one_message(path: Path, every: int) -> None:
    with pytest.raises(ValueError, match="every"):
        async with open_kept(path, 0, every):
            pass


async def test_counting_lets_other_tasks_run(path: Path) -> None:
    async with open_kept(path, 0) as kept:
        with trio.CancelScope() as scope:
            scope.cancel()
            await kept.count()
        assert scope.cancelled_caught


async def test_a_save_that_is_given_up_does_not_spoil_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, released, left = threading.Event(), threading.Event(), threading.Event()

    def open_late(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.delattr(checkpoint_module, "open")
        file = open(*args, **kwargs)  # noqa: SIM115
        opened.set()
        released.wait(0.3)
        return file

    def write(path: str, text: str) -> None:
        try:
            write_atomically(path, text)
        finally:
            left.set()

    # This process is an actor of its own here: a simulation has no threads.
    async with actorsys.open_nursery(), open_checkpoint(path, 0, 100) as kept:
        write_atomically = checkpoint_module._write_atomically
        monkeypatch.setattr(checkpoint_module, "open", open_late, raising=False)
        monkeypatch.setattr(checkpoint_module, "_write_atomically", write)
        kept.state = "given up"
        async with trio.open_nursery() as tasks:
            tasks.start_soon(kept.save)
            await trio.to_thread.run_sync(opened.wait, 5)
            tasks.cancel_scope.cancel()
        left.clear()
        kept.state = "last"
        await kept.save()
        left.clear()
        released.set()
        await trio.to_thread.run_sync(left.wait, 0.3)
        assert kept_in(path) == "last"


# --- in a kernel (rows 47 to 49) -------------------------------------------------------------


async def test_a_kernel_goes_on_from_its_file(path: Path) -> None:
    written = []
    async with open_kernels(remote.keeper, restart="permanent") as runtime:

        async def count_to(stop: int) -> None:
            reply = await runtime.ask("keeper", Job(text=str(path)), timeout=5)
            for number in range(reply.value + 1, stop + 1):
                assert (await runtime.ask("keeper", Job(), timeout=5)).value == number
                if kept_in(path) not in (None, *written):
                    written.append(kept_in(path))

        await count_to(250)
        assert written == [{"count": 100}, {"count": 200}]
        with pytest.raises(ActorDied):
            await runtime.ask("keeper", Job(text=CRASH), timeout=5)
        assert kept_in(path) == {"count": 200}
        await count_to(230)
    assert kept_in(path) == {"count": 230}


@simulated
async def test_a_kernel_keeps_its_state_in_a_simulation(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    async with open_kernels(remote.keeper) as runtime:
        await runtime.ask("keeper", Job(text=str(path)), timeout=5)
        for number in range(1, 251):
            assert (await runtime.ask("keeper", Job(), timeout=5)).value == number
    assert kept_in(path) == {"count": 250}
