"""Stopping is orderly where the actor cooperates, and bounded where it does not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stop_functions as remote
import trio
import trio.testing
from tree_helpers import (
    Gathering,
    freeze,
    is_running,
    leaves,
    noting,
    open_journal,
    open_worker,
    running,
)

import actorsys

pytestmark = pytest.mark.timeout(20)
MODULE = "stop_functions"
GRACE_SECONDS = 0.1
BOUND_SECONDS = GRACE_SECONDS + 0.5


async def test_stopping_is_orderly(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:

        async def call() -> None:
            with pytest.raises(actorsys.ContextCancelled):
                await portal.run(remote.note_end, journal.path)

        async def read() -> None:
            with pytest.raises(actorsys.ContextCancelled):
                async with portal.open_stream_from(
                    remote.note_end_of_stream, journal.path
                ) as stream:
                    assert [item async for item in stream] == [0]

        async def hold() -> None:
            with pytest.raises(actorsys.ContextCancelled):
                async with portal.open_context(remote.note_end_of_context, journal.path):
                    await trio.sleep_forever()

        async with trio.open_nursery() as tasks:
            for operation in (call, read, hold):
                tasks.start_soon(operation)
            started = await journal.read_lines(3)
            assert started == {"it started", "stream started", "context started"}
            with trio.fail_after(1):
                await portal.cancel_actor()
        assert await journal.read_lines(3) == {"it ended", "stream ended", "context ended"}
        assert not is_running(portal.pid)


async def test_stopping_reaches_the_actors_of_an_actor(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:

            async def call() -> None:
                with pytest.raises(actorsys.ContextCancelled):
                    await portal.run(remote.note_end_two_deep, journal.path)

            tasks.start_soon(call)
            assert await journal.read_lines(2) == {"inner started", "outer started"}
            with trio.fail_after(2):
                await portal.cancel_actor()
        assert await journal.read_lines(2) == {"inner ended", "outer ended"}


@pytest.mark.slow
async def test_stopping_is_bounded_whatever_the_actor_does(tmp_path: Path) -> None:
    functions = [
        remote.ignore_cancel,
        remote.ignore_everything,
        remote.block_the_loop,
        remote.ignore_cancel_two_deep,
    ]

    async def stop(fn: Callable[..., Any]) -> None:
        folder = tmp_path / fn.__name__
        folder.mkdir()
        with noting(fn.__name__):
            portal = await nursery.start_actor(fn.__name__, modules=[MODULE])
            async with running(portal, fn, folder):
                await all_run.wait()
                began = trio.current_time()
                await portal.cancel_actor(grace=GRACE_SECONDS)
                assert trio.current_time() - began < BOUND_SECONDS
                assert not is_running(portal.pid)

    all_run = Gathering(len(functions))
    async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
        for fn in functions:
            tasks.start_soon(stop, fn)


@pytest.mark.slow
async def test_stopping_a_frozen_actor_is_bounded(tmp_path: Path) -> None:
    async with open_worker(MODULE) as portal, running(portal, remote.idle, tmp_path):
        freeze(portal.pid)
        began = trio.current_time()
        await portal.cancel_actor(grace=GRACE_SECONDS)
        assert trio.current_time() - began < BOUND_SECONDS


async def test_a_call_in_a_thread_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    async with open_worker(MODULE) as portal, running(portal, remote.block_a_thread, tmp_path):
        began = trio.current_time()
        await portal.cancel_actor(grace=GRACE_SECONDS)
        assert trio.current_time() - began < BOUND_SECONDS


@pytest.mark.slow
async def test_several_that_do_not_end_are_stopped_at_the_same_time(tmp_path: Path) -> None:
    limits = actorsys.Limits(stop_grace_seconds=GRACE_SECONDS)
    async with open_journal(tmp_path) as journal:
        async with actorsys.open_nursery(limits=limits) as nursery:
            for i in range(3):
                await nursery.run_in_actor(remote.ignore_cancel, journal.path, name=f"{i}")
            assert await journal.read_lines(3) == {"started"}
            began = trio.current_time()
            await nursery.cancel()
            assert trio.current_time() - began < BOUND_SECONDS + 0.1


@pytest.mark.slow
async def test_leaving_a_nursery_with_an_error_is_bounded_as_well(tmp_path: Path) -> None:
    limits = actorsys.Limits(stop_grace_seconds=GRACE_SECONDS)
    async with open_journal(tmp_path) as journal:
        with pytest.raises(KeyError):
            async with actorsys.open_nursery(limits=limits) as nursery:
                await nursery.run_in_actor(remote.ignore_everything, journal.path)
                assert await journal.read_line() == "started"
                began = trio.current_time()
                raise KeyError("of the body")
        assert trio.current_time() - began < BOUND_SECONDS + 0.1


@pytest.mark.slow
async def test_a_stop_that_is_itself_cancelled_is_carried_through(tmp_path: Path) -> None:
    async with open_worker(MODULE) as portal, running(portal, remote.ignore_cancel, tmp_path):
        with trio.move_on_after(0.02):
            await portal.cancel_actor(grace=GRACE_SECONDS)
        assert not is_running(portal.pid)
        assert not portal.is_alive


@pytest.mark.slow
async def test_a_second_stop_in_more_of_a_hurry_wins(tmp_path: Path) -> None:
    async with open_worker(MODULE) as portal, running(portal, remote.ignore_cancel, tmp_path):
        began = trio.current_time()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.cancel_actor)
            await trio.testing.wait_all_tasks_blocked()
            await portal.cancel_actor(grace=0)
        assert trio.current_time() - began < 1


async def test_several_tasks_may_stop_one_actor() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(2):
            async with trio.open_nursery() as tasks:
                for _ in range(3):
                    tasks.start_soon(portal.cancel_actor)
        await portal.cancel_actor()


async def test_the_default_grace_is_three_seconds() -> None:
    assert actorsys.Limits().stop_grace_seconds == 3


async def test_a_sigterm_from_outside_is_orderly_and_a_death_all_the_same(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(3):
            async with actorsys.open_nursery() as nursery:
                portal = await nursery.start_actor("terminated", modules=[MODULE])

                async def call() -> None:
                    with pytest.raises(actorsys.ContextCancelled) as cancelled:
                        await portal.run(remote.note_end, journal.path)
                    assert cancelled.value.canceller == portal.uid

                async with trio.open_nursery() as tasks:
                    tasks.start_soon(call)
                    assert await journal.read_line() == "it started"
                    os.kill(portal.pid, signal.SIGTERM)
                await trio.sleep_forever()
        assert await journal.read_line() == "it ended"
    (error,) = leaves(caught.value)
    assert isinstance(error, actorsys.ActorDied)
