"""What kernels log: with the name of the actor, whole, and nothing when there is nothing to say."""

from __future__ import annotations

import logging
import re

import kernel_functions as remote
import pytest
import trio
from kernel_functions import CRASH, LINE_CHARS, Job
from kernel_helpers import SEED, open_kernels, received, simulated

from actorsys import ActorDied, RingKernelRuntime
from actorsys.testing.simulation import Simulation

STARTS_PROCESSES = True


async def make_log(runtime: RingKernelRuntime, *texts: str, number: int = 0) -> None:
    """Have the kernel `talkative` log in each of the ways *texts* name."""
    for text in texts:
        await runtime.ask("talkative", Job(number, text), timeout=5)


async def test_what_a_kernel_logs_comes_with_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_kernels(remote.talkative) as runtime:
        await make_log(runtime, "named", "quiet", "exception", "formatted")
        with pytest.raises(ActorDied):
            await runtime.ask("talkative", Job(7, CRASH), timeout=5)
    err = capfd.readouterr().err
    lines = err.splitlines()
    assert "ERROR talkative some.program: a named logger" in lines
    assert "ERROR talkative some.program: an exception" in lines
    assert "<talkative> a format of its own" in lines
    assert "ValueError: an error in hand" in lines
    assert err.index("an exception") < err.index("Traceback") < err.index("ValueError: an error")
    assert "nobody wants" not in err

    assert "ERROR talkative actorsys.kernels: kernel 'talkative' has crashed" in lines
    assert "RuntimeError: crashed at 7" in lines
    assert "kernel_functions.py" in err


async def test_the_functions_of_the_module_show_the_name_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with open_kernels(remote.talkative) as runtime:
        await make_log(runtime, "module", "named")
    lines = capfd.readouterr().err.splitlines()
    assert any("talkative" in line and "the functions of the module" in line for line in lines)
    assert any("talkative" in line and "a named logger" in line for line in lines)


async def test_lines_of_several_kernels_arrive_whole(capfd: pytest.CaptureFixture[str]) -> None:
    names, count = ("one", "two"), 100
    async with RingKernelRuntime() as runtime:
        async with trio.open_nursery() as tasks:
            for name in names:
                tasks.start_soon(runtime.launch, name, remote.talkative)
        for name in names:
            await runtime.activate(name)
            await runtime.send(name, Job(count, "lines"))
        for name in names:
            await runtime.receive(name, timeout=10)
    found: dict[str, list[int]] = {name: [] for name in names}
    for line in capfd.readouterr().err.splitlines():
        match = re.fullmatch(
            rf"WARNING (\w+) some\.program: (\w+) line (\d+) x{{{LINE_CHARS}}}\.", line
        )
        assert match is not None, line
        assert match[1] == match[2]
        found[match[1]].append(int(match[3]))
    assert found == {name: list(range(count)) for name in names}


async def test_an_idle_kernel_logs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_kernels(remote.unhandled) as runtime:
        await received(runtime, "unhandled", 4)
    assert capfd.readouterr().err == ""


# --- in a simulation -------------------------------------------------------------------------


@simulated
async def test_idle_kernels_log_nothing_for_a_long_time(caplog: pytest.LogCaptureFixture) -> None:
    async with open_kernels(remote.unhandled, remote.patient, remote.waiting) as runtime:
        await trio.sleep(30)
        for name in ("unhandled", "patient", "waiting"):
            assert (await runtime.statistics(name)).errors == 0
    assert [record.getMessage() for record in caplog.records] == []


@simulated
async def test_every_record_has_the_name_of_its_actor(caplog: pytest.LogCaptureFixture) -> None:
    async with RingKernelRuntime() as runtime:
        for name in ("one", "two"):
            await runtime.launch(name, remote.talkative)
            await runtime.activate(name)
            await runtime.ask(name, Job(1, "lines"), timeout=5)
        logging.getLogger("mine").warning("from the root")
    actors = {record.getMessage().split()[0]: record.actor for record in caplog.records}
    assert actors == {"one": "one", "two": "two", "from": "root"}


def test_records_are_as_before_when_the_tree_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    Simulation(SEED).run(trio.lowlevel.checkpoint)
    logging.getLogger("mine").warning("afterwards")
    assert not hasattr(caplog.records[-1], "actor")
