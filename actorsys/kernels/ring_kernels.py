"""`@ring_kernel`: an async function that becomes an actor fed by a mailbox."""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ..actor import Context
from ..channel import context
from .hosting import host_kernel
from .kernel_context import KernelContext
from .mailbox import BackpressureStrategy

KernelFunction = Callable[[KernelContext], Awaitable[None]]

_KERNEL_ATTRIBUTE = "__ring_kernel__"


class KernelState(enum.Enum):
    """Where a kernel is in its life."""

    LAUNCHED = "launched"
    """Its process is up and its function runs; it is given no messages yet."""

    ACTIVE = "active"
    """It is given messages."""

    DEACTIVATED = "deactivated"
    """It is given no messages any more; they wait."""

    TERMINATING = "terminating"
    """It was asked to end; no more messages are accepted for it."""

    TERMINATED = "terminated"
    """It has ended."""

    FAILED = "failed"
    """It has crashed, and is not started again."""


@dataclass(frozen=True)
class MailboxOptions:
    """The queues of a kernel: how many messages, and what happens to one more.

    Attributes:
      queue_size: messages that are accepted and not taken.
      backpressure: what becomes of one more.
      output_queue_size: responses that are sent and not received; one more has the kernel wait.
    """

    queue_size: int = 1024
    backpressure: BackpressureStrategy = BackpressureStrategy.BLOCK
    output_queue_size: int = 1024

    def __post_init__(self) -> None:
        for name in ("queue_size", "output_queue_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is a whole number of messages from 1, not {value!r}")
        if not isinstance(self.backpressure, BackpressureStrategy):
            raise TypeError(f"backpressure is a BackpressureStrategy, not {self.backpressure!r}")


@dataclass(frozen=True)
class RingKernel:
    """What `@ring_kernel` was told of a function."""

    kernel_id: str
    function: KernelFunction
    options: MailboxOptions
    topics: tuple[str, ...]


def ring_kernel(
    *,
    kernel_id: str | None = None,
    queue_size: int = MailboxOptions.queue_size,
    backpressure: BackpressureStrategy = MailboxOptions.backpressure,
    output_queue_size: int = MailboxOptions.output_queue_size,
    topics: tuple[str, ...] = (),
) -> Callable[[KernelFunction], Callable[..., Awaitable[None]]]:
    """Make an async function that takes a `KernelContext` a kernel.

    *kernel_id* is its own name, by default that of the function; it is launched under any name.
    The queues are those of `MailboxOptions`. It is subscribed to *topics* when it is launched.

    Raises:
      TypeError: it is not an async function, or is not defined at the top of a module.
    """
    options = MailboxOptions(queue_size, backpressure, output_queue_size)
    if isinstance(topics, str):
        raise TypeError(f"topics is a tuple of names, not {topics!r}")

    def decorate(function: KernelFunction) -> Callable[..., Awaitable[None]]:
        if not (inspect.isfunction(function) and inspect.iscoroutinefunction(function)):
            raise TypeError(f"a kernel is an `async def` function, which {function!r} is not")
        if "<locals>" in function.__qualname__:
            raise TypeError(
                f"kernel {function.__qualname__} is defined inside a function, where no other "
                f"process finds it; move it to the top of a module"
            )
        kernel = RingKernel(kernel_id or function.__name__, function, options, tuple(topics))

        @functools.wraps(function)
        async def entry(ctx: Context | KernelContext, *settings: Any) -> None:
            if isinstance(ctx, Context):
                await host_kernel(ctx, function, *settings)
            else:
                await function(ctx)

        setattr(entry, _KERNEL_ATTRIBUTE, kernel)
        return context(entry)

    return decorate


def kernel_of(entry: object) -> RingKernel:
    """Return what `@ring_kernel` was told of *entry*.

    Raises:
      TypeError: it is no kernel.
    """
    kernel = getattr(entry, _KERNEL_ATTRIBUTE, None)
    if not isinstance(kernel, RingKernel):
        raise TypeError(f"{entry!r} is no kernel; put @ring_kernel(...) above the function")
    return kernel
