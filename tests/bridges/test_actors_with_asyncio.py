"""An actor with an asyncio loop: ordinary asyncio code runs there, and ends with the actor."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncio_functions as remote
import pytest
import trio
from tree_helpers import (
    Gathering,
    is_running,
    noting,
    open_journal,
    open_worker,
    running,
    script_running,
)

import actorsys
from actorsys.bridges import BridgeKind
from actorsys.testing import Simulation

pytestmark = pytest.mark.timeout(20)
MODULE = "asyncio_functions"
GRACE_SECONDS = 0.1
BOUND_SECONDS = GRACE_SECONDS + 0.5
P99_LATENESS_SECONDS = 0.05
ROUNDS = 3


async def test_ordinary_asyncio_code_runs_in_an_actor(kind: BridgeKind) -> None:
    async with open_worker(MODULE, asyncio=kind) as portal:
        assert await portal.run(remote.talk_over_tcp) == "HELLO"
        _, items, said = await portal.run(remote.use_a_thread_a_queue_and_a_process)
        assert (items, said) == ([0, 1, 2, 3, 4], b"hi\n")
        assert await portal.run(remote.names_on_both_sides) == ["worker", "worker"]
        async with portal.open_stream_from(remote.count, 3) as stream:
            assert [item async for item in stream] == [0, 1, 2]
        with pytest.raises(ValueError, match="from over there") as caught:
            await portal.run(remote.fail, "from over there")
        assert "fail_in_asyncio" in caught.value.tb_str  # type: ignore[attr-defined]


async def test_the_kinds_differ_in_who_has_the_main_thread(kind: BridgeKind) -> None:
    async with open_worker(MODULE, asyncio=kind) as portal:
        _, _, in_main = await portal.run(remote.kind_of_loop)
        assert in_main == (kind == "guest")


async def test_asyncio_as_the_host_handles_signals_and_the_actor_is_still_stopped() -> None:
    async with open_worker(MODULE, asyncio="guest") as portal:
        assert await portal.run(remote.handle_a_signal) == "came"
        with trio.fail_after(2):
            await portal.cancel_actor()


async def test_a_call_that_is_cancelled_here_cleans_up_in_asyncio_there(
    kind: BridgeKind, tmp_path: Path
) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE, asyncio=kind) as portal:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, remote.note_end, journal.path)
            assert await journal.read_line() == "started"
            tasks.cancel_scope.cancel()
        assert await journal.read_line() == "ended"
        assert await portal.run(remote.double_in_asyncio, 21) == 42


async def test_a_stop_lets_calls_and_tasks_of_asyncio_clean_up(
    kind: BridgeKind, tmp_path: Path
) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE, asyncio=kind) as portal:
        async with trio.open_nursery() as tasks:

            async def call() -> None:
                with pytest.raises(actorsys.ContextCancelled):
                    await portal.run(remote.note_end, journal.path)

            tasks.start_soon(call)
            assert await journal.read_line() == "started"
            await portal.run(remote.leave_a_task, journal.path)
            with trio.fail_after(2):
                await portal.cancel_actor()
        assert [await journal.read_line() for _ in range(2)] == ["ended", "ended"]


@pytest.mark.slow
async def test_stopping_is_bounded_whatever_asyncio_does(kind: BridgeKind, tmp_path: Path) -> None:
    functions = [remote.swallow, remote.block, remote.block_a_thread]
    if kind == "thread":  # what blocks asyncio blocks its guest, and `block` tests that
        functions.append(remote.leave_a_block)

    async def stop(fn: Callable[..., Any]) -> None:
        folder = tmp_path / fn.__name__
        folder.mkdir()
        with noting(fn.__name__):
            portal = await nursery.start_actor(fn.__name__, modules=[MODULE], asyncio=kind)
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
async def test_an_actor_whose_asyncio_code_does_not_end_is_killed(tmp_path: Path) -> None:
    async with (
        open_worker(MODULE, asyncio=True) as portal,
        actorsys.monitor(portal) as deaths,
        running(portal, remote.leave_a_block, tmp_path),
    ):
        await portal.cancel_actor(grace=GRACE_SECONDS)
        assert (await anext(deaths)).reason.signal == signal.SIGKILL


async def test_asyncio_code_that_ends_its_loop_ends_the_actor(kind: BridgeKind) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=[MODULE], asyncio=kind)
        with pytest.raises(actorsys.ActorDied) as caught, trio.fail_after(3):
            await portal.run(remote.exit_beside, 3)
        assert caught.value.exit_code == 1
        assert "BridgeBroken" in caught.value.stderr_tail


async def test_an_actor_that_is_started_again_has_a_fresh_loop(kind: BridgeKind) -> None:
    async with actorsys.open_nursery(strategy=actorsys.OneForOne()) as nursery:
        portal = await nursery.start_actor(
            "worker", modules=[MODULE], asyncio=kind, restart="permanent"
        )
        _, first, _ = await portal.run(remote.kind_of_loop)
        with pytest.raises(actorsys.ActorDied):
            await portal.run(remote.exit_beside, 3)
        _, second, _ = await portal.run(remote.kind_of_loop)
        assert first != second
        await nursery.cancel()


def p99(sorted_values: list[float]) -> float:
    return sorted_values[int(len(sorted_values) * 0.99)]


@pytest.mark.slow
async def test_asyncio_code_that_computes_does_not_hold_up_trio() -> None:
    found = []
    async with open_worker(MODULE, asyncio=True) as portal:
        for _ in range(ROUNDS):
            here: list[float] = []  # what this machine, busy or not, makes of sleeping for a moment
            async with trio.open_nursery() as tasks:
                tasks.start_soon(remote.note_lateness, here)
                there = await portal.run(remote.lateness_beside_a_busy_loop, 1.0)
                tasks.cancel_scope.cancel()
            found.append((p99(there), p99(sorted(here))))
            if found[-1][0] < P99_LATENESS_SECONDS + found[-1][1]:
                return
    raise AssertionError(f"p99 there and here, in seconds, of each round: {found}")


async def test_without_a_loop_the_error_says_how_to_get_one() -> None:
    async with actorsys.open_nursery():
        with pytest.raises(actorsys.NoBridge, match="asyncio=True"):
            await actorsys.to_asyncio(asyncio.sleep, 0)
    with pytest.raises(actorsys.NoRuntime):
        await actorsys.to_asyncio(asyncio.sleep, 0)


async def test_the_root_can_have_a_loop_as_well() -> None:
    async with actorsys.open_nursery(asyncio=True):
        assert await remote.double_in_asyncio(21) == 42
        assert await remote.names_on_both_sides() == ["root", "root"]


def test_run_takes_the_options_of_the_root() -> None:
    assert actorsys.run(remote.double_in_asyncio, 21, asyncio="thread") == 42


async def test_an_error_in_the_loop_of_the_root_leaves_its_block() -> None:
    with pytest.raises(ValueError, match="no number"):
        async with actorsys.open_nursery(asyncio=True):
            bridge = actorsys.current_actor().bridge
            assert bridge is not None
            bridge.call_soon(int, "no number")
            await trio.sleep_forever()


@pytest.mark.parametrize(
    "options",
    [{"asyncio": "uvloop"}, {"asyncio": 1}, {"asyncio": None}, {"uvloop": True}, {"uvloop": "yes"}],
    ids=str,
)
async def test_options_that_make_no_sense_are_refused_at_the_call(options: dict[str, Any]) -> None:
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(ValueError, match=r"asyncio|uvloop"):
            await nursery.start_actor("worker", **options)
        assert not nursery.children
    with pytest.raises(ValueError, match=r"asyncio|uvloop"):
        async with actorsys.open_nursery(**options):
            pass


async def test_the_root_is_no_guest() -> None:
    with pytest.raises(ValueError, match="asyncio=True"):
        async with actorsys.open_nursery(asyncio="guest"):
            pass


async def test_an_actor_cannot_be_given_a_loop_later() -> None:
    async with actorsys.open_nursery():
        with pytest.raises(ValueError, match="where it is started"):
            async with actorsys.open_nursery(asyncio=True):
                pass


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is not None, reason="uvloop is installed")
async def test_uvloop_that_is_missing_is_a_clear_error_of_the_start(kind: BridgeKind) -> None:
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(actorsys.SpawnError, match=r"pip install actorsys\[uvloop\]"):
            await nursery.start_actor("worker", asyncio=kind, uvloop=True)


async def test_uvloop_is_the_loop_when_it_is_asked_for(kind: BridgeKind) -> None:
    pytest.importorskip("uvloop")
    async with open_worker(MODULE, asyncio=kind, uvloop=True) as portal:
        module, _, _ = await portal.run(remote.kind_of_loop)
        assert module == "uvloop"
        assert await portal.run(remote.talk_over_tcp) == "HELLO"


async def test_an_actor_of_a_simulation_can_have_a_loop(simulation: Simulation) -> None:
    async with simulation.open(), actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=[MODULE], asyncio=True)
        assert await portal.run(remote.double_in_asyncio, 21) == 42
        await nursery.cancel()


PROGRAM = """
import asyncio, time, trio, actorsys

