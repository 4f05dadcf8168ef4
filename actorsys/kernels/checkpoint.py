"""State that survives its kernel: in a file that is always whole."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from ..actor import current_actor

T = TypeVar("T")


class Checkpoint:
    """State that is written to a file now and then.

    ``state`` is whatever JSON can hold; change it, or put another value in its place.
    """

    def __init__(self, path: str, state: Any, every: int) -> None:
        self.state = state
        self._path = path
        self._every = every
        self._unsaved = 0

    def __repr__(self) -> str:
        return f"<Checkpoint {self._path!r}: {self._unsaved} changes since it was written>"

    async def count(self) -> None:
        """Count one message; write the state if that makes enough of them."""
        self._unsaved += 1
        if self._unsaved >= self._every:
            await self.save()
        else:
            await trio.lowlevel.checkpoint()

    async def save(self) -> None:
        """Write the state now. Either the old file or the new one is there afterwards, whole.

        Raises:
          TypeError: JSON cannot hold the state; the file is as it was.
          OSError: it cannot be written.
        """
        text = json.dumps(self.state)
        # A thread cannot be stopped: given up half way, it would write into the next save.
        with trio.CancelScope(shield=True):
            await _run_blocking(functools.partial(_write_atomically, self._path, text))
        self._unsaved = 0


@asynccontextmanager
async def open_checkpoint(
    path: str | os.PathLike[str], default: Any, every: int
) -> AsyncIterator[Checkpoint]:
    """Open the state at *path*; see `KernelContext.checkpoint`.

    Raises:
      OSError: it cannot be read, or could not be written.
      ValueError: the file holds no JSON, or *every* is no number above 0.
    """
    if every < 1:
        raise ValueError(f"every is a number of messages from 1, not {every!r}")
    name = os.fspath(path)
    found = await _run_blocking(functools.partial(_open, name))
    checkpoint = Checkpoint(name, default if found is None else json.loads(found), every)
    yield checkpoint
    # The kernel may be ending, but this is what it was asked to finish.
    with trio.CancelScope(shield=True):
        await checkpoint.save()


async def _run_blocking(fn: Callable[[], T]) -> T:
    actor = current_actor()
    return await actor.host.run_blocking(fn, actor.threads)


def _open(path: str) -> str | None:
    """Return what is at *path*, None if nothing is, once it is sure that it can be replaced."""
    try:
        text = _read(path)
        trial = f"{path}.{os.getpid()}.trial"
        with open(trial, "w", encoding="utf-8"):
            pass
        os.unlink(trial)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(
            error.errno,
            f"a checkpoint cannot be kept in {path!r}: {why}; name a file in a directory that "
            f"exists and can be written to",
        ) from error
    return text


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write_atomically(path: str, text: str) -> None:
    beside = f"{path}.{os.getpid()}.new"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise
