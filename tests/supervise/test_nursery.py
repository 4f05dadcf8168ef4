"""A nursery of actors keeps trio's promises: none outlives the block, and no error is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nursery_functions as remote
import pytest
import trio
import trio.testing
from tree_helpers import in_one_process, is_running, leaves, open_journal

import actorsys

pytestmark = pytest.mark.timeout(20)
MODULE = "nursery_functions"


# --- what keeps a block open --------------------------------------------------------------


async def test_a_daemon_keeps_the_block_open(tmp_path: Path) -> None:
    left, started = trio.Event(), trio.Event()
    portals: list[actorsys.Portal] = []

    async def hold_nursery() -> None:
        async with actorsys.open_nursery() as nursery:
            portals.append(await nursery.start_actor("daemon", modules=[MODULE]))
            started.set()
        left.set()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(hold_nursery)
        await started.wait()
        with trio.move_on_after(0.2):
            await left.wait()
        assert not left.is_set()
        assert await portals[0].run(remote.add, 1, 1) == 2
        await portals[0].cancel_actor()
        with trio.fail_after(1):
            await left.wait()


async def test_a_block_without_actors_just_ends() -> None:
    with trio.fail_after(1):
        async with actorsys.open_nursery() as nursery:
            assert nursery.children == {}


async def test_leaving_the_block_awaits_one_shots() -> None:
    async with actorsys.open_nursery() as nursery:
        adder = await nursery.run_in_actor(remote.add, 1, b=2)
        namer = await nursery.run_in_actor(remote.own_name)
    assert not adder.is_alive
    assert await adder.result() == 3
    assert await namer.result() == "own_name"


async def test_cancelling_around_a_nursery_ends_its_actors(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        with trio.CancelScope() as scope:
            async with actorsys.open_nursery() as nursery:
                portal = await nursery.start_actor("daemon", modules=[MODULE])
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(portal.run, remote.note_end, journal.path)
                    assert await journal.read_line() == "hanging"
                    scope.cancel()
        assert scope.cancelled_caught
        assert not is_running(portal.pid)
        assert await journal.read_line() == "ended"


# --- errors of the body -------------------------------------------------------------------


async def test_an_error_of_the_body_leaves_as_itself() -> None:
    error = KeyError("of the body")
    with pytest.raises(KeyError) as caught, trio.fail_after(2):
        async with actorsys.open_nursery() as nursery:
            daemon = await nursery.start_actor("daemon", modules=[MODULE])
            await nursery.run_in_actor(remote.hang)
            raise error
    assert caught.value is error
    assert not is_running(daemon.pid)


async def test_an_error_of_the_body_is_not_lost_when_the_block_is_cancelled_as_well() -> None:
    with trio.CancelScope() as scope:
        with pytest.raises(KeyError, match="of the body"):
            async with actorsys.open_nursery():
                scope.cancel()
                raise KeyError("of the body")


async def test_a_remote_error_that_the_body_asked_for_leaves_as_itself() -> None:
    with pytest.raises(ValueError, match="asked for") as caught:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("daemon", modules=[MODULE])
            await portal.run(remote.fail, "asked for")
    assert isinstance(caught.value, actorsys.RemoteActorError)
    assert not isinstance(caught.value, ExceptionGroup)


async def test_an_error_without_actors_leaves_as_itself() -> None:
    with pytest.raises(KeyError):
        async with actorsys.open_nursery():
            raise KeyError("of the body")
    with pytest.raises(SystemExit):
        async with actorsys.open_nursery():
            raise SystemExit(3)


# --- failures of children -----------------------------------------------------------------


async def test_a_failure_of_a_child_leaves_in_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with actorsys.open_nursery() as nursery:
            other = await nursery.start_actor("other", modules=[MODULE])
            await nursery.run_in_actor(remote.fail, "nobody asked", name="failing")
            await trio.sleep_forever()
    (error,) = leaves(caught.value)
    assert isinstance(error, ValueError)
    assert isinstance(error, actorsys.RemoteActorError)
    assert error.src_uid[0] == "failing"
    assert not is_running(other.pid)


async def test_failures_at_the_same_time_are_all_told(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    async with open_journal(tmp_path) as journal:
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
            async with actorsys.open_nursery() as nursery:
                keeper = os.open(gate, os.O_RDWR)
                try:
                    for text in ("one", "two", "three"):
                        await nursery.run_in_actor(
                            remote.fail_when_released, journal.path, gate, text, name=text
                        )
                    assert await journal.read_lines(3) == {"ready"}
                finally:
                    os.close(keeper)
                await trio.sleep_forever()
    told = [str(error) for error in leaves(caught.value)]
    assert len(told) == len(set(told))
    assert set(told) <= {"one", "two", "three"}
    assert len(told) == 3


async def test_deaths_at_the_same_time_are_all_told() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with actorsys.open_nursery() as nursery:
            portals = [await nursery.start_actor(f"daemon-{i}") for i in range(3)]
            for portal in portals:
                os.kill(portal.pid, signal.SIGKILL)
            await trio.sleep_forever()
    errors = leaves(caught.value)
    assert all(isinstance(error, actorsys.ActorDied) for error in errors)
    for i in range(3):
        assert len([error for error in errors if f"daemon-{i}" in str(error)]) == 1


async def test_a_failure_while_being_cancelled_is_told(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal:
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
            async with actorsys.open_nursery() as nursery:
                await nursery.run_in_actor(remote.fail_when_cancelled, journal.path)
                assert await journal.read_line() == "hanging"
                await nursery.run_in_actor(remote.fail, "first")
                await trio.sleep_forever()
    assert {str(error) for error in leaves(caught.value)} >= {"first"}
    assert any(isinstance(error, KeyError) for error in leaves(caught.value))


async def test_an_error_of_the_body_and_one_of_a_child_leave_together() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with actorsys.open_nursery() as nursery:
            await nursery.run_in_actor(remote.fail, "of the child")
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("of the body")
    kinds = {type(error) for error in leaves(caught.value)}
    assert KeyError in kinds
    assert any(issubclass(kind, actorsys.RemoteActorError) for kind in kinds)


async def test_an_error_told_to_a_waiter_is_not_told_twice() -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.fail, "asked for")
        with pytest.raises(ValueError, match="asked for"):
            await portal.result()
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.die, 4)
        with pytest.raises(actorsys.ActorDied) as caught:
            await portal.result()
        assert caught.value.exit_code == 4


async def test_a_waiter_that_does_not_catch_is_told_only_once() -> None:
    with pytest.raises(ValueError, match="asked for") as caught:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.run_in_actor(remote.fail, "asked for")
            await portal.result()
    assert not isinstance(caught.value, ExceptionGroup)


@in_one_process
async def test_a_result_nobody_asked_for_is_dropped_and_one_that_cannot_travel_is_told() -> None:
    async with actorsys.open_nursery() as nursery:
        await nursery.run_in_actor(remote.add, 1, 2)
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery() as nursery:
            await nursery.run_in_actor(remote.return_what_cannot_travel)
            await trio.sleep_forever()
    assert isinstance(leaves(caught.value)[0], actorsys.EncodeError)


async def test_a_one_shot_that_dies_unasked_leaves_through_the_nursery_once() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with actorsys.open_nursery() as nursery:
            await nursery.run_in_actor(remote.die, 7)
            await trio.sleep_forever()
    (error,) = leaves(caught.value)
    assert isinstance(error, actorsys.ActorDied)
    assert error.exit_code == 7


async def test_the_death_of_a_one_shot_is_told_also_when_the_body_has_ended() -> None:
    async with actorsys.open_nursery():
        for code in range(1, 5):
            with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
                async with actorsys.open_nursery() as nursery:
                    await nursery.run_in_actor(remote.die, code)
            assert [error.exit_code for error in leaves(caught.value)] == [code]  # type: ignore[attr-defined]


async def test_a_child_whose_own_child_failed_says_so() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with actorsys.open_nursery() as nursery:
            await nursery.run_in_actor(remote.run_failing_child, "deep down", name="middle")
            await trio.sleep_forever()
    (error,) = leaves(caught.value)
    assert isinstance(error, ValueError)
    assert isinstance(error, actorsys.RemoteActorError)
    assert str(error) == "deep down"
    assert [name for name, _ in error.relay_path] == ["fail", "middle"]


# --- run_in_actor -------------------------------------------------------------------------


async def test_a_one_shot_has_its_result_and_ends() -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.add, 1, b=2, name="adder")
        assert portal.name == "adder"
        assert await portal.result() == 3
        assert await portal.result() == 3
        waiting = portal.pid
    assert not is_running(waiting)


@in_one_process
async def test_several_tasks_can_wait_for_one_result() -> None:
    results: list[int] = []

    async def wait() -> None:
        results.append(await portal.result())

    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.add, 1, 1)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
    assert results == [2, 2]


@in_one_process
async def test_waiting_for_a_result_can_be_cancelled(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.hang, journal.path)
        with trio.move_on_after(0.02) as scope:
            await portal.result()
        assert scope.cancelled_caught
        assert await journal.read_line() == "hanging"
        assert portal.is_alive
        await portal.cancel_actor()


@in_one_process
async def test_the_result_of_a_stopped_one_shot_is_that_it_was_cancelled(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.hang, journal.path)
        assert await journal.read_line() == "hanging"
        await portal.cancel_actor()
        with trio.fail_after(1), pytest.raises(actorsys.ContextCancelled) as caught:
            await portal.result()
        assert caught.value.canceller == actorsys.current_actor().uid


@in_one_process
async def test_a_one_shot_whose_arguments_cannot_travel_leaves_no_actor() -> None:
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(actorsys.EncodeError):
            await nursery.run_in_actor(remote.add, object())
        assert nursery.children == {}


# --- cancel() -----------------------------------------------------------------------------


async def test_after_cancel_the_body_goes_on() -> None:
    async with actorsys.open_nursery() as nursery:
        portals = [await nursery.start_actor(f"daemon-{i}", modules=[MODULE]) for i in range(2)]
        await nursery.cancel()
        assert nursery.children == {}
        assert not any(is_running(portal.pid) for portal in portals)
        assert not any(portal.is_alive for portal in portals)
        again = await nursery.start_actor("again", modules=[MODULE])
        assert await again.run(remote.add, 1, 1) == 2
        await nursery.cancel()
        await nursery.cancel()


@in_one_process
async def test_cancel_lets_remote_tasks_clean_up(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, actorsys.open_nursery() as nursery:
        await nursery.run_in_actor(remote.note_end, journal.path)
        assert await journal.read_line() == "hanging"
        await nursery.cancel()
        assert await journal.read_line() == "ended"


@in_one_process
async def test_a_call_that_cancel_interrupts_says_who_did_it(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("daemon", modules=[MODULE])
        async with trio.open_nursery() as tasks:

            async def call() -> None:
                with pytest.raises(actorsys.ContextCancelled) as caught:
                    await portal.run(remote.hang, journal.path)
                assert caught.value.canceller == actorsys.current_actor().uid

            tasks.start_soon(call)
            assert await journal.read_line() == "hanging"
            await nursery.cancel()


# --- children, nesting, runtime -----------------------------------------------------------


@in_one_process
async def test_children_are_listed_by_name_while_they_live() -> None:
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("one")
        two = await nursery.start_actor("two")
        assert dict(nursery.children) == {"one": one, "two": two}
        await one.cancel_actor()
        assert dict(nursery.children) == {"two": two}
        await nursery.cancel()


@in_one_process
async def test_two_children_may_have_one_name_and_differ_in_their_uids() -> None:
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("same", modules=[MODULE])
        two = await nursery.start_actor("same", modules=[MODULE])
        assert one.uid[0] == two.uid[0] == "same"
        assert one.uid != two.uid
        assert await two.run(remote.own_name) == "same"
        await nursery.cancel()


async def test_a_closed_nursery_starts_nothing() -> None:
    async with actorsys.open_nursery() as outer:
        async with actorsys.open_nursery() as nursery:
            pass
        with pytest.raises((RuntimeError, actorsys.ActorsysError), match="closed"):
            await nursery.start_actor("late")
        with pytest.raises((RuntimeError, actorsys.ActorsysError), match="closed"):
            await nursery.run_in_actor(remote.add, 1)
        assert outer.children == {}


async def test_nested_nurseries_end_on_their_own() -> None:
    async with actorsys.open_nursery() as outer:
        daemon = await outer.start_actor("outer", modules=[MODULE])
        with pytest.raises(KeyError):
            async with actorsys.open_nursery() as inner:
                inner_daemon = await inner.start_actor("inner", modules=[MODULE])
                assert "inner" not in outer.children
                raise KeyError("of the inner body")
        assert not is_running(inner_daemon.pid)
        assert await daemon.run(remote.add, 1, 1) == 2
        with pytest.raises(ExceptionGroup):
            async with actorsys.open_nursery() as inner:
                await inner.run_in_actor(remote.fail, "inner")
        assert await daemon.run(remote.add, 1, 1) == 2
        await outer.cancel()


@in_one_process
async def test_two_nurseries_in_two_tasks_share_one_runtime() -> None:
    uids: list[object] = []

    async def use_nursery() -> None:
        async with actorsys.open_nursery() as nursery:
            uids.append(actorsys.current_actor().uid)
            portal = await nursery.run_in_actor(remote.add, 1, 1)
            assert await portal.result() == 2

    async with actorsys.open_nursery():
        uids.append(actorsys.current_actor().uid)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(use_nursery)
            tasks.start_soon(use_nursery)
    assert len(set(uids)) == 1


async def test_a_root_can_be_opened_again() -> None:
    uids = []
    for name in ("first", "second"):
        async with actorsys.open_nursery(name=name) as nursery:
            uids.append(actorsys.current_actor().uid)
            portal = await nursery.run_in_actor(remote.describe_self)
            assert (await portal.result())["parent"] == uids[-1]
        with pytest.raises(actorsys.NoRuntime):
            actorsys.current_actor()
    assert [name for name, _ in uids] == ["first", "second"]
    assert uids[0][1] != uids[1][1]


async def test_there_is_no_actor_outside_of_a_runtime() -> None:
    with pytest.raises(actorsys.NoRuntime):
        actorsys.current_actor()
    async with actorsys.open_nursery():
        actor = actorsys.current_actor()
        assert actor.name == "root"
        assert actor.uid[0] == "root"
        assert actor.parent_uid is None
        assert actor.statistics().children == 0


async def test_a_child_of_a_child_knows_its_place() -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("child", modules=[MODULE])
        child, grandchild = await portal.run(remote.describe_child)
        assert child["name"] == child["statistics"] == "child"
        assert child["parent"] == actorsys.current_actor().uid
        assert child["uid"] == portal.uid
        assert grandchild["name"] == "grandchild"
        assert grandchild["parent"] == portal.uid
        assert len({os.getpid(), child["pid"], grandchild["pid"]}) == 3
        await nursery.cancel()


async def test_a_worker_thread_finds_its_actor_and_a_foreign_one_does_not() -> None:
    async with actorsys.open_nursery() as nursery:
        assert await trio.to_thread.run_sync(remote.name_in_thread) == "root"
        portal = await nursery.start_actor("child", modules=[MODULE])
        assert await portal.run(remote.name_in_thread) == "child"
        assert await portal.run(remote.name_in_foreign_thread) == "none"
        await nursery.cancel()


def test_run_opens_a_runtime_around_main() -> None:
    async def main(a: int, b: int) -> tuple[str, int]:
        return actorsys.current_actor().name, a + b

    assert actorsys.run(main, 1, 2) == ("root", 3)
    assert actorsys.run(main, 1, 2, name="other") == ("other", 3)


def test_run_passes_on_what_main_raises() -> None:
    async def main() -> None:
        raise KeyError("of main")

    with pytest.raises(KeyError, match="of main"):
        actorsys.run(main)


async def test_cancelling_does_not_wait_for_who_is_started_meanwhile() -> None:
    async with actorsys.open_nursery() as nursery:
        first = await nursery.start_actor("first", modules=[MODULE])

        async def replace() -> None:
            with pytest.raises(actorsys.ActorsysError):
                await first.run(remote.hang)
            await nursery.start_actor("second")

        async with trio.open_nursery() as tasks:
            tasks.start_soon(replace)
            await trio.testing.wait_all_tasks_blocked(0.05)
            with trio.fail_after(3):
                await nursery.cancel()
        assert list(nursery.children) == ["second"]
        await nursery.cancel()
