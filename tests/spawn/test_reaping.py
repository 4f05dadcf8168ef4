"""How a process has ended is known, or said to be unknown; never guessed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import stop_functions as remote
from tree_helpers import open_worker, run_script

import actorsys

MODULE = "stop_functions"

SIGCHLD_IGNORED = """
import os, signal, trio, actorsys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps, and forgets how they ended


async def main():
    strategy = actorsys.OneForOne()
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal = await nursery.start_actor("child", modules=[__name__], restart="transient")
        async with actorsys.monitor(portal) as events:
            os.kill(portal.pid, signal.SIGKILL)
            down = await events.receive()
            print(down.reason.exit_code, down.reason.signal, down.reason)
            print(await portal.run(answer))
        await nursery.cancel()


async def answer():
    return "back again"


if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.slow
def test_an_end_that_nobody_can_know_is_no_normal_end(tmp_path: Path) -> None:
    ended = run_script(tmp_path, SIGCHLD_IGNORED)
    assert ended.status == 0, ended
    first, second = ended.stdout.splitlines()
    assert first.startswith("None None")
    assert "nobody knows how" in first
    assert second == "back again"


@pytest.mark.slow
async def test_sigterm_right_after_the_start_is_an_orderly_end() -> None:
    for _ in range(3):
        async with open_worker(MODULE) as portal, actorsys.monitor(portal) as events:
            assert portal.pid is not None
            os.kill(portal.pid, signal.SIGTERM)
            down = await events.receive()
            assert isinstance(down.reason, actorsys.ActorDied)
            assert (down.reason.exit_code, down.reason.signal) == (0, None)


async def test_a_grace_that_is_none_is_refused_before_anything_is_stopped() -> None:
    async with open_worker(MODULE) as portal:
        for grace in (-1, float("nan"), "x"):
            with pytest.raises(ValueError, match="grace"):
                await portal.cancel_actor(grace)  # type: ignore[arg-type]
        assert await portal.run(remote.add, 1, 1) == 2
