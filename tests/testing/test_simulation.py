"""A simulated tree: one seed, one run; it ends as real ones do and leaves nothing behind."""

from __future__ import annotations

import gc
import math
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import trio

import actorsys
from actorsys import Limits
from actorsys.errors import Uid
from actorsys.testing.simulation import Simulation

MODULES = [__name__]
SEEDS = range(10)


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind; one of them does it by itself."""


@pytest.fixture
def sim() -> Simulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    return Simulation(seed)


# --- what the actors run ------------------------------------------------------------------


async def own_uid() -> Uid:
    return actorsys.current_actor().uid


async def add(a: int, b: int) -> int:
    return a + b


def triple(n: int) -> int:
    return 3 * n


async def fail(text: str) -> None:
    raise ValueError(text)


async def hang() -> None:
    await trio.sleep_forever()


async def count(stop: int) -> AsyncIterator[int]:
    for i in range(stop):
        yield i


async def name_grandchild() -> Uid:
    async with actorsys.open_nursery() as nursery:
        return await (await nursery.run_in_actor(own_uid, name="grandchild")).result()


@actorsys.context
async def keep_child(ctx: actorsys.Context) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("grandchild")
        async with actorsys.monitor(portal) as events:
            await ctx.started(portal.pid)
            with trio.CancelScope(shield=True):
                await events.receive()


async def wait_for_itself() -> None:
    """Call a child that never answers."""
    async with actorsys.open_nursery() as nursery:
        await (await nursery.run_in_actor(hang)).result()


# --- the same again -----------------------------------------------------------------------


async def live_eventfully(sim: Simulation) -> list[Any]:
    """Start, call, stream, die, restart and fail; return what came of it, in order."""
    seen: list[Any] = []

    async def call(portal: actorsys.Portal, n: int) -> None:
        await trio.sleep(sim.chance.uniform(0, 0.5))
        try:
            seen.append((portal.name, await portal.run(triple, n)))
        except actorsys.ActorDied as error:
            seen.append((portal.name, str(error)))

    async with actorsys.open_nursery(strategy=actorsys.OneForAll(10)) as nursery:
        portals = [
            await nursery.start_actor(name, modules=MODULES, restart="permanent")
            for name in ("one", "two")
        ]
        async with trio.open_nursery() as tasks:
            for n in range(6):
                tasks.start_soon(call, portals[n % 2], n)
            await trio.sleep(0.2)
            sim.kill(sim.chance.choice(portals))
        async with portals[0].open_stream_from(count, 5) as stream:
            seen.append([item async for item in stream])
        seen.append(await portals[1].run(name_grandchild))
        seen.append(trio.current_time())
        await nursery.cancel()
    return seen


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_makes_the_same_run(seed: int) -> None:
    one, two = Simulation(seed), Simulation(seed)
    assert one.run(live_eventfully, one) == two.run(live_eventfully, two)
    assert [str(event) for event in one.trace] == [str(event) for event in two.trace]
    assert len(one.trace) > 50
    assert one.digest == two.digest


def test_the_same_seed_makes_the_same_run_in_another_process() -> None:
    code = (
        "import test_simulation as test; sim = test.Simulation(7); "
        "sim.run(test.live_eventfully, sim); print(sim.digest)"
    )
    folder = pathlib.Path(__file__).parent
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True).stdout
    sim = Simulation(7)
    sim.run(live_eventfully, sim)
    assert output.split() == [sim.digest]


def test_another_seed_makes_another_run() -> None:
    sims = [Simulation(seed) for seed in SEEDS]
    for sim in sims:
        sim.run(live_eventfully, sim)
    assert len({sim.digest for sim in sims}) == len(SEEDS)
    assert len({tuple(map(str, sim.trace)) for sim in sims}) == len(SEEDS)


def test_the_digest_sees_the_order_of_tasks_also_where_the_trace_does_not() -> None:
    async def main() -> None:
        async def first() -> None:
            await trio.lowlevel.checkpoint()

        async def second() -> None:
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as tasks:
            for fn in (first, second) * 3:
                tasks.start_soon(fn)

    sims = [Simulation(seed) for seed in SEEDS]
    for sim in sims:
        sim.run(main)
        assert sim.trace == []
    assert len({sim.digest for sim in sims}) > 1


def test_a_run_does_not_depend_on_the_chance_of_this_process() -> None:
    digests = set()
    for _ in range(2):
        random.random()
        before = random.getstate()
        sim = Simulation(7)
        sim.run(live_eventfully, sim)
        digests.add(sim.digest)
        assert random.getstate() == before
    assert len(digests) == 1


# --- it is the real thing -----------------------------------------------------------------


def test_what_main_returns_or_raises_leaves_as_itself(sim: Simulation) -> None:
    async def succeed(a: int, b: int) -> int:
        return a + b

    error = KeyError("of main")

    async def fail() -> None:
        raise error

    assert sim.run(succeed, 1, 2) == 3
    with pytest.raises(KeyError) as caught:
        Simulation(1).run(fail)
    assert caught.value is error


def test_calls_errors_and_trees_are_as_in_processes(sim: Simulation) -> None:
    async def main() -> None:
        root = actorsys.current_actor()
        assert root.name == "top"
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            assert await portal.run(own_uid) == portal.uid != root.uid
            assert (await portal.run(name_grandchild))[0] == "grandchild"
            assert await portal.run(triple, 4) == 12
            with pytest.raises(ValueError, match="over there") as caught:
                await portal.run(fail, "over there")
            assert isinstance(caught.value, actorsys.RemoteActorError)
            assert caught.value.src_uid == portal.uid
            with pytest.raises(actorsys.NotExposed):
                await portal.run("os:getpid")
            with pytest.raises(actorsys.EncodeError):
                await portal.run(add, object(), 1)
            await portal.cancel_actor()

    sim.run(main, name="top")


def test_what_an_actor_says_before_its_end_arrives(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(stop_later, portal)
                with pytest.raises(actorsys.ContextCancelled) as caught:
                    await portal.run(hang)
            assert caught.value.canceller == actorsys.current_actor().uid

    sim.run(main)


async def stop_later(portal: actorsys.Portal) -> None:
    await trio.sleep(1)
    await portal.cancel_actor()


def test_limits_reach_the_whole_tree() -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            with pytest.raises(actorsys.LimitExceeded):
                await portal.run(fail, "x" * 3000)
            await nursery.cancel()

    Simulation(1, limits=Limits(max_message_bytes=2048)).run(main)


def test_time_is_simulated(sim: Simulation) -> None:
    async def main() -> float:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            began = trio.current_time()
            with trio.move_on_after(3600):
                await portal.run(hang)
            await portal.cancel_actor()
            return trio.current_time() - began

    began = time.monotonic()
    assert 3600 <= sim.run(main) < 3601
    assert time.monotonic() - began < 5


def test_starting_and_sending_take_no_longer_than_they_may() -> None:
    async def main() -> tuple[float, float]:
        began = trio.current_time()
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            started = trio.current_time()
            await portal.run(add, 1, 2)
            ended = trio.current_time()
            await portal.cancel_actor()
        return started - began, ended - started

    for seed in SEEDS[:3]:
        starting, calling = Simulation(seed, max_delay_seconds=0, max_boot_seconds=0).run(main)
        assert starting == calling == 0
        starting, calling = Simulation(seed, max_delay_seconds=0, max_boot_seconds=8).run(main)
        assert 0 < starting <= 8
        assert calling == 0
        starting, calling = Simulation(seed, max_delay_seconds=1, max_boot_seconds=0).run(main)
        assert 0 < calling <= 2


# --- kill, exit, cut ----------------------------------------------------------------------


def test_a_killed_process_has_died_of_a_signal(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(kill_later, sim, portal)
                with pytest.raises(actorsys.ActorDied) as caught:
                    await portal.run(hang)
            assert caught.value.pid == portal.pid
            assert (caught.value.signal, caught.value.exit_code) == (signal.SIGKILL, None)
            sim.kill(portal)
            sim.exit(portal, 3)
            process = sim.processes[caught.value.pid]
            assert (process.signal, process.exit_code) == (signal.SIGKILL, None)

    sim.run(main)


async def kill_later(sim: Simulation, portal: actorsys.Portal) -> None:
    await trio.sleep(1)
    sim.kill(portal)


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_has_its_code(sim: Simulation, code: int) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child")
            async with actorsys.monitor(portal) as events:
                assert portal.pid is not None
                sim.exit(portal.pid, code)
                (down,) = [down async for down in events]
            assert isinstance(down.reason, actorsys.ActorDied)
            assert (down.reason.exit_code, down.reason.signal) == (code, None)

    sim.run(main)


def test_a_process_whose_links_are_cut_lives_on_for_a_while(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            assert portal.pid is not None
            process = sim.processes[portal.pid]
            async with actorsys.monitor(portal) as events:
                sim.cut_links(portal)
                assert process.describe_end() == "alive"
                await events.receive()
                assert process.describe_end() != "alive"

    sim.run(main)


def test_the_children_of_a_dead_process_die_in_the_same_moment(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            assert portal.pid is not None
            with pytest.raises(actorsys.ActorDied):
                async with portal.open_context(keep_child) as (_, pid):
                    sim.kill(portal)
                    signals.append(sim.processes[pid].signal)
                    await trio.sleep_forever()

    signals: list[int | None] = []
    sim.run(main)
    assert signals == [signal.SIGKILL]


def test_a_process_can_be_killed_while_it_starts() -> None:
    async def main(sim: Simulation) -> None:
        async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
            tasks.start_soon(kill_newest_later, sim)
            with pytest.raises(actorsys.SpawnError) as caught:
                await nursery.start_actor("child")
            assert caught.value.signal == signal.SIGKILL

    sim = Simulation(1, max_boot_seconds=1e9)
    sim.run(main, sim)


async def kill_newest_later(sim: Simulation) -> None:
    await trio.sleep(1)
    sim.kill(max(sim.processes))


@pytest.mark.parametrize("seconds", [0, 5])
def test_what_a_dead_process_raises_is_unheard(sim: Simulation, seconds: float) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(kill_later, sim, portal)
                with pytest.raises(actorsys.ActorDied):
                    await portal.run(fail_in_the_end, seconds)

    sim.run(main)


async def fail_in_the_end(seconds: float) -> None:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(hang)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
            raise KeyError("unheard")


@pytest.mark.parametrize("pid", [None, 0, 1, -1])
def test_what_is_no_process_cannot_be_ended(sim: Simulation, pid: Any) -> None:
    async def main() -> None:
        for end in (sim.kill, sim.cut_links, lambda pid: sim.exit(pid, 0)):
            with pytest.raises(ValueError, match="no simulated process"):
                end(pid)

    sim.run(main)


# --- its end ------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [hang, wait_for_itself])
def test_a_deadlock_is_reported(sim: Simulation, fn: Any) -> None:
    began = time.monotonic()
    with pytest.raises(trio.TooSlowError):
        sim.run(fn)
    assert time.monotonic() - began < 5
    assert_all_ended(sim)


def test_a_tree_that_waits_for_a_dead_lock_is_reported(sim: Simulation) -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            await portal.run(wait_for_itself)

    with pytest.raises(trio.TooSlowError):
        sim.run(main)
    assert_all_ended(sim)


def assert_all_ended(sim: Simulation) -> None:
    _root, *others = sim.processes.values()
    assert [process for process in others if process.describe_end() == "alive"] == []


@pytest.mark.parametrize("how", ["well", "error", "dead child"])
def test_nothing_is_left_behind(how: str) -> None:
    async def main(sim: Simulation) -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=MODULES)
            await portal.run(name_grandchild)
            if how == "error":
                raise KeyError("of main")
            if how == "dead child":
                sim.kill(portal)
                await trio.sleep_forever()
            await portal.cancel_actor()

    sim = Simulation(1)
    threads = threading.active_count()
    files = os.listdir("/proc/self/fd")
    try:
        sim.run(main, sim)
    except* (KeyError, actorsys.ActorDied):
        assert how != "well"
    assert_all_ended(sim)
    assert psutil.Process().children() == []
    assert threading.active_count() == threads
    assert os.listdir("/proc/self/fd") == files
    with pytest.raises(actorsys.NoRuntime):
        actorsys.current_actor()
    gone = weakref.ref(sim)
    del sim
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("how", ["well", "error", "deadlock"])
@pytest.mark.parametrize("flag", [False, True])
def test_trio_is_as_it_was_before(how: str, flag: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = trio._core._run
    monkeypatch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", flag)

    async def main() -> None:
        assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING
        if how == "error":
            raise KeyError("of main")
        if how == "deadlock":
            await trio.sleep_forever()

    before = scheduler._r.getstate()
    try:
        Simulation(1).run(main)
    except (KeyError, trio.TooSlowError):
        assert how != "well"
    assert scheduler._ALLOW_DETERMINISTIC_SCHEDULING is flag
    assert scheduler._r.getstate() == before


def test_after_a_simulation_the_clock_is_the_real_one() -> None:
    async def main() -> float:
        await trio.sleep(100)
        return trio.current_time()

    async def measure() -> float:
        began = time.monotonic()
        await trio.sleep(0.01)
        return time.monotonic() - began

    assert Simulation(1).run(main) < math.inf
    assert trio.run(measure) >= 0.01
