"""A bridge ends with its block: what is left over there is cancelled, and nothing vanishes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from actorsys.bridges import Bridge, BridgeKind, open_bridge
from actorsys.bridges.patience import Patience
from actorsys.errors import BridgeBroken, BridgeClosed

Cross = Callable[[Callable[[Bridge], Any]], Any]


def test_tasks_that_are_left_over_are_cancelled_and_waited_for(cross: Cross) -> None:
    seen: list[str] = []
    kept: list[asyncio.Task[None]] = []

    async def scenario(bridge: Bridge) -> None:
        async def linger() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await bridge.call_trio(trio.sleep, 0.01)  # clean-up may cross
                seen.append("cleaned up")

        async def leave() -> None:
            kept.append(asyncio.create_task(linger()))
            await asyncio.sleep(0)

        await bridge.run(leave)

    cross(scenario)
    assert seen == ["cleaned up"]


def test_a_cancelled_block_waits_for_what_is_left_over_as_well(
    kind: BridgeKind, run_trio: Any
) -> None:
    seen: list[str] = []
    kept: list[asyncio.Task[None]] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            seen.append("cleaned up")

    async def leave() -> None:
        kept.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with open_bridge(kind) as bridge:
                await bridge.run(leave)
                scope.cancel()
        assert seen == ["cleaned up"]

    run_trio(main)


def test_async_generators_and_threads_of_the_loop_are_ended(cross: Cross) -> None:
    seen: list[str] = []

    async def count() -> Any:
        try:
            yield 1
        finally:
            seen.append("generator closed")

    generator = count()  # held here, so that nothing but the end of the loop closes it

    async def scenario(bridge: Bridge) -> None:
        async def begin() -> None:
            await anext(generator)
            bridge.loop.run_in_executor(None, seen.append, "thread ran")

        await bridge.run(begin)

    cross(scenario)
    assert set(seen) == {"generator closed", "thread ran"}


def test_what_was_handed_over_before_the_end_is_called(cross: Cross) -> None:
    there: list[int] = []
    here: list[int] = []

    async def scenario(bridge: Bridge) -> None:
        for i in range(100):
            bridge.call_soon(there.append, i)
            bridge.call_soon(bridge.post, here.append, i)

    cross(scenario)
    assert there == here == list(range(100))


def test_posts_beside_the_end_are_called_or_refused(cross: Cross) -> None:
    taken: list[int] = []
    called: list[int] = []

    def post_until_refused(bridge: Bridge) -> None:
        with pytest.raises(BridgeClosed):
            for i in range(10**9):
                bridge.post(called.append, i)
                taken.append(i)

    async def scenario(bridge: Bridge) -> threading.Thread:
        thread = threading.Thread(target=post_until_refused, args=[bridge])
        thread.start()
        await trio.sleep(0.005)
        return thread

    cross(scenario).join()
    assert called == taken


def test_a_closed_bridge_refuses_every_crossing(kind: BridgeKind, run_trio: Any) -> None:
    async def main() -> None:
        async with open_bridge(kind) as bridge:
            pass
        with pytest.raises(BridgeClosed):
            await bridge.run(asyncio.sleep, 0)
        with pytest.raises(BridgeClosed):
            bridge.call_soon(print)
        with pytest.raises(BridgeClosed):
            bridge.post(print)
        assert "closed" in repr(bridge)

    run_trio(main)


def test_an_error_of_what_trio_has_called_there_is_raised_at_the_block(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        bridge.call_soon(int, "no number")
        await trio.sleep_forever()

    with pytest.raises(ValueError, match="no number"):
        cross(scenario)


def test_an_error_of_what_was_posted_is_raised_at_the_block(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        bridge.call_soon(bridge.post, int, "no number")
        await trio.sleep_forever()

    with pytest.raises(ValueError, match="no number"):
        cross(scenario)


def test_an_error_of_the_last_post_is_raised_as_well(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        bridge.call_soon(bridge.post, int, "no number")

    with pytest.raises(ValueError, match="no number"):
        cross(scenario)


def test_an_error_of_what_was_posted_in_the_last_moment_is_raised_if_it_was_taken(
    kind: BridgeKind, run_trio: Any
) -> None:
    taken: list[bool] = []

    async def post_at_the_end(bridge: Bridge) -> None:
        await bridge.ended.wait()  # type: ignore[attr-defined]
        try:
            bridge.post(int, "no number")
            taken.append(True)
        except BridgeClosed:
            taken.append(False)

    async def main() -> None:
        for _ in range(20):  # trio wakes the two who wait for this in any order
            async with trio.open_nursery() as tasks:
                try:
                    async with open_bridge(kind) as bridge:
                        tasks.start_soon(post_at_the_end, bridge)
                        await trio.testing.wait_all_tasks_blocked()
                except ValueError:
                    assert taken[-1]
                else:
                    assert not taken[-1]
            if kind == "guest":
                return  # its loop has one bridge

    run_trio(main)


def test_the_errors_of_the_block_and_of_the_bridge_leave_together(cross: Cross) -> None:
    async def scenario(bridge: Bridge) -> None:
        try:
            bridge.call_soon(int, "no number")
            await trio.sleep_forever()
        finally:
            raise KeyError("of the block")

    with pytest.raises(ExceptionGroup) as caught:
        cross(scenario)
    assert {type(error) for error in caught.value.exceptions} == {KeyError, ValueError}


async def _exit() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("how", ["exit", "stop"])
def test_asyncio_code_that_ends_the_loop_breaks_the_bridge_after_all_has_cleaned_up(
    cross: Cross, how: str
) -> None:
    seen: list[str] = []
    kept: list[asyncio.Task[None]] = []

    async def scenario(bridge: Bridge) -> None:
        async def work() -> None:
            if how == "exit":
                kept.append(asyncio.create_task(_exit()))
            else:
                bridge.loop.stop()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.001)
                seen.append("cleaned up")

        await bridge.run(work)

    with pytest.raises(BridgeBroken, match="SystemExit" if how == "exit" else "stop"):
        cross(scenario)
    assert seen == ["cleaned up"]


async def test_a_loop_that_is_broken_itself_breaks_the_bridge() -> None:
    async def pull_the_rug() -> None:
        def fail(timeout: float | None) -> None:
            raise OSError("no selector any more")

        asyncio.get_running_loop()._selector.select = fail  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    with pytest.raises(BridgeBroken, match="no selector"), trio.fail_after(2):
        async with open_bridge() as bridge:
            await bridge.run(pull_the_rug)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set when the test is over; then the thread that it has left behind ends."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "actorsys asyncio":
            thread.join(5)


Begun = Callable[[], object]


async def swallow(release: threading.Event, begun: Begun) -> None:
    begun()
    while not release.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.005)


async def block(release: threading.Event, begun: Begun) -> None:
    begun()
    release.wait()


async def begin_and_cancel(
    bridge: Bridge, stubborn: Callable[..., Any], release: threading.Event
) -> None:
    with trio.CancelScope() as scope:
        await bridge.run(stubborn, release, lambda: bridge.post(scope.cancel))
    assert scope.cancelled_caught != release.is_set()  # or it has returned after all


def hasty(*, ends: bool = True) -> Patience:
    return Patience(lambda: 0.02, ends=ends)


async def test_asyncio_code_that_blocks_is_left_behind_with_an_error_that_says_where(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BridgeBroken, match=r"it is in .*wait.*was left behind"):
        async with open_bridge(patience=hasty()) as bridge:
            bridge.call_soon(release.wait)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_task_that_swallows_its_cancellation_is_left_behind_and_named(
    release: threading.Event,
) -> None:
    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)

    kept: list[asyncio.Task[None]] = []

    async def leave() -> None:
        kept.append(asyncio.create_task(stubborn(), name="a stubborn one"))
        await asyncio.sleep(0)

    with pytest.raises(BridgeBroken, match="a stubborn one"):
        async with open_bridge(patience=hasty()) as bridge:
            await bridge.run(leave)


async def test_who_waits_elsewhere_for_a_call_that_is_left_behind_is_told(
    release: threading.Event,
) -> None:
    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)

    async def call(bridge: Bridge) -> None:
        with pytest.raises(BridgeClosed):
            await bridge.run(stubborn)

    async with trio.open_nursery() as tasks:
        with pytest.raises(BridgeBroken):
            async with open_bridge(patience=hasty()) as bridge:
                tasks.start_soon(call, bridge)
                await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("how", ["blocks", "swallows"])
async def test_a_cancelled_call_that_does_not_end_in_time_breaks_the_bridge(
    release: threading.Event, how: str
) -> None:
    with pytest.raises(BridgeBroken, match="left behind"), trio.fail_after(2):
        async with open_bridge(patience=hasty()) as bridge:
            await begin_and_cancel(bridge, block if how == "blocks" else swallow, release)
            await trio.sleep_forever()


async def test_what_else_was_called_cleans_up_when_a_call_is_left_behind(
    release: threading.Event,
) -> None:
    seen: list[str] = []

    async def orderly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            seen.append("cleaned up")

    with pytest.raises(BridgeBroken):
        async with open_bridge(patience=hasty()) as bridge, trio.open_nursery() as tasks:
            tasks.start_soon(bridge.run, orderly)
            await begin_and_cancel(bridge, swallow, release)
    assert seen == ["cleaned up"]


async def test_a_block_that_is_cancelled_from_outside_tells_what_it_has_left_behind(
    release: threading.Event,
) -> None:
    with pytest.raises(BridgeBroken), trio.CancelScope() as scope:
        async with open_bridge(patience=hasty()) as bridge, trio.open_nursery() as tasks:
            tasks.start_soon(bridge.run, swallow, release, lambda: bridge.post(scope.cancel))


async def test_a_child_complains_once_of_calls_that_do_not_end_and_waits_for_them(
    release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bridge(patience=hasty(ends=False)) as bridge, trio.open_nursery() as tasks:
        for _ in range(2):
            tasks.start_soon(begin_and_cancel, bridge, swallow, release)
        await trio.sleep(0.1)  # five times its patience
        release.set()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_patience_that_is_hurried_is_never_longer_than_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    grace = 3.0
    patience = Patience(lambda: grace, ends=True)
    began = trio.current_time()
    async with trio.open_nursery() as tasks:
        tasks.start_soon(patience.wait, trio.Event())
        await trio.sleep(1)
        grace = 0.5
        patience.hurry()
        grace = 3.0
        patience.hurry()
    assert trio.current_time() - began == 1.5


def test_a_guest_bridge_needs_a_host() -> None:
    async def main() -> None:
        async with open_bridge("guest"):
            pass

    with pytest.raises(RuntimeError, match="no guest of asyncio"):
        trio.run(main)
