"""An operation is cancelled after each of its steps, and checked each time."""

from __future__ import annotations

import itertools

import pytest
import trio

from actorsys.testing import CancelAtStep, cancel_at_every_step


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


async def test_each_step_is_cancelled_once_and_checked() -> None:
    reached: list[int] = []
    checks = 0

    async def operation() -> None:
        reached.append(0)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
            reached[-1] += 1

    async def check() -> None:
        nonlocal checks
        checks += 1

    assert await cancel_at_every_step(operation, check) == len(reached) - 1 == checks - 1
    assert reached == sorted(reached)
    assert set(reached) == set(range(6))


async def test_the_steps_of_every_task_count() -> None:
    async def operation() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(nothing)

    assert await cancel_at_every_step(operation, nothing) > 4


async def test_a_failure_says_after_which_step() -> None:
    is_open = False

    async def operation() -> None:
        nonlocal is_open
        is_open = True
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        is_open = False

    async def check() -> None:
        assert not is_open, "left open"

    with pytest.raises(AssertionError, match="left open") as caught:
        await cancel_at_every_step(operation, check)
    assert caught.value.__notes__ == ["the operation was cancelled after step 0"]


async def test_the_steps_can_be_given() -> None:
    async def operation() -> None:
        for _ in range(20):
            await trio.lowlevel.checkpoint()

    assert await cancel_at_every_step(operation, nothing, steps=itertools.count(0, 5)) < 8
    with pytest.raises(AssertionError, match="cancelled 3 times and was never complete"):
        await cancel_at_every_step(operation, nothing, steps=range(3))


async def test_an_operation_without_end_is_given_up() -> None:
    async def operation() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="cancelled 1 times and was never complete"):
        await cancel_at_every_step(operation, nothing, steps=itertools.count(100, 10_000))


async def test_one_step_can_be_picked() -> None:
    reached = 0
    with CancelAtStep(2) as canceller:
        for _ in range(10):
            await trio.lowlevel.checkpoint()
            reached += 1
    assert canceller.scope.cancelled_caught
    assert 0 < reached < 10
    with CancelAtStep(10):
        await trio.lowlevel.checkpoint()
    assert "10 steps" in repr(CancelAtStep(10))
