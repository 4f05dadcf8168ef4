"""When an actor dies, everybody who waits for it learns so at once, and how it died."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import death_functions as remote
import pytest
import trio
import trio.testing
from tree_helpers import freeze, leaves, open_journal, wait_until_async

import actorsys

pytestmark = pytest.mark.timeout(20)
MODULE = "death_functions"
TOLD_WITHIN_SECONDS = 1.0


@asynccontextmanager
async def open_doomed() -> AsyncIterator[actorsys.Portal]:
    """Start an actor that nobody stops: it has to die within the block, and be waited for."""
    async with actorsys.open_nursery() as nursery:
        yield await nursery.start_actor("doomed", modules=[MODULE])


def kill(portal: actorsys.Portal, number: int = signal.SIGKILL) -> None:
    os.kill(portal.pid, number)


async def death(operation: Callable[..., Awaitable[Any]], *args: Any) -> actorsys.ActorDied:
    """Return the death of which *operation* is told, in time."""
    with trio.fail_after(TOLD_WITHIN_SECONDS):
        with pytest.raises(actorsys.ActorDied) as caught:
            await operation(*args)
    return caught.value


async def test_a_call_in_flight_is_told_pid_signal_and_last_words() -> None:
    async with open_doomed() as portal:
        error = await death(portal.run, remote.die_by_signal, int(signal.SIGKILL))
        assert (error.signal, error.exit_code) == (signal.SIGKILL, None)
        assert error.may_have_run
        assert "last words" in error.stderr_tail
        assert str(portal.pid) in str(error)
        assert "doomed" in str(error)
        assert "SIGKILL" in str(error)
        assert isinstance(error, actorsys.ActorUnavailable)
        assert not portal.is_alive


@pytest.mark.parametrize("code", [0, 3])
async def test_a_call_in_flight_is_told_the_exit_code(code: int) -> None:
    async with open_doomed() as portal:
        error = await death(portal.run, remote.die_by_exit, code)
        assert (error.signal, error.exit_code) == (None, code)
        assert "last words" in error.stderr_tail


async def test_a_crash_is_told_as_its_signal() -> None:
    async with open_doomed() as portal:
        error = await death(portal.run, remote.die_by_signal, int(signal.SIGSEGV))
        assert error.signal == signal.SIGSEGV


async def test_a_thread_can_take_its_actor_down() -> None:
    async with open_doomed() as portal:
        error = await death(portal.run, remote.die_in_thread)
        assert error.exit_code == 9


async def test_each_waiter_is_told_whatever_it_waits_for(tmp_path: Path) -> None:
    told: list[actorsys.ActorDied] = []
    ready = trio.Event()
    waiting = 0

    async def wait_to_be_told(operation: Callable[..., Awaitable[Any]]) -> None:
        nonlocal waiting
        with pytest.raises(actorsys.ActorDied) as caught:
            await operation()
        told.append(caught.value)

    def note() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 4:
            ready.set()

    async def call() -> None:
        note()
        await portal.run(remote.hang)

    async def read_stream() -> None:
        async with portal.open_stream_from(remote.count_then_hang, 1) as stream:
            await stream.receive()
            note()
            await stream.receive()

    async def hold_context() -> None:
        async with portal.open_context(remote.talk):
            note()
            await trio.sleep_forever()

    async def talk() -> None:
        async with portal.open_context(remote.talk) as (ctx, _), ctx.open_stream() as stream:
            await stream.send(1)
            await stream.receive()
            note()
            await stream.receive()

    async def wait_for_start() -> None:
        async with portal.open_context(remote.start_never):
            pass

    operations = (call, read_stream, hold_context, talk, wait_for_start)
    async with open_journal(tmp_path) as journal, open_doomed() as portal:
        with trio.fail_after(5):
            async with trio.open_nursery() as tasks:
                for operation in operations:
                    tasks.start_soon(wait_to_be_told, operation)
                await ready.wait()
                tasks.start_soon(wait_to_be_told, lambda: portal.run(remote.hang, journal.path))
                assert await journal.read_line() == "hanging"
                kill(portal)
                tasks.cancel_scope.deadline = trio.current_time() + TOLD_WITHIN_SECONDS
    assert len(told) == len(operations) + 1
    assert {error.signal for error in told} == {signal.SIGKILL}
    assert len({id(error) for error in told}) == len(told)


async def test_a_death_told_to_a_waiter_is_not_told_again_by_the_nursery() -> None:
    async with open_doomed() as portal:
        await death(portal.run, remote.die_by_exit, 1)


async def test_a_death_nobody_waited_for_leaves_through_the_nursery_once() -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with open_doomed() as portal:
            kill(portal)
            await trio.sleep_forever()
    (error,) = leaves(caught.value)
    assert isinstance(error, actorsys.ActorDied)
    assert error.signal == signal.SIGKILL
    assert "doomed" in str(error)


async def test_a_call_to_the_dead_provably_never_ran() -> None:
    async with open_doomed() as portal:
        await death(portal.run, remote.die_by_exit, 5)
        for operation in (portal.run(remote.add, 1, 1), portal.run(remote.hang)):
            with pytest.raises(actorsys.ActorDied) as caught:
                await operation
            assert not caught.value.may_have_run
            assert caught.value.exit_code == 5
        with pytest.raises(actorsys.ActorDied):
            async with portal.open_stream_from(remote.count):
                pass
        with pytest.raises(actorsys.ActorDied):
            async with portal.open_context(remote.talk):
                pass


async def test_a_call_that_was_sent_to_a_frozen_actor_may_have_run() -> None:
    async with open_doomed() as portal, trio.open_nursery() as tasks:
        freeze(portal.pid)

        async def call() -> None:
            with pytest.raises(actorsys.ActorDied) as caught:
                await portal.run(remote.hang)
            assert caught.value.may_have_run

        tasks.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        kill(portal)


async def test_a_stream_that_death_cuts_short_does_not_look_complete() -> None:
    async with open_doomed() as portal:
        with trio.fail_after(5), pytest.raises(actorsys.ActorDied):
            async with portal.open_stream_from(remote.count) as stream:
                async for item in stream:
                    if item == 100:
                        kill(portal)
                pytest.fail("the stream never ends by itself")


async def test_a_reader_that_is_busy_while_its_actor_dies_is_told_and_nobody_else() -> None:
    async with open_doomed() as portal:
        with pytest.raises(actorsys.ActorDied):
            async with portal.open_stream_from(remote.count_then_hang, 1) as stream:
                await stream.receive()
                kill(portal)
                await wait_until_async(lambda: not portal.is_alive, TOLD_WITHIN_SECONDS)
                await stream.receive()


async def test_a_send_to_the_dead_is_an_error() -> None:
    async with open_doomed() as portal:
        with trio.fail_after(5), pytest.raises(actorsys.ActorDied):
            async with portal.open_context(remote.talk) as (ctx, _):
                async with ctx.open_stream() as stream:
                    kill(portal)
                    while True:
                        await stream.send(b"x" * 10_000)


async def test_a_block_that_waits_for_nothing_remote_is_interrupted() -> None:
    async with open_doomed() as portal:
        with trio.fail_after(TOLD_WITHIN_SECONDS), pytest.raises(actorsys.ActorDied):
            async with portal.open_context(remote.talk):
                kill(portal)
                await trio.sleep_forever()


async def test_stopping_the_dead_is_no_error() -> None:
    async with open_doomed() as portal:
        await death(portal.run, remote.die_by_exit, 1)
        await portal.cancel_actor()
        await portal.cancel_actor()


async def test_only_the_end_of_a_long_stderr_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_doomed() as portal:
        await portal.run(remote.say, "first line\n" + "x" * 100_000)
        error = await death(portal.run, remote.die_by_exit, 1)
        assert len(error.stderr_tail) < 20_000
        assert error.stderr_tail.rstrip().endswith("last words")
    passed_on = capfd.readouterr().err
    assert "first line" in passed_on
    assert "last words" in passed_on


@pytest.mark.slow
async def test_a_kill_at_any_moment_ends_every_operation() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)

    async def call() -> None:
        while True:
            assert await portal.run(remote.add, 1, 1) == 2

    async def read() -> None:
        async with portal.open_stream_from(remote.count) as stream:
            async for _ in stream:
                pass

    async def talk() -> None:
        async with portal.open_context(remote.talk) as (ctx, _), ctx.open_stream() as stream:
            while True:
                await stream.send("x")
                assert await stream.receive() == "x"

    async def until_told(operation: Callable[[], Awaitable[None]]) -> None:
        with pytest.raises(actorsys.ActorDied) as caught:
            await operation()
        assert caught.value.signal == signal.SIGKILL

    for _ in range(5):
        async with open_doomed() as portal, trio.open_nursery() as tasks:
            for operation in (call, read, talk):
                tasks.start_soon(until_told, operation)
            await trio.sleep(rng.uniform(0, 0.03))
            kill(portal)
            tasks.cancel_scope.deadline = trio.current_time() + TOLD_WITHIN_SECONDS
        assert not tasks.cancel_scope.cancelled_caught
