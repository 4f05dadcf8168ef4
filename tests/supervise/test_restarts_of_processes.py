"""Restarts of real processes: every way to die, and a start that works only once."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import nursery_functions as remote
import psutil
import pytest
import trio

import actorsys
from actorsys import Backoff, OneForAll, OneForOne

pytestmark = pytest.mark.timeout(20)
MODULE = "nursery_functions"
AT_ONCE = Backoff(first=0)

FRAGILE = """
import ctypes
import os
import pathlib
import sys

starts = pathlib.Path(__file__).with_suffix(".starts")
with starts.open("ab") as file:
    file.write(b".")
if starts.stat().st_size > int(os.environ["FRAGILE_STARTS"]):
    sys.exit("no more starts")


async def touch_nothing():
    ctypes.string_at(0)
"""


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module that can be imported only so often."""
    (tmp_path / "fragile_module.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "fragile_module"


def child_pids() -> list[int]:
    """Return the pids of all child processes, zombies included."""
    return [process.pid for process in psutil.Process().children()]


async def die_in_call(portal: actorsys.Portal, function: str, *args: int) -> None:
    with pytest.raises(actorsys.ActorDied):
        await portal.run(function, *args)


async def test_a_permanent_child_comes_back_from_every_way_to_die(fragile: str) -> None:
    async def die(how: str) -> None:
        assert portal.pid is not None
        if how == "killed":
            os.kill(portal.pid, signal.SIGKILL)
        elif how == "segfault":
            await die_in_call(portal, f"{fragile}:touch_nothing")
        else:
            await die_in_call(portal, f"{MODULE}:die", int(how))

    ways = {
        "killed": (None, signal.SIGKILL),
        "segfault": (None, signal.SIGSEGV),
        "0": (0, None),
        "3": (3, None),
    }
    strategy = OneForOne(len(ways), math.inf, AT_ONCE)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal = await nursery.start_actor(
            "worker", modules=[MODULE, fragile], restart="permanent", env={"FRAGILE_STARTS": "9"}
        )
        async with actorsys.monitor(portal) as events:
            for how, (exit_code, number) in ways.items():
                uid, pid = portal.uid, portal.pid
                await die(how)
                with trio.fail_after(2):
                    down = await events.receive()
                assert down.uid == uid
                assert isinstance(down.reason, actorsys.ActorDied)
                assert (down.reason.pid, down.reason.exit_code) == (pid, exit_code)
                assert down.reason.signal == number
                assert (await portal.run(remote.describe_self))["pid"] == portal.pid != pid
                assert child_pids() == [portal.pid]
        await nursery.cancel()
    assert child_pids() == []


async def test_a_transient_child_comes_back_until_it_ends_normally() -> None:
    with trio.fail_after(5):
        async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
            portal = await nursery.start_actor("worker", modules=[MODULE], restart="transient")
            uid = portal.uid
            await die_in_call(portal, f"{MODULE}:die", 3)
            assert await portal.run(remote.add, 1, 1) == 2
            assert portal.uid != uid
            await die_in_call(portal, f"{MODULE}:die", 0)
    with pytest.raises(actorsys.ActorDied) as caught:
        await portal.run(remote.add, 1, 1)
    assert not caught.value.may_have_run


async def test_all_come_back_as_new_processes() -> None:
    async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
        portals = [
            await nursery.start_actor(name, modules=[MODULE], restart="permanent")
            for name in ("one", "two")
        ]
        pids = {portal.pid for portal in portals}
        await die_in_call(portals[0], f"{MODULE}:die", 3)
        for portal in portals:
            assert await portal.run(remote.own_name) == portal.name
        assert {portal.pid for portal in portals}.isdisjoint(pids)
        assert sorted(child_pids()) == sorted(portal.pid or 0 for portal in portals)
        await nursery.cancel()


async def test_a_restart_that_fails_while_starting_says_why_in_the_end(fragile: str) -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(5):
        async with actorsys.open_nursery(strategy=OneForOne(2, math.inf, AT_ONCE)) as nursery:
            portal = await nursery.start_actor(
                "worker", modules=[fragile], restart="permanent", env={"FRAGILE_STARTS": "1"}
            )
            assert portal.pid is not None
            os.kill(portal.pid, signal.SIGKILL)
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, actorsys.RestartIntensityExceeded)
    died, *failed = error.history
    assert isinstance(died, actorsys.ActorDied)
    assert died.signal == signal.SIGKILL
    for failure in failed:
        assert isinstance(failure, actorsys.SpawnError)
        assert failure.exit_code == 1
        assert "no more starts" in failure.stderr_tail
    assert len(failed) == 2
