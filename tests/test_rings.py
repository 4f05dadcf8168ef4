"""The slow rings run, in a small form; and what they look for, they find."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pytest
import trio

import actorsys
from actorsys.testing import fake_cuda
from scripts.rings import (
    buffers,
    cancelling,
    chaos,
    crowd,
    cycles,
    handovers,
    orphans,
    producer,
    stopping,
)
from scripts.rings.figure import Figure
from scripts.rings.programs import lenders
from scripts.rings.trees import Tree, open_session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def seed() -> int:
    """Return a fresh seed; what fails with it is shown with it."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return seed


def check_met(figures: Iterable[Figure]) -> None:
    """Check that there are figures, and that each is inside its target."""
    told = list(figures)
    assert told
    for figure in told:
        assert figure.is_met, str(figure)


# --- they run -----------------------------------------------------------------------------


def test_orphans(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "MOMENTS", ["handshake"])
    check_met(orphans.kill_parents(1, seed, depth=1))


def test_stopping(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "CASES", {"frozen": stopping.CASES["frozen"]})
    monkeypatch.setattr(stopping, "MOST_GRACE_SECONDS", 0.1)
    check_met(stopping.stop_actors(1, seed))


def test_cycles(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "WARM_UP_CYCLES", 2)
    check_met(cycles.come_and_go(2, seed))


def test_handovers(seed: int) -> None:
    check_met(handovers.inspect_children(1, seed))


def test_cancelling(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "CANCEL_WAYS", cancelling.CANCEL_WAYS[:1])
    monkeypatch.setattr(cancelling, "DEADLINE_WAYS", cancelling.DEADLINE_WAYS[1:2])
    check_met(cancelling.cancel_calls(3, seed))
    check_met(cancelling.miss_deadlines(1, seed))


def test_producer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "ITEM_BYTES", [16384])
    monkeypatch.setattr(producer, "SCENARIOS", ["never read there"])
    monkeypatch.setattr(producer, "STUCK_SECONDS", 0.05)
    memory, latency = producer.flood(1, seed)
    assert memory.is_met, str(memory)
    assert latency.n == 1


def test_crowd(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "CROWDED_SECONDS", 0.1)
    monkeypatch.setattr(crowd, "FEW_SECONDS", 0.1)
    check_met(crowd.knock(1, seed))


def test_buffers(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "LOST_WITHIN_SECONDS", 1.0)  # others are at work here as well
    check_met(buffers.kill_users(2, seed))


# --- they find what they look for ---------------------------------------------------------


def test_what_outlives_its_parent_is_found() -> None:
    with open_session(["sh", "-c", "sleep 60 & echo up 1; wait"]) as root:
        assert root.stdout is not None
        root.stdout.readline()
        tree = Tree(root)
        assert len(tree.living()) == 2
        root.kill()
        root.wait()
        assert tree.wait_gone("r", 0.05) >= 0.05
        assert len(tree.living()) == 1
    assert tree.living() == []


@pytest.mark.parametrize("is_fault", [True, False])
def test_memory_may_be_looked_at_while_its_process_is_killed_and_not_else(
    monkeypatch: pytest.MonkeyPatch, is_fault: bool
) -> None:
    class Lender:
        pid = os.getpid() if is_fault else 2**22 + 1

        calls = 0

        async def run(self, *_: Any) -> int:
            self.calls += 1
            if self.calls > 2:
                raise actorsys.ActorUnavailable("its process has ended", may_have_run=False)
            return 0

    def find_rule_broken(*_: Any) -> int:
        raise fake_cuda.CudaRuleBroken("its process has ended")

    async def lend_and_borrow() -> None:
        async with actorsys.open_nursery(limits=buffers.LIMITS):
            with pytest.raises(fake_cuda.CudaRuleBroken) if is_fault else nullcontext():
                await buffers._lend_and_borrow(Lender(), "cpu", [], buffers.Findings())  # type: ignore[arg-type]

    monkeypatch.setattr(lenders, "wrong_in", find_rule_broken)
    trio.run(lend_and_borrow)


def test_what_is_not_given_back_is_found(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []

    async def leave(nursery: actorsys.ActorNursery, chance: random.Random) -> None:
        left.extend(os.pipe())

    async def leave_nothing(nursery: actorsys.ActorNursery, chance: random.Random) -> None: ...

    monkeypatch.setattr(cycles, "SETTLES_WITHIN_SECONDS", 0)
    monkeypatch.setattr(cycles, "_live", leave)
    monkeypatch.setattr(cycles, "_fail", leave_nothing)
    try:
        leaking, clean = cycles.come_and_go(2, seed)
    finally:
        for fd in left:
            os.close(fd)
    assert not leaking.is_met
    assert "descriptor" in leaking.worst
    assert clean.is_met, str(clean)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_memory_that_does_not_come_back_is_found(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(buffers, "BACK_WITHIN_SECONDS", 0.05)
    found = buffers.Findings()

    async def keep_one() -> list[str]:
        async with actorsys.open_nursery(limits=buffers.LIMITS):
            kept = await lenders.make(buffers.COUNT, device, 1.0)
            await buffers._take_all_room(device, found)
            left = buffers._left(runtime)
            await kept.release()
        return left

    with buffers._device(device) as runtime:
        assert len(trio.run(keep_one)) == 1
        assert buffers._left(runtime) == []
    assert [problem.split(":")[0] for problem in found.problems] == ["no room after 0.05 s"]


def test_a_key_that_others_can_read_is_found() -> None:
    key = os.urandom(32)
    command = ["sh", "-c", "echo up; read line", key.hex()]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert handovers._find_keys(process.pid, [key]) == ["a key stands in cmdline"]
        assert handovers._find_keys(process.pid, [os.urandom(32)]) == []
        process.communicate(b"\n")


def test_a_descriptor_too_many_is_found() -> None:
    found = {0: "/dev/null", 1: os.readlink("/proc/self/fd/1"), 2: "pipe:[1]", 3: "pipe:[2]"}
    assert handovers._find_leaks(found, handovers.INHERITED) == []
    found[4] = "socket:[3]"
    assert handovers._find_leaks(found, handovers.INHERITED) == ["holds 1 socket too many"]
    assert handovers._find_leaks(found, handovers.INHERITED + Counter(socket=1)) == []


def test_a_program_that_multiplies_is_found_and_ended() -> None:
    code = "import subprocess\nfor _ in range(9): subprocess.Popen(['sleep', '60'])\ninput()\n"
    assert handovers._run_script(code) == "it went on and on"


def test_a_program_that_says_nothing_is_found() -> None:
    assert handovers._run_script("pass") == "0 clear errors"
    assert handovers._run_script("print('it runs' * 3)") == "it was run 3 times"


def test_a_ring_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", "chess"])
    with pytest.raises(SystemExit):
        chaos.main()
    assert "no such ring: chess" in capsys.readouterr().err
