"""The killer does what it says, to whom it says, and its record matches the deaths."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from tree_helpers import is_running, is_stopped, open_worker, wait_until_async

import actorsys
from actorsys.testing import Killer, Simulation, Strike, Way, misbehaviour

MODULES = ["actorsys.testing.misbehaviour"]
SIGNALS = {Way.KILL: signal.SIGKILL, Way.SEGFAULT: signal.SIGSEGV}
SEQUENCES = [
    (Way.SEGFAULT, None),
    (Way.EXIT, None),
    (Way.FREEZE, Way.KILL),
    (Way.HOG, Way.KILL),
]
"""How a victim is struck, and how then, if it has not died of the first."""


async def next_death(
    events: trio.MemoryReceiveChannel[actorsys.Down],
) -> actorsys.ActorDied:
    with trio.fail_after(5):
        reason = (await events.receive()).reason
    assert isinstance(reason, actorsys.ActorDied)
    return reason


@pytest.fixture
def core_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where processes leave core files, as far as this system lets them."""
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.slow
async def test_each_deadly_way_is_the_death_that_it_says(core_folder: Path) -> None:
    killer = Killer(random.Random(1), hog_seconds=60)
    deaths = []
    strategy = actorsys.OneForOne(max_restarts=10, backoff=actorsys.Backoff(first=0))
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal = await nursery.start_actor("victim", modules=MODULES, restart="permanent")
        async with actorsys.monitor(portal) as events:
            for way, then in SEQUENCES:
                pid = await portal.run(misbehaviour.hold_interpreter, 0)
                strike = await killer.strike(portal, way)
                assert (strike.pid, strike.way, strike.is_deadly) == (pid, way, then is None)
                if then is not None:
                    assert not await is_answering(portal)
                    os.kill(pid, signal.SIGTERM)
                    strike = await killer.strike(portal, then)
                death = await next_death(events)
                assert strike.explains(death)
                assert death.signal == SIGNALS.get(strike.way)
                assert trio.current_time() - strike.time < 1
                deaths.append(death)
        await nursery.cancel()
    assert [strike.way for strike in killer.strikes] == [
        Way.SEGFAULT,
        Way.EXIT,
        Way.FREEZE,
        Way.KILL,
        Way.HOG,
        Way.KILL,
    ]
    assert killer.unexplained(deaths) == []
    assert list(core_folder.iterdir()) == [], "a core file was left"


async def is_answering(portal: actorsys.Portal) -> bool:
    """Tell whether calls come back; one may still slip in before the fault takes hold."""
    for _ in range(100):
        with trio.move_on_after(0.1) as scope:
            await portal.run(misbehaviour.hold_interpreter, 0)
        if scope.cancelled_caught:
            return False
    return True


@pytest.mark.slow
async def test_what_does_not_kill_passes(killer: Killer) -> None:
    async with open_worker(*MODULES) as portal, trio.open_nursery() as nursery:
        strike = await killer.strike(portal, Way.FREEZE)
        assert is_stopped(strike.pid)
        nursery.start_soon(portal.run, misbehaviour.hold_interpreter, 0)
        killer.resume(strike)
        killer.resume(strike)
        with trio.fail_after(5):
            assert await portal.run(misbehaviour.hold_interpreter, 0) == strike.pid
        await killer.strike(portal, Way.FREEZE)
        killer.resume_all()
        await killer.strike(portal, Way.HOG)
        assert not await is_answering(portal)
        with trio.fail_after(5):
            assert await portal.run(misbehaviour.hold_interpreter, 0) == strike.pid


@pytest.mark.slow
async def test_what_cannot_be_struck_is_said_and_not_recorded(killer: Killer) -> None:
    async with actorsys.open_nursery(strategy=actorsys.OneForOne()) as nursery:
        portal = await nursery.start_actor("plain")
        for way in (Way.SEGFAULT, Way.EXIT, Way.HOG):
            with pytest.raises(actorsys.NotExposed):
                await killer.strike(portal, way)
        for way in (Way.SEGFAULT, Way.EXIT, Way.HOG):
            with pytest.raises(ValueError, match="inside of an actor"):
                await killer.strike_process(portal.pid or 0, way)
        await portal.cancel_actor()
        for way in (Way.KILL, Way.FREEZE):
            with pytest.raises(ProcessLookupError):
                await killer.strike(portal, way)
        with pytest.raises(actorsys.ActorDied):
            await killer.strike(portal, Way.EXIT)
    assert killer.strikes == []


async def test_only_descendants_are_struck(killer: Killer) -> None:
    for pid in (os.getpid(), os.getppid(), 1):
        with pytest.raises(ProcessLookupError, match="no descendant"):
            await killer.strike_process(pid, Way.FREEZE)
    program = "import os; os.fork(); os.write(1, b'%d\\n' % os.getpid()); os.read(0, 1)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        (grandchild,) = {int(process.stdout.readline()) for _ in range(2)} - {process.pid}
        await killer.strike_process(grandchild, Way.KILL)
        await killer.strike_process(process.pid, Way.KILL)
    assert process.returncode == -signal.SIGKILL
    await wait_until_async(lambda: not is_running(grandchild), 5)


def test_the_seed_decides_in_which_way() -> None:
    async def draw(seed: int) -> list[Way]:
        killer = Killer(random.Random(seed), [Way.KILL, Way.FREEZE])
        for _ in range(20):
            with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
                await killer.strike_process(process.pid, killer.choose())
                process.kill()
        return [strike.way for strike in killer.strikes]

    assert trio.run(draw, 1) == trio.run(draw, 1) != trio.run(draw, 2)


def test_deaths_are_compared_one_by_one() -> None:
    killer = Killer(random.Random(1))
    killer.strikes = [
        Strike(10, Way.KILL, 0.0, signal=signal.SIGKILL),
        Strike(11, Way.EXIT, 0.0, exit_code=70),
        Strike(12, Way.FREEZE, 0.0),
    ]
    first = actorsys.ActorDied("first", pid=10, signal=signal.SIGKILL)
    second = actorsys.ActorDied("second", pid=11, exit_code=70)
    assert killer.unexplained([second, first]) == []
    assert "not told" in killer.unexplained([first])[0]
    assert "told twice: first" in killer.unexplained([first, second, first])[0]
    other = actorsys.ActorDied("other", pid=11, exit_code=71)
    assert len(killer.unexplained([first, other])) == 2


def test_simulated_actors_are_not_harmed() -> None:
    async def main() -> None:
        async with open_worker(*MODULES) as portal:
            with pytest.raises(RuntimeError, match="simulated"):
                await portal.run(misbehaviour.segfault)
            with pytest.raises(ProcessLookupError):
                await Killer(random.Random(1)).strike(portal, Way.KILL)

    Simulation(seed=1).run(main)
