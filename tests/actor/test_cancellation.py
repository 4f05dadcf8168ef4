"""trio's cancel scopes reach across processes, and leave the links whole."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import cancellation_functions as remote
import pytest
import trio
from shared_tree import SharedTree, alone
from tree_helpers import CancelAtStep, freeze, open_journal, open_worker

import actorsys

MODULE = "cancellation_functions"
shared_tree = SharedTree(["worker"], MODULE)
pytestmark = pytest.mark.timeout(20)


async def test_cancelling_the_caller_cancels_the_callee(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, remote.sleep_noting, journal.path, "it")
            assert await journal.read_line() == "it started"
            tasks.cancel_scope.cancel()
        assert await journal.read_line() == "it cancelled"
        assert await portal.run(remote.calls_in_flight) == 0


async def test_cancelling_reaches_the_callees_of_the_callee(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, remote.call_down, journal.path, 2)
            assert await journal.read_line() == "0 started"
            tasks.cancel_scope.cancel()
        lines = [await journal.read_line() for _ in range(3)]
        assert lines == ["0 cancelled", "1 cancelled", "2 cancelled"]
        assert await portal.run(remote.calls_in_flight) == 0


async def test_a_cancelled_call_waits_for_the_clean_up(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.move_on_after(0.05) as scope:
            await portal.run(remote.clean_up_slowly, journal.path)
        assert scope.cancelled_caught
        assert await portal.run(remote.calls_in_flight) == 0
        assert await journal.read_line() == "cleaned up"


async def test_a_failure_while_cancelling_is_not_lost() -> None:
    async with open_worker(MODULE) as portal:
        with pytest.raises(ValueError, match="clean-up failed") as caught:
            with trio.move_on_after(0.05):
                await portal.run(remote.fail_while_cancelled)
        assert isinstance(caught.value, actorsys.RemoteActorError)
        with pytest.raises(ExceptionGroup) as group:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(portal.run, remote.fail_while_cancelled)
                tasks.start_soon(portal.run, remote.fail_while_cancelled)
                await portal.run(remote.add, 1, 1)
                tasks.cancel_scope.cancel()
        assert [str(error) for error in group.value.exceptions] == ["clean-up failed"] * 2


async def test_a_result_that_comes_after_the_cancel_is_dropped() -> None:
    async with open_worker(MODULE) as portal:
        with trio.move_on_after(0.05) as scope:
            await portal.run(remote.return_all_the_same)
        assert scope.cancelled_caught
        assert await portal.run(remote.add, 1, 1) == 2


@alone
@pytest.mark.slow
async def test_a_callee_that_ignores_cancelling_does_not_hold_its_caller(tmp_path: Path) -> None:
    assert actorsys.Limits().cancel_ack_seconds == 0.4
    limits = actorsys.Limits(cancel_ack_seconds=0.2)
    async with open_journal(tmp_path) as journal, actorsys.open_nursery(limits=limits) as nursery:
        portal = await nursery.start_actor("stubborn", modules=[MODULE])
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, remote.refuse_to_end, journal.path)
            assert await journal.read_line() == "started"
            began = trio.current_time()
            tasks.cancel_scope.cancel()
        assert trio.current_time() - began < 0.5
        assert await portal.run(remote.add, 1, 1) == 2
        await portal.cancel_actor(grace=0)


@alone
async def test_a_call_in_a_thread_can_be_cancelled(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        began = trio.current_time()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, remote.block_a_thread, journal.path, 3)
            assert await journal.read_line() == "blocked"
            tasks.cancel_scope.cancel()
        assert trio.current_time() - began < 1
        await portal.cancel_actor()
        assert trio.current_time() - began < 2


async def test_a_deadline_travels_with_the_call() -> None:
    async with open_worker(MODULE) as portal:
        assert await portal.run(remote.time_left) == float("inf")
        with trio.fail_after(5):
            assert 4 < await portal.run(remote.time_left) < 5.1
            with trio.fail_after(60):
                assert await portal.run(remote.time_left) < 5.1


async def test_a_deadline_ends_the_call_like_any_other(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(0.1):
                await portal.run(remote.sleep_noting, journal.path, "it")
        with trio.move_on_after(0.1) as scope:
            async with portal.open_stream_from(remote.numbers) as stream:
                await stream.receive()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert await portal.run(remote.calls_in_flight) == 0
        assert await journal.read_lines(2) == {"it started", "it cancelled"}


async def test_a_deadline_that_has_passed_does_not_break_anything() -> None:
    async with open_worker(MODULE) as portal:
        with trio.move_on_after(0) as scope:
            await portal.run(remote.add, 1, 1)
        assert scope.cancelled_caught
        assert await portal.run(remote.add, 1, 1) == 2


async def test_a_deadline_is_enforced_over_there_while_the_caller_is_frozen(
    tmp_path: Path,
) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, remote.call_with_deadline, journal.path, 0.3)
            assert await journal.read_line() == "callee started"
            freeze(portal.pid)
            try:
                with trio.fail_after(1):
                    assert await journal.read_line() == "callee cancelled"
            finally:
                os.kill(portal.pid, signal.SIGCONT)
        assert await portal.run(remote.add, 1, 1) == 2


@alone
async def test_the_callees_of_a_caller_that_died_are_cancelled(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("caller", modules=[MODULE])
        async with trio.open_nursery() as tasks:

            async def call() -> None:
                with pytest.raises(actorsys.ActorDied):
                    await portal.run(remote.call_with_deadline, journal.path, 60)

            tasks.start_soon(call)
            assert await journal.read_line() == "callee started"
            os.kill(portal.pid, signal.SIGKILL)


async def test_leaving_a_stream_by_a_cancel_runs_the_remote_finally(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.CancelScope() as scope:
            async with portal.open_stream_from(remote.silent_numbers, journal.path) as stream:
                assert await stream.receive() == 0
                scope.cancel()
                await stream.receive()
        assert await journal.read_lines(2) == {"started", "closed"}
        assert await portal.run(remote.calls_in_flight) == 0


async def test_a_receive_that_is_cancelled_loses_no_item() -> None:
    seen: list[int] = []
    async with open_worker(MODULE) as portal:
        async with portal.open_stream_from(remote.numbers) as stream:
            step = 0
            while len(seen) < 300:
                with CancelAtStep(step % 7):
                    seen.append(await stream.receive())
                step += 1
    assert seen == list(range(300))


async def test_a_cancelled_context_does_not_fail_for_its_far_side_being_busy_sending() -> None:
    async with open_worker(MODULE) as portal:
        for _ in range(20):
            with trio.CancelScope() as scope:
                async with portal.open_context(remote.send_for_ever) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        await stream.receive()
                        scope.cancel()
                        await stream.receive()
            assert scope.cancelled_caught
        with pytest.raises(KeyError, match="of the body"):
            async with portal.open_context(remote.send_for_ever) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.receive()
                    raise KeyError("of the body")
        assert await portal.run(remote.calls_in_flight) == 0
