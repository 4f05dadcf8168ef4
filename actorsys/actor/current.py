"""Which actor is this code running in?

The runtime is no global: it is found through a tree variable, so several actors can live in one
process, and a worker thread finds the actor that started it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import tricycle
import trio

from ..errors import NoRuntime

if TYPE_CHECKING:
    from .runtime import Actor

_actor: tricycle.TreeVar[Actor | None] = tricycle.TreeVar("actorsys_actor", default=None)
_thread_actor: contextvars.ContextVar[Actor | None] = contextvars.ContextVar(
    "actorsys_thread_actor", default=None
)
trace_context: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "actorsys_trace_context", default=None
)
"""The W3C ``traceparent`` of the work in progress. It travels with every call."""


def find_current_actor() -> Actor | None:
    """Return the actor around this code, or None."""
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return _thread_actor.get()
    return _actor.get()


def current_actor() -> Actor:
    """Return the actor around this code.

    Raises:
      NoRuntime: there is none.
    """
    actor = find_current_actor()
    if actor is None:
        raise NoRuntime(
            "no actor runtime here; open one with `async with actorsys.open_nursery()`, "
            "or run your main function with actorsys.run"
        )
    return actor


@contextmanager
def being(actor: Actor) -> Iterator[None]:
    """Make *actor* the current one, for this task and the nurseries it opens inside."""
    token = _thread_actor.set(actor)
    try:
        with _actor.being(actor):
            yield
    finally:
        _thread_actor.reset(token)
