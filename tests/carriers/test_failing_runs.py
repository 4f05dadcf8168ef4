"""What becomes of a run when one of its participants fails, dies, hangs or does not end."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import carrier_helpers as remote
import psutil
import pytest
import trio
import trio.testing
from tree_helpers import in_one_process

import actorsys
from actorsys import ActorDied, Limits, RemoteActorError
from actorsys.actor.runtime import open_services
from actorsys.carriers import BudgetExceeded, Participant, Run, RunEnded, open_participants
from actorsys.testing import cancel_at_every_step

pytestmark = pytest.mark.slow


@in_one_process
async def test_an_error_of_a_one_way_handler_is_raised_to_whoever_waits() -> None:
    async with open_participants([Participant(remote.Failing)] * 2) as run:
        with (
            trio.fail_after(2),
            pytest.raises(ZeroDivisionError, match="cannot handle 3") as caught,
        ):
            await run.start(3)
            await run.quiescent()
        assert isinstance(caught.value, RemoteActorError)
        assert "on_exchange_message" in caught.value.tb_str
        assert caught.value.src_uid[0] == "participant-2"
        with pytest.raises(ZeroDivisionError):
            await run.start(4)


@in_one_process
async def test_an_error_that_nobody_waits_for_leaves_the_block() -> None:
    with pytest.raises(ZeroDivisionError, match="cannot handle 3"):
        async with open_participants([Participant(remote.Failing)] * 2) as run:
            await run.start(3)
            await trio.sleep_forever()


async def wait_until_asked(run: Run) -> None:
    """Wait until the coordinator has sent its request, and its handler has begun."""
    while run.statistics().messages == 0:
        await trio.sleep(0.001)
    await run.snapshot(remote.pid_of)


async def start_once_asked(run: Run) -> None:
    await wait_until_asked(run)
    with contextlib.suppress(ZeroDivisionError):  # it may fail before it has said that it starts
        await run.start(1)


@in_one_process
async def test_the_others_are_cancelled_when_one_fails(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    async with open_participants(
        [
            Participant(remote.Noting, args=(str(notes),)),
            Participant(remote.Failing),
        ],
        coordinator=Participant(remote.Noting, args=(str(notes),)),
    ) as run:
        with pytest.raises(ZeroDivisionError):
            async with open_services() as tasks:
                tasks.start_soon(start_once_asked, run)
                await run.coordinate(0)
        with trio.fail_after(2):
            while notes.read_text().count("CancelledError") < 2:
                await trio.sleep(0.01)


async def test_a_killed_participant_ends_the_run_and_the_requests_to_it(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with open_participants(
        [Participant(remote.Noting, args=(str(tmp_path / "other"),))] * 2,
        coordinator=Participant(remote.Noting, args=(str(notes),)),
    ) as run:
        portals = run.portals

        async def kill() -> None:
            while run.statistics().messages == 0:
                await trio.sleep(0.001)
            assert portals[0].pid is not None
            os.kill(portals[0].pid, signal.SIGKILL)

        with trio.fail_after(2), pytest.raises(ActorDied) as caught:
            async with open_services() as tasks:
                tasks.start_soon(kill)
                await run.coordinate(0)
        assert (caught.value.signal, caught.value.uid[0]) == (signal.SIGKILL, "participant-1")
    assert notes.read_text().startswith("ActorDied\n")
    assert not any(psutil.pid_exists(portal.pid) for portal in portals if portal.pid)


async def test_a_participant_that_dies_while_nobody_waits_cancels_the_block() -> None:
    with pytest.raises(ActorDied) as caught:
        async with open_participants([Participant(remote.Recorder)] * 2) as run:
            pid = run.portals[1].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await trio.sleep_forever()
    assert caught.value.uid[0] == "participant-2"


@in_one_process
async def test_cancelling_the_block_lets_asyncio_code_clean_up(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with trio.CancelScope() as scope:
        async with open_participants(
            [Participant(remote.Noting, args=(str(notes),))],
            coordinator=Participant(remote.Noting, args=(str(notes),)),
        ) as run:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(run.coordinate, 0)
                await wait_until_asked(run)
                scope.cancel()
    assert notes.read_text() == "CancelledError\n" * 2


async def test_a_participant_stuck_in_c_is_killed_after_its_grace() -> None:
    async with actorsys.open_nursery(limits=Limits(stop_grace_seconds=0.3)):
        before = trio.current_time()
        async with open_participants([Participant(remote.Blocking)] * 2) as run:
            await run.start(60)
            pids = [portal.pid for portal in run.portals]
            before = trio.current_time()
        assert trio.current_time() - before < 2.5
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


@in_one_process
async def test_a_budget_of_seconds_ends_the_run() -> None:
    async with open_participants([Participant(remote.Blocking)] * 2, max_seconds=0.2) as run:
        await run.start(0.5)
        with pytest.raises(BudgetExceeded, match="max_seconds"):
            await run.quiescent()


@in_one_process
async def test_a_budget_of_messages_ends_the_run() -> None:
    with pytest.raises(BudgetExceeded, match="5 messages"):
        async with open_participants([Participant(remote.PingPong)] * 2, max_messages=5) as run:
            await run.start(0)
            await trio.sleep_forever()


@in_one_process
async def test_an_error_of_the_block_leaves_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_participants([Participant(remote.Recorder)]):
            raise KeyError("mine")


async def test_a_start_that_is_cancelled_at_any_moment_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children()}

    async def start() -> None:
        async with open_participants([Participant(remote.Recorder)] * 2) as run:
            await run.start(1)
            await run.quiescent()

    async def check() -> None:
        assert {child.pid for child in psutil.Process().children()} == before

    await cancel_at_every_step(start, check, steps=[10, 60, 120, 200, 9_999])


@pytest.mark.parametrize("messages", [1, 50])
async def test_a_death_in_the_middle_of_a_run_is_told_at_once(messages: int) -> None:
    async with open_participants([Participant(remote.Endless)] * 2) as run:
        await run.start(0)
        while run.statistics().messages < messages:
            await trio.sleep(0.001)
        victim = run.portals[messages % 2]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        with trio.fail_after(2), pytest.raises(ActorDied) as caught:
            await run.quiescent()
        assert caught.value.uid == victim.uid


async def test_a_deadline_of_the_caller_is_the_callers_own() -> None:
    """The participants do not end by it while the block still cleans up."""
    async with actorsys.open_nursery(limits=Limits(stop_grace_seconds=0.3)):
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            async with open_participants([Participant(remote.Recorder)] * 2) as run:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(0.2)
                        await run.start(1)
                        await run.quiescent()


async def test_a_factory_that_blocks_is_killed_with_its_block() -> None:
    async with actorsys.open_nursery(limits=Limits(stop_grace_seconds=0.3)):
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            async with open_participants(
                [Participant(remote.Recorder), Participant(remote.blocking_factory)],
            ):
                pytest.fail("it has started")


async def test_a_death_while_others_start_is_told_at_once() -> None:
    async with actorsys.open_nursery(limits=Limits(stop_grace_seconds=0.3)):
        with trio.fail_after(5), pytest.raises(ActorDied, match="exit code 3"):
            async with open_participants(
                [Participant(remote.DyingSoon), Participant(remote.blocking_factory)]
            ):
                pytest.fail("it has started")


@pytest.mark.parametrize("delay", [0.06, 0.07, 0.1])
async def test_a_failure_that_comes_while_others_are_sent_much_is_told(delay: float) -> None:
    """Its own link ends with it, while those of the others still have something to send."""
    async with open_participants([Participant(remote.Drowning, args=(delay,))] * 3) as run:
        with trio.fail_after(4), pytest.raises(ValueError, match="drowned"):
            await run.start("go")
            await run.quiescent()


@in_one_process
async def test_calls_after_the_block_say_that_the_run_has_ended() -> None:
    async with open_participants(
        [Participant(remote.Recorder)] * 2, coordinator=Participant(remote.Asking)
    ) as run:
        pass
    with trio.fail_after(1):
        for call in (run.start, run.coordinate, run.snapshot):
            with pytest.raises(RunEnded, match="with its block"):
                await call("carrier_helpers:received")
        with pytest.raises(RunEnded):
            await run.quiescent()


@in_one_process
async def test_whoever_still_waits_when_the_block_ends_is_told() -> None:
    async with trio.open_nursery() as tasks:

        async def wait() -> None:
            with pytest.raises(RunEnded):
                await run.quiescent()

        async with open_participants([Participant(remote.Blocking)] * 2) as run:
            await run.start(0.5)
            tasks.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()


@in_one_process
async def test_a_snapshot_that_fails_stops_the_other_reads() -> None:
    async with open_participants(
        [Participant(remote.Numbered, args=(n,)) for n in range(3)]
    ) as run:
        with pytest.raises(ValueError, match="number 0"):
            await run.snapshot(remote.read_unless_first)
        with trio.move_on_after(0.1):
            await run.snapshot(remote.read_never)
        with trio.fail_after(2):
            await run.quiescent()


async def test_an_error_of_what_is_scheduled_is_raised_and_not_taken_for_the_end() -> None:
    for _ in range(5):
        async with open_participants([Participant(remote.Scheduling)] * 2) as run:
            with trio.fail_after(2), pytest.raises(ValueError, match="scheduled"):
                await run.start(0)
                await run.quiescent()


async def test_a_handler_that_exits_says_so() -> None:
    async with open_participants([Participant(remote.Exiting)] * 2) as run:
        with trio.fail_after(2), pytest.raises(RemoteActorError, match="SystemExit"):
            await run.start(3)
            await run.quiescent()
