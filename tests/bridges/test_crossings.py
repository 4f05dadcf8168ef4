"""Calls, values, errors and order cross a bridge both ways."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import sniffio
import trio

from actorsys.bridges import Bridge, BridgeKind, open_bridge
from actorsys.errors import AsyncioCancelled, NoBridge

Cross = Callable[[Callable[[Bridge], Any]], Any]

THREADS = 8
CROSSINGS = 10_000
color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")


async def test_an_error_of_the_block_leaves_as_itself() -> None:
    with pytest.raises(KeyError):
        async with open_bridge():
            raise KeyError("of the block")


def test_a_result_comes_back_from_asyncio(cross: Cross) -> None:
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    async def scenario(bridge: Bridge) -> None:
        assert await bridge.run(add, 1, 2) == 3

    cross(scenario)


def test_a_result_comes_back_from_trio(cross: Cross) -> None:
    async def add(a: int, b: int) -> int:
        await trio.sleep(0)
        return a + b

    async def scenario(bridge: Bridge) -> None:
        assert await bridge.run(bridge.call_trio, add, 1, 2) == 3

    cross(scenario)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_error_of_asyncio_is_raised_in_trio_with_its_traceback(
    cross: Cross, error: BaseException
) -> None:
    async def fail_over_there() -> None:
        raise error

    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(type(error)) as caught:
            await bridge.run(fail_over_there)
        assert caught.value is error
        assert "fail_over_there" in "".join(traceback.format_exception(error))
        assert await bridge.run(asyncio.sleep, 0, "the loop goes on") == "the loop goes on"

    cross(scenario)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3)], ids=repr)
def test_an_error_of_trio_is_raised_in_asyncio_with_its_traceback(
    cross: Cross, error: BaseException
) -> None:
    async def fail_over_there() -> None:
        raise error

    async def scenario(bridge: Bridge) -> None:
        async def catch() -> str:
            with pytest.raises(type(error)) as caught:
                await bridge.call_trio(fail_over_there)
            return "".join(traceback.format_exception(caught.value))

        assert "fail_over_there" in await bridge.run(catch)

    cross(scenario)


def test_errors_cross_there_and_back(cross: Cross) -> None:
    async def fail() -> None:
        raise LookupError("two crossings")

    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(LookupError, match="two crossings"):
            await bridge.run(bridge.call_trio, fail)

    cross(scenario)


def test_a_cancellation_made_by_asyncio_code_is_an_error_in_trio(cross: Cross) -> None:
    async def cancel_itself() -> None:
        raise asyncio.CancelledError("its own idea")

    async def scenario(bridge: Bridge) -> None:
        with trio.CancelScope() as scope:
            with pytest.raises(AsyncioCancelled):
                await bridge.run(cancel_itself)
        assert not scope.cancelled_caught

    cross(scenario)


def test_a_timeout_of_asyncio_is_a_timeout_in_trio(cross: Cross) -> None:
    async def wait_in_vain() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(TimeoutError):
            await bridge.run(wait_in_vain)

    cross(scenario)


def test_what_is_no_coroutine_function_is_refused(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(TypeError, match="coroutine function"):
            await bridge.run(len, "abc")

    cross(scenario)


def test_context_variables_cross_with_calls(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        async def look() -> str:
            return color.get()

        async def look_from_asyncio() -> tuple[str, str]:
            here = color.get()
            color.set("blue")
            return here, await bridge.call_trio(look)

        color.set("red")
        assert await bridge.run(look_from_asyncio) == ("red", "blue")
        assert color.get() == "red"

    cross(scenario)


def test_each_side_knows_where_it_is(cross: Cross, kind: BridgeKind) -> None:
    async def scenario(bridge: Bridge) -> None:
        async def look() -> tuple[bool, str, bool]:
            assert asyncio.get_running_loop() is bridge.loop
            in_main = threading.current_thread() is threading.main_thread()
            return bridge.is_in_loop, sniffio.current_async_library(), in_main

        async def look_in_trio() -> tuple[bool, str]:
            return bridge.is_in_loop, sniffio.current_async_library()

        in_loop, library, in_main = await bridge.run(look)
        assert (in_loop, library, in_main) == (True, "asyncio", kind == "guest")
        assert await bridge.run(bridge.call_trio, look_in_trio) == (False, "trio")
        assert await look_in_trio() == (False, "trio")

    cross(scenario)


def test_asyncio_code_that_calls_asyncio_is_told_so(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(NoBridge, match="in asyncio already"):
            await bridge.run(bridge.run, asyncio.sleep, 0)

    cross(scenario)


def test_trio_code_that_calls_trio_is_told_so(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        with pytest.raises(NoBridge, match="in trio already"):
            await bridge.call_trio(trio.sleep, 0)

    cross(scenario)


def test_another_loop_of_asyncio_is_told_how_to_reach_the_one_of_the_actor(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        def call() -> None:
            with pytest.raises(NoBridge, match="run_coroutine_threadsafe"):
                asyncio.run(bridge.call_trio(trio.sleep, 0))
            with pytest.raises(NoBridge, match="run_coroutine_threadsafe"):
                asyncio.run(bridge.run(asyncio.sleep, 0))
            asyncio.run_coroutine_threadsafe(bridge.call_trio(trio.sleep, 0), bridge.loop).result()

        await bridge.run(asyncio.to_thread, call)

    cross(scenario)


def test_another_run_of_trio_is_told_how_to_reach_asyncio(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        def call() -> None:
            with pytest.raises(NoBridge, match="run_coroutine_threadsafe"):
                trio.run(bridge.run, asyncio.sleep, 0)
            with pytest.raises(NoBridge, match="run_coroutine_threadsafe"):
                trio.run(bridge.call_trio, trio.sleep, 0)

        await trio.to_thread.run_sync(call)

    cross(scenario)


def test_calls_into_asyncio_keep_their_order(cross: Cross) -> None:
    seen: list[int] = []

    async def scenario(bridge: Bridge) -> None:
        for i in range(1000):
            bridge.call_soon(seen.append, i)
        assert await bridge.run(asyncio.sleep, 0, "after them") == "after them"
        assert seen == list(range(1000))

    cross(scenario)


def test_posts_of_many_threads_keep_the_order_of_each(cross: Cross) -> None:
    seen: list[tuple[int, int]] = []

    async def scenario(bridge: Bridge) -> None:
        def post_all(thread: int) -> None:
            for i in range(CROSSINGS // THREADS):
                bridge.post(seen.append, (thread, i))

        async with trio.open_nursery() as tasks:
            for thread in range(THREADS):
                tasks.start_soon(trio.to_thread.run_sync, post_all, thread)

    cross(scenario)
    assert len(seen) == CROSSINGS
    for thread in range(THREADS):
        assert [i for t, i in seen if t == thread] == list(range(CROSSINGS // THREADS))


def test_posts_of_the_loop_come_before_the_result_of_the_call_that_made_them(cross: Cross) -> None:
    seen: list[int] = []

    async def scenario(bridge: Bridge) -> None:
        async def post() -> None:
            for i in range(100):
                bridge.post(seen.append, i)

        await bridge.run(post)
        assert seen == list(range(100))

    cross(scenario)


def test_many_calls_are_under_way_at_a_time(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        meeting = asyncio.Barrier(50)
        async with trio.open_nursery() as tasks:
            for _ in range(50):
                tasks.start_soon(bridge.run, meeting.wait)

    cross(scenario)
