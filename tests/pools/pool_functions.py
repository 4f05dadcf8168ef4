"""Functions that the tests of pools run in workers."""

from __future__ import annotations

import contextvars
import gc
import os
import threading
import time
from typing import Any

import numpy
import trio

import actorsys
from actorsys.pools.bench import Bench
from actorsys.pools.journal import Journal

JOURNAL: list[Any] = []
"""What functions have written down: all simulated actors share this module."""

_NOTE: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="clean")
ARRAY: contextvars.ContextVar[Any] = contextvars.ContextVar("array")
ARRAY.set(numpy.ones(3))


async def double(n: int) -> int:
    return 2 * n


def double_plainly(n: int) -> int:
    return 2 * n


async def own_name(_: Any = None) -> str:
    return actorsys.current_actor().name


async def nap(seconds: float) -> str:
    await trio.sleep(seconds)
    return actorsys.current_actor().name


async def nap_and_tell(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


async def note(value: Any, seconds: float = 0) -> Any:
    JOURNAL.append(value)
    await trio.sleep(seconds)
    return value


async def note_span(value: Any) -> None:
    """Write down the beginning and the end of a second."""
    JOURNAL.append(("begin", value))
    await trio.sleep(1)
    JOURNAL.append(("end", value))


async def hang(value: Any = None) -> None:
    JOURNAL.append(value)
    try:
        await trio.sleep_forever()
    finally:
        JOURNAL.append(("cancelled", value))


async def fail_at_13(n: int) -> int:
    if n == 13:
        raise ValueError("thirteen")
    return n


def fail_plainly(n: int) -> int:
    if n == 13:
        raise ValueError("thirteen")
    return n


async def hang_or_fail(n: int) -> None:
    if n == 13:
        await trio.sleep(1)
        raise ValueError("thirteen")
    try:
        await trio.sleep_forever()
    finally:
        JOURNAL.append(f"cancelled {n}")


async def hang_from_10(n: int) -> int:
    if n >= 10:
        await trio.sleep_forever()
    return n


async def hang_shielded(seconds: float) -> None:
    JOURNAL.append("shielded")
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


KILL: list[Any] = []
"""What ends the simulated worker that calls it."""


async def kill_at_13(n: int) -> int:
    if n == 13:
        KILL[0]()
        await trio.sleep_forever()
    return n


async def note_slowly(value: Any) -> Any:
    return await note(value, 0.01)


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("clean-up failed")


async def change_context() -> str:
    before = _NOTE.get()
    _NOTE.set("dirty")
    return before


def change_context_plainly() -> str:
    before = _NOTE.get()
    _NOTE.set("dirty")
    return before


async def change_array(_: Any = None) -> float:
    total = float(ARRAY.get().sum())
    ARRAY.set(numpy.zeros(3))
    return total


def stop_iteration(_: Any = None) -> None:
    next(iter([]))


async def leave() -> None:
    raise SystemExit(3)


async def return_what_cannot_travel() -> object:
    return object()


async def length_of(value: Any) -> int:
    return len(value)


async def size_and_fill(array: Any) -> float:
    array[0] = 7
    return float(array.sum())


async def time_left() -> float:
    return trio.current_effective_deadline() - trio.current_time()


async def own_trace() -> str | None:
    return actorsys.trace_context.get()


def own_trace_plainly() -> str | None:
    return actorsys.trace_context.get()


async def numbers():  # type: ignore[no-untyped-def]
    yield 1


async def _private() -> None:
    """Not to be called from outside."""


# --- for real processes -------------------------------------------------------------------


async def own_pid(_: Any = None) -> int:
    return os.getpid()


def exit_at_13(n: int) -> int:
    if n == 13:
        os._exit(3)
    return n


async def abort_at_13(n: int) -> int:
    if n == 13:
        os.abort()
    return n


def exit_once(path: str) -> str:
    """End the process the first time that this is called."""
    if not os.path.exists(path):
        open(path, "x").close()
        os._exit(3)
    return "survived"


async def say(**message: Any) -> None:
    """Say something to the pool behind the back of the runtime, as one who took the worker over."""
    for bench in gc.get_objects():
        if isinstance(bench, Bench) and bench._orders:
            bench.line.post(bench.line.encode(message))
    await trio.sleep_forever()


def spoil_journal_and_exit(number: int) -> None:
    """Write garbage where the result of call *number* would be, as one who took the worker over."""
    for journal in gc.get_objects():
        if isinstance(journal, Journal):
            journal.keep(number, "x")
            word = journal._word_of(number)
            journal._bytes[8 * word + 8 : 8 * word + 64] = b"\xc1" * 56
    os._exit(3)


def read_pipe(path: str) -> str:
    """Return when the last writer has closed the pipe."""
    with open(path) as pipe:
        return pipe.read()


def sleep_plainly(seconds: float) -> int:
    time.sleep(seconds)
    return threading.active_count()


async def map_inside(n: int) -> list[int]:
    """Have a pool inside a worker."""
    async with actorsys.open_pool(2, modules=[__name__]) as pool:
        return [result async for result in pool.map(double, range(n))]
