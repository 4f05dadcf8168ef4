"""A portal calls functions in another process as if they were here."""

from __future__ import annotations

import datetime
import math
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import portal_functions as remote
import pytest
import trio
from shared_tree import SharedTree, alone
from tree_helpers import open_worker

import actorsys

MODULE = "portal_functions"
shared_tree = SharedTree(["worker"], MODULE)
pytestmark = pytest.mark.timeout(15)

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    -(2**200),
    1.5,
    math.inf,
    "",
    "héllo \U0001f3ad",
    b"\x00\xff",
    [],
    [1, [2, [3]]],
    (),
    (1, ("two", b"three")),
    {},
    {"a": {1: 2}},
    {(1, 2): "a tuple as a key", None: 0, 1.5: 1},
    set(),
    {1, "two"},
    frozenset({(1, 2)}),
    1 + 2j,
    uuid.UUID(int=7),
    datetime.datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=datetime.UTC),
    Path("/some/where"),
    remote.Colour.RED,
    remote.Point(1, tags=["a"]),
    [remote.Point(1, 2), {"colour": remote.Colour.RED}],
]

NOT_EXPOSED = [
    f"{MODULE}:_private",
    f"{MODULE}:getpid",
    f"{MODULE}:no_such_function",
    f"{MODULE}:Service.method",
    f"{MODULE}:os.getpid",
    f"{MODULE}:add.__call__",
    f"{MODULE}:Service",
    f"{MODULE}:some_value",
    f"{MODULE}:__builtins__",
    f"{MODULE}:",
    f"{MODULE}.os:getpid",
    "os:getpid",
    "builtins:eval",
    "no_such_module:add",
    "actorsys:run",
    ":add",
]


async def test_arguments_are_positional_or_keyword() -> None:
    async with open_worker(MODULE) as portal:
        assert await portal.run(remote.add, 1, 2) == 3
        assert await portal.run(remote.add, 1, b=2) == 3
        assert await portal.run(remote.add, a=1) == 1
        told = await portal.run(remote.describe, 1, "two", fn=3, self=4, name=5, cid=6, kwargs=7)
        assert told == ((1, "two"), {"fn": 3, "self": 4, "name": 5, "cid": 6, "kwargs": 7})


async def test_a_function_may_be_named_by_module_and_name() -> None:
    async with open_worker(MODULE) as portal:
        assert await portal.run(f"{MODULE}:add", 1, b=2) == 3
        async with portal.open_stream_from(f"{MODULE}:count", stop=2) as stream:
            assert [item async for item in stream] == [0, 1]
        async with portal.open_context(f"{MODULE}:greet", "you") as (ctx, first):
            assert (first, await ctx.result()) == ("hello you", "bye")


async def test_results_of_every_kind_come_back_as_they_were() -> None:
    async with open_worker(MODULE, types=[remote.Point, remote.Colour]) as portal:
        for value in VALUES:
            back = await portal.run(remote.echo, value)
            assert back == value
            assert type(back) is type(value)
        assert math.isnan(await portal.run(remote.echo, math.nan))
        array = np.arange(6, dtype=np.int16).reshape(2, 3)
        back = await portal.run(remote.echo, array)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


async def test_large_values_travel_whole() -> None:
    data = os.urandom(1024) * (8 * 1024)
    text = "é" * 1_000_000
    async with open_worker(MODULE) as portal:
        assert await portal.run(remote.echo, [data, text]) == [data, text]


async def test_a_type_error_of_the_call_itself_comes_back() -> None:
    async with open_worker(MODULE) as portal:
        with pytest.raises(TypeError, match="argument"):
            await portal.run(remote.add)
        with pytest.raises(TypeError, match="nonsense"):
            await portal.run(remote.add, 1, nonsense=2)
        with pytest.raises(TypeError, match="argument"):
            async with portal.open_stream_from(remote.count) as stream:
                await stream.receive()
        with pytest.raises(TypeError, match="argument"):
            async with portal.open_context(remote.greet):
                pass
        assert await portal.run(remote.add, 1, 1) == 2


async def test_a_plain_function_runs_in_a_thread_and_never_stalls_the_actor() -> None:
    async with open_worker(MODULE) as portal, trio.open_nursery() as tasks:
        assert not await portal.run(remote.sync_thread)
        assert await portal.run(remote.sync_add, 1, b=2) == 3
        tasks.start_soon(portal.run, remote.sync_block)
        assert await portal.run(remote.sync_wait_started)
        assert await portal.run(remote.add, 1, 1) == 2
        await portal.run(remote.unblock)


async def test_a_plain_function_fails_and_finds_its_actor_like_any_other() -> None:
    async with open_worker(MODULE) as portal:
        with pytest.raises(ValueError, match="from a thread"):
            await portal.run(remote.sync_fail)
        assert await portal.run(remote.sync_name) == "worker"


async def test_an_awaitable_that_a_plain_function_returns_is_awaited() -> None:
    async with open_worker(MODULE) as portal:
        assert await portal.run(remote.sync_returning_coroutine) == 3


async def test_many_calls_run_at_the_same_time() -> None:
    results: list[int] = []

    async def call(i: int) -> None:
        results.append(await portal.run(remote.add, i, 1))

    async with open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:
            for i in range(500):
                tasks.start_soon(call, i)
        assert sorted(results) == list(range(1, 501))


