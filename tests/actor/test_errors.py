"""What a remote function raises is raised here, with all that it says."""

from __future__ import annotations

import traceback
from typing import Any

import error_functions as remote
import pytest
import trio
from shared_tree import SharedTree
from tree_helpers import open_worker

import actorsys

MODULE = "error_functions"
shared_tree = SharedTree(["worker"], MODULE)
pytestmark = pytest.mark.timeout(15)


async def failure(portal: actorsys.Portal, fn: Any, *args: Any) -> BaseException:
    """Return what a call of *fn* raises."""
    with trio.fail_after(5):
        try:
            await portal.run(fn, *args)
        except Exception as error:
            return error
    raise AssertionError("it raised nothing")


async def test_a_remote_error_is_of_its_own_class_and_says_where_it_came_from() -> None:
    async with open_worker(MODULE) as portal:
        with pytest.raises(ValueError, match=r"^bad text\b") as caught:
            await portal.run(remote.raise_value_error, "bad text")
        error = caught.value
        assert isinstance(error, actorsys.RemoteActorError)
        assert error.type_str == "ValueError"
        assert str(error) == "bad text"
        assert error.args == ("bad text",)
        assert error.src_uid == portal.uid
        assert error.relay_path == (portal.uid,)
        assert "in raise_value_error" in error.tb_str
        assert "raise ValueError(text)" in error.tb_str
        assert "ValueError: bad text" in error.tb_str
        printed = "".join(traceback.format_exception(error))
        assert "in raise_value_error" in printed
        assert "worker" in printed


async def test_builtin_errors_keep_what_makes_them_useful() -> None:
    async with open_worker(MODULE) as portal:
        key_error = await failure(portal, remote.raise_key_error)
        assert isinstance(key_error, KeyError)
        assert key_error.args == ("missing",)
        os_error = await failure(portal, remote.raise_os_error)
        assert isinstance(os_error, FileNotFoundError)
        assert os_error.errno == 2
        assert "/no/such/file" in str(os_error)
        unicode_error = await failure(portal, remote.raise_unicode_error)
        assert isinstance(unicode_error, UnicodeDecodeError)
        assert (unicode_error.start, unicode_error.object) == (0, b"\xff")
        assert isinstance(await failure(portal, remote.raise_assertion), AssertionError)
        assert isinstance(await failure(portal, remote.raise_timeout), actorsys.RemoteActorError)


async def test_every_error_can_be_caught_as_a_remote_one_and_as_ours() -> None:
    async with open_worker(MODULE) as portal:
        for fn in (remote.raise_key_error, remote.raise_group, remote.raise_unregistered):
            error = await failure(portal, fn)
            assert isinstance(error, actorsys.RemoteActorError)
            assert isinstance(error, actorsys.ActorsysError)


async def test_notes_travel() -> None:
    async with open_worker(MODULE) as portal:
        error = await failure(portal, remote.raise_with_notes)
        assert isinstance(error, actorsys.RemoteActorError)
        assert error.notes == ("first note", "second note")
        assert {"first note", "second note"} <= set(error.__notes__)


async def test_causes_and_contexts_travel() -> None:
    async with open_worker(MODULE) as portal:
        error = await failure(portal, remote.raise_from_cause)
        assert isinstance(error, RuntimeError)
        assert isinstance(error.__cause__, ValueError)
        assert "not a number" in str(error.__cause__)
        error = await failure(portal, remote.raise_in_context)
        assert error.__cause__ is None
        assert isinstance(error.__context__, ValueError)
        assert not error.__suppress_context__  # else no traceback would show it
        error = await failure(portal, remote.raise_from_none)
        assert error.__cause__ is None
        assert error.__context__ is None


async def test_a_group_arrives_as_a_group() -> None:
    async with open_worker(MODULE) as portal:
        error = await failure(portal, remote.raise_group)
        assert isinstance(error, ExceptionGroup)
        assert isinstance(error, actorsys.RemoteActorError)
        assert error.message == "outer"
        value, kind, inner = error.exceptions
        assert isinstance(value, ValueError)
        assert isinstance(kind, TypeError)
        assert isinstance(inner, ExceptionGroup)
        assert isinstance(inner.exceptions[0], KeyError)


async def test_except_star_takes_a_remote_group_apart() -> None:
    seen: list[str] = []
    async with open_worker(MODULE) as portal:
        try:
            await portal.run(remote.raise_group)
        except* ValueError:
            seen.append("value")
        except* (TypeError, KeyError) as rest:
            seen.append(f"{len(rest.exceptions)} others")
        try:
            await portal.run(remote.raise_from_nursery)
        except* ValueError:
            seen.append("in a task")
        try:
            await portal.run(remote.raise_value_error, "single")
        except* ValueError:
            seen.append("single")
    assert seen == ["value", "2 others", "in a task", "single"]