async def work():
    print("started", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        print("cleaned up", flush=True)

async def block_in_clean_up(begun):
    begun()
    try:
        await asyncio.Event().wait()
    finally:
        await block()

async def block():
    print("started", flush=True)
    time.sleep(60)

async def swallow():
    print("started", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    async with actorsys.open_nursery(asyncio=True):
        {body}

if __name__ == "__main__":
    trio.run(main)
"""
WAIT = "await actorsys.to_asyncio(work)"
BLOCK_BEHIND = """actorsys.current_actor().bridge.call_soon(time.sleep, 60)
        print("started", flush=True)
        await trio.sleep_forever()"""
AWAIT_BLOCK = "await actorsys.to_asyncio(block)"
AWAIT_SWALLOW = "await actorsys.to_asyncio(swallow)"
CANCEL_BLOCK = """with trio.CancelScope() as scope:
            bridge = actorsys.current_actor().bridge
            await actorsys.to_asyncio(block_in_clean_up, lambda: bridge.post(scope.cancel))"""
BLOCK_BESIDE = """async with trio.open_nursery() as tasks:
            tasks.start_soon(actorsys.to_asyncio, block)
            await trio.sleep_forever()"""


def test_ctrl_c_reaches_asyncio_code_that_the_root_waits_for(tmp_path: Path) -> None:
    with script_running(tmp_path, PROGRAM.format(body=WAIT)) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "started\n"
        program.send_signal(signal.SIGINT)
        said, complained = program.communicate(timeout=2)
    assert said == "cleaned up\n"
    assert "KeyboardInterrupt" in complained
    assert "ExceptionGroup" not in complained


@pytest.mark.slow
def test_ctrl_c_ends_a_root_whose_asyncio_code_does_not(tmp_path: Path) -> None:
    bodies = {
        "behind": BLOCK_BEHIND,
        "awaited": AWAIT_BLOCK,
        "swallowing": AWAIT_SWALLOW,
        "cancelled before": CANCEL_BLOCK,
        "beside": BLOCK_BESIDE,
    }
    with ExitStack() as stack:
        programs = {
            case: stack.enter_context(
                script_running(tmp_path, PROGRAM.format(body=body), name=f"{case}.py")
            )
            for case, body in bodies.items()
        }
        for program in programs.values():
            assert program.stdout is not None
            assert program.stdout.readline() == "started\n"
        for program in programs.values():
            program.send_signal(signal.SIGINT)
        for case, program in programs.items():
            with noting(case):
                _, complained = program.communicate(timeout=2)
                assert "KeyboardInterrupt" in complained
                assert "its thread was left behind" in complained
