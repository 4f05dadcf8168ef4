"""A cancellation crosses the bridge, and whoever waits there sees the end of what it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actorsys.bridges import Bridge, open_bridge
from actorsys.testing import CancelAtStep

Cross = Callable[[Callable[[Bridge], Any]], Any]


def test_cancelling_in_trio_waits_for_the_clean_up_in_asyncio(cross: Cross) -> None:
    seen: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        started = trio.Event()

        async def work() -> None:
            bridge.post(started.set)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                seen.append("cleaned up")

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(bridge.run, work)
                await started.wait()
                scope.cancel()
        assert scope.cancelled_caught
        assert seen == ["cleaned up"]

    cross(scenario)


def test_what_is_cancelled_already_is_not_run(cross: Cross) -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("ran")

    async def scenario(bridge: Bridge) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bridge.run(work)
        assert scope.cancelled_caught

    cross(scenario)
    assert not seen


async def test_what_is_cancelled_before_the_loop_has_begun_it_is_not_run() -> None:
    seen: list[str] = []
    gate = threading.Event()

    async def work() -> None:
        seen.append("ran")

    async with open_bridge() as bridge:
        bridge.call_soon(gate.wait)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(bridge.run, work)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()  # the loop has been told
                gate.set()
        assert scope.cancelled_caught
    assert not seen


def test_an_error_of_the_clean_up_is_raised_in_place_of_the_cancellation(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        started = trio.Event()

        async def work() -> None:
            bridge.post(started.set)
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("while cleaning up")

        async def call(scope: trio.CancelScope) -> None:
            with scope, pytest.raises(ValueError, match="cleaning up"):
                await bridge.run(work)

        scope = trio.CancelScope()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call, scope)
            await started.wait()
            scope.cancel()

    cross(scenario)


async def test_a_result_that_is_under_way_when_it_is_cancelled_comes_back() -> None:
    """The asyncio task has ended; the cancellation comes before trio has heard of it."""
    async with open_bridge() as bridge:
        ended = threading.Event()

        async def work() -> str:
            bridge.loop.call_soon(bridge.loop.call_soon, ended.set)  # after its own last step
            return "a result"

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as tasks:

                async def call() -> None:
                    assert await bridge.run(work) == "a result"

                tasks.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                if ended.wait(5):  # holds up trio, where the result waits now
                    scope.cancel()
        assert not scope.cancelled_caught


def test_asyncio_code_that_swallows_its_cancellation_returns_its_result(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        started = trio.Event()

        async def work() -> str:
            bridge.post(started.set)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "went on"
            raise AssertionError

        async def call(scope: trio.CancelScope) -> None:
            with scope:
                assert await bridge.run(work) == "went on"
            assert not scope.cancelled_caught

        scope = trio.CancelScope()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call, scope)
            await started.wait()
            scope.cancel()

    cross(scenario)


@pytest.mark.parametrize("is_late", [False, True], ids=["while it runs", "while it ends"])
def test_ctrl_c_wins_over_a_result_and_waits_for_it(is_late: bool) -> None:
    seen: list[str] = []
    press = functools.partial(signal.raise_signal, signal.SIGINT)

    async def main() -> None:
        async with open_bridge() as bridge:
            with trio.CancelScope() as scope:

                async def work() -> str:
                    bridge.post(scope.cancel if is_late else press)
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
                    if is_late:
                        bridge.post(press)
                        await bridge.call_trio(trio.testing.wait_all_tasks_blocked)
                    seen.append("ended")
                    return "a result"

                await bridge.run(work)
                seen.append("went on")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert seen == ["ended"]


def test_cancelling_in_asyncio_waits_for_the_clean_up_in_trio(cross: Cross) -> None:
    seen: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        async def work(started: asyncio.Event) -> None:
            bridge.call_soon(started.set)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.01)
                seen.append("cleaned up")

        async def cancel() -> None:
            started = asyncio.Event()
            task = asyncio.create_task(bridge.call_trio(work, started))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert seen == ["cleaned up"]

        await bridge.run(cancel)

    cross(scenario)


def test_a_cancellation_in_asyncio_is_not_lost_to_a_result_of_trio(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        async def work(started: asyncio.Event) -> str:
            bridge.call_soon(started.set)
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            return "nobody wants it now"

        async def cancel() -> None:
            started = asyncio.Event()
            task = asyncio.create_task(bridge.call_trio(work, started))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        await bridge.run(cancel)

    cross(scenario)


def test_a_cancellation_crosses_there_and_back(cross: Cross) -> None:
    seen: list[str] = []

    async def scenario(bridge: Bridge) -> None:
        started = trio.Event()

        async def inner() -> None:
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                seen.append("trio")

        async def outer() -> None:
            try:
                await bridge.call_trio(inner)
            finally:
                seen.append("asyncio")

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(bridge.run, outer)
                await started.wait()
                scope.cancel()
        assert scope.cancelled_caught
        assert seen == ["trio", "asyncio"]

    cross(scenario)


def test_at_whatever_step_it_is_cancelled_what_has_begun_has_also_ended(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        log: list[str] = []

        async def inner() -> None:
            log.append("begun")
            try:
                await trio.lowlevel.checkpoint()
            finally:
                log.append("ended")

        async def outer() -> str:
            log.append("begun")
            try:
                await bridge.call_trio(inner)
                return "result"
            finally:
                await asyncio.sleep(0)
                log.append("ended")

        finished = False
        step = 0
        while not finished:
            log.clear()
            with CancelAtStep(step) as canceller:
                assert await bridge.run(outer) == "result"
                finished = not canceller.scope.cancel_called
            assert log.count("begun") == log.count("ended")
            assert not bridge.calls  # type: ignore[attr-defined]
            step += 1
        assert step > 3

    cross(scenario)