async def test_a_registered_error_is_caught_by_its_class() -> None:
    async with open_worker(MODULE, types=[remote.Refused]) as portal:
        with pytest.raises(remote.Refused) as caught:
            await portal.run(remote.raise_refused)
        assert isinstance(caught.value, actorsys.RemoteActorError)
        assert caught.value.args == (7, "because")
        assert caught.value.code == 7
        assert caught.value.type_str.endswith("Refused")


async def test_an_unregistered_error_is_no_more_than_a_remote_one() -> None:
    async with open_worker(MODULE) as portal:
        error = await failure(portal, remote.raise_unregistered)
        assert isinstance(error, actorsys.RemoteActorError)
        assert not isinstance(error, remote.Unregistered)
        assert error.type_str.endswith("Unregistered")
        assert str(error) == "of nobody's knowledge"


async def test_errors_that_resist_travelling_arrive_all_the_same() -> None:
    async with open_worker(MODULE, types=[remote.Awkward]) as portal:
        for fn in (
            remote.raise_awkward,
            remote.raise_object,
            remote.raise_stop_iteration,
            remote.raise_endless_causes,
            remote.raise_loop_of_causes,
        ):
            assert isinstance(await failure(portal, fn), actorsys.RemoteActorError)
        assert await portal.run(remote.add, 1, 1) == 2


async def test_hostile_text_is_cut_and_escaped() -> None:
    async with open_worker(MODULE) as portal:
        error = await failure(portal, remote.raise_hostile_text)
        printed = "".join(traceback.format_exception(error)) + repr(error)
        assert "\x1b" not in printed
        assert "\x07" not in printed
        assert len(str(error)) < 10_000
        assert len(printed) < 100_000


async def test_the_path_of_an_error_names_each_actor_it_went_through() -> None:
    async with open_worker(MODULE, types=[remote.Refused]) as portal:
        error = await failure(portal, remote.relay, "raise_value_error", "far away")
        assert isinstance(error, actorsys.RemoteActorError)
        assert isinstance(error, ValueError)
        assert str(error) == "far away"
        assert error.type_str == "ValueError"
        assert [name for name, _ in error.relay_path] == ["leaf", "worker"]
        assert error.src_uid == error.relay_path[0]
        assert error.relay_path[1] == portal.uid
        assert "in raise_value_error" in error.tb_str
        assert "in relay" in error.tb_str


async def test_an_error_on_its_way_can_be_caught_by_its_class_at_each_actor() -> None:
    async with open_worker(MODULE, types=[remote.Refused]) as portal:
        assert await portal.run(remote.relay_and_catch, "raise_with_notes") == "ValueError"
        error = await failure(portal, remote.relay_and_catch, "raise_refused")
        assert isinstance(error, remote.Refused)
        assert isinstance(error, actorsys.RemoteActorError)
        assert error.type_str == f"{MODULE}:Refused"
        assert [name for name, _ in error.relay_path] == ["leaf", "worker"]


async def test_wanting_to_exit_ends_the_call_and_not_the_actor() -> None:
    async with open_worker(MODULE) as portal:
        pid = portal.pid
        for fn in (remote.exit_quietly, remote.exit_in_thread, remote.interrupt):
            error = await failure(portal, fn)
            assert isinstance(error, actorsys.RemoteActorError)
            assert not isinstance(error, (SystemExit, KeyboardInterrupt))
        assert error.type_str == "KeyboardInterrupt"
        assert await portal.run(remote.add, 1, 1) == 2
        assert portal.pid == pid


async def test_an_error_in_one_call_leaves_the_others_alone() -> None:
    results: list[int] = []

    async def call(i: int) -> None:
        results.append(await portal.run(remote.add, i, 0))

    async def fail() -> None:
        with pytest.raises(ValueError, match="one of many"):
            await portal.run(remote.raise_value_error, "one of many")

    async with open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:
            for i in range(20):
                tasks.start_soon(call, i)
                tasks.start_soon(fail)
        assert sorted(results) == list(range(20))


async def test_an_error_of_a_generator_comes_after_its_items() -> None:
    seen: list[int] = []
    async with open_worker(MODULE) as portal:
        with pytest.raises(ValueError, match="no more") as caught:
            async with portal.open_stream_from(remote.count_then_fail, 3) as stream:
                async for item in stream:
                    seen.append(item)
        assert isinstance(caught.value, actorsys.RemoteActorError)
        assert await portal.run(remote.add, 1, 1) == 2
    assert seen == [0, 1, 2]
