"""Tasks that never have to wait, and still let others run."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actorsys.channel.pacing import Pacing


async def test_a_pause_is_due_after_so_many_steps(mock_clock: MockClock) -> None:
    pacing = Pacing(3, 60)
    for _ in range(2):
        assert [pacing.is_pause_due() for _ in range(3)] == [False, False, True]
        await pacing.pause()


async def test_others_run_when_it_is_due(mock_clock: MockClock) -> None:
    pacing = Pacing(3, 60)
    others = trio.Event()
    async with trio.open_nursery() as tasks:
        tasks.start_soon(set_soon, others)
        for _ in range(2):
            await pacing.checkpoint()
        assert not others.is_set()
        for _ in range(4):  # until two pauses: the first may be over before the other task runs
            await pacing.checkpoint()
        assert others.is_set()


async def set_soon(event: trio.Event) -> None:
    event.set()


async def test_a_pause_is_due_after_so_long(mock_clock: MockClock) -> None:
    pacing = Pacing(1000, 1)
    assert not pacing.is_pause_due()
    mock_clock.jump(1.5)
    assert pacing.is_pause_due()
    await pacing.pause()
    assert not pacing.is_pause_due()


async def test_every_step_can_be_cancelled(mock_clock: MockClock) -> None:
    pacing = Pacing(1000, 60)
    with trio.CancelScope() as scope:
        scope.cancel()
        await pacing.checkpoint()
        pytest.fail("not a checkpoint")
    assert scope.cancelled_caught
