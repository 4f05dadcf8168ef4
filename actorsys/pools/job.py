"""One call that a pool has been given, until its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..actor import trace_context
from ..errors import ActorUnavailable

if TYPE_CHECKING:
    from .worker import Worker

OnEnd = Callable[["Job"], None]
"""Called once, when a job has ended in whatever way. It must not wait and must not raise."""


class Job:
    """A call, from `Scheduler.submit` to its end. Owned by whoever made it.

    ``worker`` is the one that has it at hand, None while it waits, and ``number`` what it is called
    there; ``rank`` is its place in the order in which the pool was given its jobs.
    """

    __slots__ = (
        "_on_end",
        "args",
        "deadline",
        "error",
        "function",
        "has_ended",
        "index",
        "is_cancelled",
        "key",
        "kwargs",
        "number",
        "rank",
        "retries_left",
        "trace",
        "tries",
        "value",
        "worker",
    )

    def __init__(
        self,
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        on_end: OnEnd,
        *,
        key: Hashable = None,
        retries: int = 0,
        deadline: float = math.inf,
        index: int = 0,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.key = key
        self.retries_left = retries
        self.deadline = deadline
        self.trace = trace_context.get()
        self.index = index
        self.tries = 0
        self.rank = 0
        self.number = 0
        self.worker: Worker | None = None
        self.is_cancelled = False
        self.has_ended = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._on_end = on_end

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "waiting" if self.worker is None else "at hand"
        return f"<Job {self.rank}: {self.function}, {state}>"

    def end(self, value: Any, error: BaseException | None) -> None:
        """End it, once."""
        if self.has_ended:
            return
        self.has_ended = True
        self.value = value
        self.error = error
        if error is not None and self.tries > 1 and isinstance(error, ActorUnavailable):
            error.add_note(f"{self.function} was tried {self.tries} times")
        self._on_end(self)
