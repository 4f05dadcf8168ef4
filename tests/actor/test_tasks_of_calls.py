"""Each call has a task and a cancel scope of its own, which are there before the call."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import math
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import actorsys
from actorsys.actor.current import trace_context
from actorsys.testing import Simulation

pytestmark = pytest.mark.timeout(20)

MODULE = __name__

note: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="clean")
tasks_seen: list[trio.lowlevel.Task] = []
kept: list[weakref.ref[Any]] = []
generators: list[AsyncIterator[int]] = []  # nobody ends them
locks: list[trio.Lock] = []


@dataclass
class Load:
    number: int


actorsys.register_type(Load)


# --- functions that are called ---------------------------------------------------------------


async def note_task() -> None:
    tasks_seen.append(trio.lowlevel.current_task())


async def keep_lock() -> None:
    """Leave a lock to nobody."""
    await locks[-1].acquire()


async def take_lock() -> None:
    async with locks[-1]:
        pass


async def note_and_leave(text: str) -> str:
    """Return what is noted in the context of this call, and note *text*."""
    before = note.get()
    note.set(text)
    return before


async def trace() -> str | None:
    return trace_context.get()


async def keep(load: Load) -> None:
    kept.append(weakref.ref(load))


async def keep_and_fail(load: Load) -> None:
    kept.append(weakref.ref(load))
    raise ValueError("it failed")


async def sleep(seconds: float) -> float:
    await trio.sleep(seconds)
    return trio.current_effective_deadline()


async def deadline() -> float:
    return trio.current_effective_deadline()


async def swallow() -> str:
    """Do not care that it is cancelled."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        return "as if nothing had happened"


async def fail() -> None:
    raise ValueError("it failed")


async def fail_in_groups() -> None:
    """Fail, and be cancelled by that."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise ValueError("it failed")


async def fail_when_cancelled() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fail_at_the_end)


async def _fail_at_the_end() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("while cleaning up")


async def leave_a_scope_open() -> int:
    """Leave a generator early that has a scope around its items."""
    generators.append(_yield_in_a_scope())
    async for number in generators[-1]:
        return number
    return 0


async def _yield_in_a_scope() -> AsyncIterator[int]:
    with trio.move_on_after(1):
        yield 1


async def leave() -> None:
    raise SystemExit(3)


async def numbers() -> AsyncIterator[int]:
    while True:
        yield 1
        await trio.sleep(1)


# --- how they are called ---------------------------------------------------------------------

Test = Callable[[actorsys.Portal], Awaitable[None]]


def simulated(test: Test) -> Callable[[], None]:
    """Make a test of *test*, which is given the portal of an actor in a simulated tree."""

    async def main() -> None:
        tasks_seen.clear()
        kept.clear()
        sim = Simulation(seed=1)  # open, not run: what it runs has a deadline after a day
        async with sim.open(), actorsys.open_nursery() as nursery:
            await test(await nursery.start_actor("worker", modules=[MODULE]))
            await nursery.cancel()

    @functools.wraps(test)
    def run() -> None:
        trio.run(main, clock=MockClock(autojump_threshold=0))

    del run.__wrapped__  # type: ignore[attr-defined]  # pytest would look for its argument
    return run


async def is_usable(portal: actorsys.Portal) -> bool:
    """Tell whether a call runs as if it were the first."""
    assert await portal.run(sleep, 5) == math.inf
    return await portal.run(note_and_leave, "used") == "clean"


# --- tests -----------------------------------------------------------------------------------


@simulated
async def test_each_call_has_a_task_of_its_own(portal: actorsys.Portal) -> None:
    for _ in range(10):
        await portal.run(note_task)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(portal.run, note_task)
    assert len(set(tasks_seen)) == 20


@simulated
async def test_a_lock_that_is_kept_is_broken_with_its_call(portal: actorsys.Portal) -> None:
    locks.append(trio.Lock())
    await portal.run(keep_lock)
    with pytest.raises(actorsys.RemoteActorError, match="exited without releasing"):
        await portal.run(take_lock)


@simulated
async def test_after_many_calls_at_once_one_task_reads_and_one_stands_by(
    portal: actorsys.Portal,
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(portal.run, sleep, 1)
    await portal.run(note_task)
    (home,) = {task.parent_nursery for task in tasks_seen}
    assert home is not None
    await trio.sleep(1)
    # One that writes, one that reads, one that stands by.
    assert len(home.child_tasks) == 3


@simulated
async def test_a_call_does_not_see_the_context_of_the_one_before(portal: actorsys.Portal) -> None:
    assert [await portal.run(note_and_leave, f"{n}") for n in range(5)] == ["clean"] * 5


@simulated
async def test_a_trace_does_not_outlive_its_call(portal: actorsys.Portal) -> None:
    token = trace_context.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert await portal.run(trace) == trace_context.get()
    trace_context.reset(token)
    assert [await portal.run(trace) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("how", [keep, keep_and_fail])
def test_nothing_is_kept_of_a_call_that_has_ended(how: Any) -> None:
    async def test(portal: actorsys.Portal) -> None:
        for number in range(3):
            with contextlib.suppress(actorsys.RemoteActorError):
                await portal.run(how, Load(number))
        await trio.sleep(1)
        gc.collect()
        assert [ref() for ref in kept] == [None] * 3

    simulated(test)()


@simulated
async def test_a_deadline_is_that_of_its_call_alone(portal: actorsys.Portal) -> None:
    for _ in range(3):
        with trio.fail_after(7):
            assert await portal.run(deadline) < math.inf
        assert await is_usable(portal)
        with trio.move_on_after(2) as patience:
            await portal.run(sleep, 60)
        assert patience.cancelled_caught
        assert await is_usable(portal)
        await trio.sleep(10)
        assert await is_usable(portal)


@simulated
async def test_a_cancellation_is_that_of_its_call_alone(portal: actorsys.Portal) -> None:
    for function in (sleep, swallow, fail_when_cancelled, sleep):
        args = (60,) if function is sleep else ()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_quietly, portal, function, *args)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert await is_usable(portal)


async def _run_quietly(portal: actorsys.Portal, function: Any, *args: Any) -> None:
    with contextlib.suppress(actorsys.RemoteActorError):
        await portal.run(function, *args)


@pytest.mark.parametrize("function", [fail, fail_in_groups, leave])
def test_a_failure_is_that_of_its_call_alone(function: Any) -> None:
    async def test(portal: actorsys.Portal) -> None:
        for _ in range(3):
            with pytest.raises(actorsys.RemoteActorError):
                await portal.run(function)
            assert await is_usable(portal)

    simulated(test)()


@simulated
async def test_a_stream_that_is_left_early_leaves_its_task_usable(portal: actorsys.Portal) -> None:
    for _ in range(3):
        async with portal.open_stream_from(numbers) as stream:
            async for number in stream:
                assert number == 1
                break
        assert await is_usable(portal)


@simulated
async def test_all_of_many_calls_at_once_are_cancelled(portal: actorsys.Portal) -> None:
    with trio.move_on_after(1) as patience:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(portal.run, sleep, 3600)
    assert patience.cancelled_caught
    assert trio.current_time() < 60
    assert await is_usable(portal)


@simulated
async def test_a_scope_that_is_left_open_is_no_scope_of_other_calls(
    portal: actorsys.Portal,
) -> None:
    for _ in range(3):
        assert await portal.run(leave_a_scope_open) == 1
        assert await is_usable(portal)
