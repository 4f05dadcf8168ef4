"""Cancel an operation after each step it takes, one run for every step.

A cancellation may arrive at any checkpoint. What holds at all of them is worth a test::

    async def operation():
        assert await portal.run(add, 1, 1) == 2

    async def check():
        assert portal.is_alive

    await cancel_at_every_step(operation, check)
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType

import trio

_MAX_STEPS = 10_000  # an operation of more steps is better taken apart


class CancelAtStep(trio.abc.Instrument):
    """A block that is cancelled after the n-th step of the scheduler, whichever task took it.

    ``scope`` is the cancel scope of the block. The steps are those of all tasks of the run, so the
    same number may hit another moment next time, except in a simulation.
    """

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self._steps_left = step

    def __repr__(self) -> str:
        return f"<CancelAtStep: {self._steps_left} steps left>"

    def __enter__(self) -> CancelAtStep:
        trio.lowlevel.add_instrument(self)
        self.scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        trio.lowlevel.remove_instrument(self)
        return self.scope.__exit__(kind, error, traceback)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._steps_left:
            self.scope.cancel()
        self._steps_left -= 1


async def cancel_at_every_step(
    operation: Callable[[], Awaitable[object]],
    check: Callable[[], Awaitable[object]],
    *,
    steps: Iterable[int] | None = None,
) -> int:
    """Run *operation* until it completes uncancelled; before that, cancel it after each step.

    *check* runs after each of these runs, and after the complete one. *steps* are the steps after
    which to cancel, in rising order: 0, 1, 2, ... unless given. Return how many runs were
    cancelled.

    Raises:
      AssertionError: it was not complete after the last of *steps*, or after 10,000.
      Exception: whatever *operation* or *check* raises, with a note that says after which step.
    """
    runs = 0
    for step in itertools.count() if steps is None else steps:
        if step > _MAX_STEPS:
            break
        try:
            with CancelAtStep(step) as canceller:
                await operation()
            await check()
        except Exception as error:
            error.add_note(f"the operation was cancelled after step {step}")
            raise
        if not canceller.scope.cancel_called:
            return runs
        runs += 1
    raise AssertionError(f"the operation was cancelled {runs} times and was never complete")
