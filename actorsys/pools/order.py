"""A call that has come to a worker."""

from __future__ import annotations

import contextvars
import math
from typing import Any

import trio

from ..actor import trace_context
from ..channel import Target
from ..errors import ActorsysError
from ..limits import Limits


class Order:
    """A call that has come. Owned by the `Bench`.

    ``scope`` is what it runs in, None until then and in the turn of another one. ``target`` is
    known once it was looked at; ``fault`` says why an argument cannot be had.
    """

    __slots__ = (
        "args",
        "deadline",
        "fault",
        "function",
        "has_begun",
        "kwargs",
        "number",
        "scope",
        "target",
        "trace",
    )

    def __init__(
        self, message: dict[str, Any], fault: ActorsysError | None, limits: Limits
    ) -> None:
        self.number: int = message["job"]
        self.function: str = message["call"]
        self.args: list[Any] = message["args"]
        self.kwargs: dict[str, Any] = message.get("kwargs", {})
        self.trace: str | None = message.get("trace")
        self.fault = fault
        self.target: Target | None = None
        self.scope: trio.CancelScope | None = None
        self.has_begun = False
        self.deadline = math.inf
        if "left" in message:
            seconds = message["left"] + limits.deadline_slack_seconds
            self.deadline = trio.current_time() + seconds

    def __repr__(self) -> str:
        state = "begun" if self.has_begun else "not begun"
        return f"<Order {self.number}: {self.function}, {state}>"

    def call(self) -> Any:
        """Call a plain function, in a context of its own."""
        assert self.target is not None
        context = contextvars.copy_context()
        context.run(trace_context.set, self.trace)
        return context.run(self.target.fn, *self.args, **self.kwargs)