async def test_a_slow_call_does_not_hold_up_another() -> None:
    async with open_worker(MODULE) as portal, trio.open_nursery() as tasks:
        tasks.start_soon(portal.run, remote.sleep_forever)
        assert await portal.run(remote.add, 1, 1) == 2
        tasks.cancel_scope.cancel()


async def test_an_argument_that_cannot_travel_is_named() -> None:
    calls: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((1, object()), {}, "argument 2 .*object"),
        ((), {"b": object(), "a": 1}, "argument 'b' .*object"),
        ((1, [{"deep": [remote.Stranger()]}]), {}, "argument 2 .*Stranger"),
    ]
    async with open_worker(MODULE) as portal:
        for args, kwargs, place in calls:
            with pytest.raises(actorsys.EncodeError, match=place):
                await portal.run(remote.add, *args, **kwargs)
        assert await portal.run(remote.add, 1, 1) == 2


async def test_a_result_that_cannot_travel_is_an_error_and_not_a_silence() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5):
            with pytest.raises(actorsys.EncodeError, match="object"):
                await portal.run(remote.return_object)
            with pytest.raises(actorsys.EncodeError, match="Stranger"):
                await portal.run(remote.return_stranger)
            assert await portal.run(remote.add, 1, 1) == 2


async def test_a_type_that_only_one_side_registered_is_an_error_and_not_a_silence() -> None:
    actorsys.register_type(remote.Point)
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(actorsys.EncodeError, match="Point"):
            await portal.run(remote.echo, remote.Point(1))
        assert await portal.run(remote.add, 1, 1) == 2


async def test_more_than_the_limit_points_to_buffers_either_way() -> None:
    too_much = bytes(64 * 1024 * 1024)
    async with open_worker(MODULE) as portal:
        with pytest.raises(actorsys.LimitExceeded, match="buffer"):
            await portal.run(remote.echo, too_much)
        with pytest.raises(actorsys.LimitExceeded, match="buffer"):
            await portal.run(remote.return_too_much)
        assert await portal.run(remote.add, 1, 1) == 2


async def test_what_is_not_a_public_function_of_the_module_is_not_exposed() -> None:
    async with open_worker(MODULE) as portal:
        for name in NOT_EXPOSED:
            with pytest.raises(actorsys.NotExposed):
                await portal.run(name)
            with pytest.raises(actorsys.NotExposed):
                async with portal.open_context(name):
                    pass
        assert portal.is_alive
        assert await portal.run(remote.add, 1, 1) == 2


async def test_functions_of_the_runtime_itself_are_not_exposed() -> None:
    async with open_worker(MODULE) as portal:
        for name in ("self:stop", "self:cancel"):
            with pytest.raises(actorsys.NotExposed):
                await portal.run(name)
        assert await portal.run(remote.add, 1, 1) == 2


async def test_a_function_without_a_public_name_is_refused_here() -> None:
    def local() -> None: ...

    async with open_worker(MODULE) as portal:
        for fn in (local, lambda: 1, remote.Service().method, remote.Service.method):
            with pytest.raises(actorsys.NotExposed):
                await portal.run(fn)
        with pytest.raises(actorsys.ActorsysError, match="module:name"):
            await portal.run("add")


async def test_an_actor_without_modules_exposes_nothing() -> None:
    async with open_worker() as portal:
        with pytest.raises(actorsys.NotExposed, match=MODULE):
            await portal.run(remote.add, 1, 2)


async def test_a_function_of_another_kind_says_how_to_call_it() -> None:
    async with open_worker(MODULE) as portal:
        with pytest.raises(actorsys.LocalProtocolError, match="open_stream_from"):
            await portal.run(remote.count, 3)
        with pytest.raises(actorsys.LocalProtocolError, match="open_context"):
            await portal.run(remote.greet, "you")
        for fn, right in ((remote.add, "run"), (remote.greet, "open_context")):
            with pytest.raises(actorsys.LocalProtocolError, match=right):
                async with portal.open_stream_from(fn, 1):
                    pass
        for fn, right in ((remote.add, "run"), (remote.count, "open_stream_from")):
            with pytest.raises(actorsys.LocalProtocolError, match=right):
                async with portal.open_context(fn, 1):
                    pass
        assert await portal.run(remote.add, 1, 1) == 2


@alone
async def test_a_portal_tells_who_is_there_and_that_a_daemon_has_no_result() -> None:
    async with open_worker(MODULE) as portal:
        assert portal.is_alive
        assert portal.name == "worker"
        assert portal.uid == await portal.run(remote.own_uid)
        assert portal.pid == await portal.run(remote.own_pid) != os.getpid()
        assert await portal.run(remote.own_parent_uid) == actorsys.current_actor().uid
        assert "worker" in repr(portal)
        with pytest.raises(actorsys.LocalProtocolError, match="run_in_actor"):
            await portal.result()
        await portal.cancel_actor()
        assert not portal.is_alive
        assert portal.name == "worker"


async def test_a_trace_context_travels_with_the_call() -> None:
    async with open_worker(MODULE) as portal:
        assert await portal.run(remote.trace) is None
        actorsys.trace_context.set("00-trace-01")
        assert await portal.run(remote.trace) == "00-trace-01"


async def test_more_plain_functions_than_trio_has_threads_run_at_once() -> None:
    async with open_worker(MODULE) as portal:
        async with trio.open_nursery() as tasks:
            for _ in range(45):
                tasks.start_soon(portal.run, remote.sync_block)
            with trio.fail_after(5):
                assert await portal.run(remote.sync_add, 1, 2) == 3
            await portal.run(remote.unblock)
