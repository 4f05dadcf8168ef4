"""Copies that an actor forks of itself: they may do what they like, but be the actor."""

from __future__ import annotations

import contextlib
import os

import trio

from ..channel import Outbox

_ENDED = 1  # the exit code


def end_returning_copies() -> None:
    """End every copy of this process, from now on, that comes back into the event loop.

    It would answer in place of the actor, read what is sent to it, and disturb what the kernel
    tells it: they share one epoll. So it ends when it is about to write to a link, and else with
    the step of the task that has forked it.
    """
    os.register_at_fork(after_in_child=_guard_copy)


def _guard_copy() -> None:
    setattr(Outbox, "flush", _end_copy)  # noqa: B010 - not a method of its own
    with contextlib.suppress(RuntimeError):  # forked by a thread, it has no event loop
        trio.lowlevel.add_instrument(_EndsCopy())


def _end_copy(*_: object) -> None:
    os.write(2, b"a forked copy of an actor came back into its event loop, and was ended\n")
    os._exit(_ENDED)


class _EndsCopy(trio.abc.Instrument):
    """Ends this process before a second task runs in it."""

    def __repr__(self) -> str:
        return "<_EndsCopy>"

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        _end_copy()
