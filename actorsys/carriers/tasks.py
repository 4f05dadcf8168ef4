"""The asyncio tasks of one participant: handlers, commands, and what is scheduled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Keeps tasks, which asyncio itself does not, and passes on their errors. Of the loop.

    *on_failure* is called with the error of a task. ``is_closing`` is set once all are cancelled:
    what they raise then comes out of `aclose`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_failure: Callable[[BaseException], None]
    ) -> None:
        self.is_closing = False
        self._loop = loop
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Tasks: {len(self._tasks)}{', closing' * self.is_closing}>"

    def spawn(
        self, name: str, function: Callable[..., Awaitable[T]], *args: Any
    ) -> asyncio.Task[T]:
        """Run *function* in a task; an error of it fails the run, being cancelled does not."""
        task = self._loop.create_task(_contained(function, args), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error.__cause__ or error if isinstance(error, _Exit) else error)

    def fail(self, error: BaseException) -> None:
        """Fail the run with *error*, unless it is ending."""
        if not self.is_closing:
            self._on_failure(error)

    async def aclose(self) -> None:
        """Cancel all tasks, and wait for them.

        Raises:
          Exception: the first that one has raised while it was cancelled.
        """
        self.is_closing = True
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        errors = [error for error in results if isinstance(error, Exception)]
        if errors:
            raise errors[0]


class _Exit(Exception):
    """Stands for a SystemExit or KeyboardInterrupt, which would end the whole loop."""


async def _contained(function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    try:
        return await function(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        raise _Exit from error
