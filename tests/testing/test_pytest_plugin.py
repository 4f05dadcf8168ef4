"""The fixtures do their work in other people's test suites, and stay out of the way otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from actorsys.testing import LeakCheck

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder for a test suite of trio programs."""
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    return pytester


def test_a_test_that_leaves_something_fails_if_it_asks(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeakCheck.__init__, "__defaults__", (0,))
    suite.makepyfile(
        """
        import os, pathlib

        def leave_a_pipe():
            with open("ends", "a") as file:
                print(*os.pipe(), file=file)

        def test_clean(leak_check):
            for end in os.pipe():
                os.close(end)

        async def test_left(leak_check):
            leave_a_pipe()

        def test_left_and_not_asked():
            leave_a_pipe()
        """
    )
    result = suite.runpytest()
    for end in (suite.path / "ends").read_text().split():
        os.close(int(end))
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_left *", "*left behind: descriptor*"])


def test_the_seed_repeats_a_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_one(chance):
            assert not chance.random()

        def test_two(chance):
            assert not chance.random()

        def test_passes(chance):
            pass
        """
    )
    lines = []
    for arguments in (["--actorsys-seed=5"], ["--actorsys-seed=5", "-k", "one"], []):
        result = suite.runpytest(*arguments)
        drawn = [
            line for line in result.outlines if line.startswith("E  ") and "assert not" in line
        ]
        seeds = {line for line in result.outlines if "repeats this test" in line}
        lines.append((drawn, seeds))
    (first, other), seeds = lines[0]
    assert first != other
    assert seeds == {"--actorsys-seed=5 repeats this test"}
    assert lines[1] == ([first], seeds)
    assert len(lines[2][1]) == 1
    assert lines[2][0] != lines[0][0]


def test_the_seed_is_not_told_where_nothing_fails(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_passes(chance): pass")
    result = suite.runpytest()
    result.assert_outcomes(passed=1)
    assert "--actorsys-seed" not in str(result.stdout)


def test_what_a_test_froze_runs_on(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import subprocess
        from actorsys.testing import Way

        async def test_leaves_frozen(killer):
            global left
            left = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            await killer.strike_process(left.pid, Way.FREEZE)

        def test_is_not_frozen():
            with left:
                try:
                    left.communicate(b"", timeout=2)
                finally:
                    left.kill()
            assert left.returncode == 0
        """
    )
    suite.runpytest().assert_outcomes(passed=2)


def test_a_simulation_is_repeated_as_well(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import actorsys

        async def main():
            async with actorsys.open_nursery() as nursery:
                await (await nursery.start_actor("worker")).cancel_actor()

        def test_fails(simulation):
            simulation.run(main)
            assert simulation.digest == ""
        """
    )
    digests = set()
    for _ in range(2):
        result = suite.runpytest("--actorsys-seed=7")
        digests |= set(re.findall(r"assert '([0-9a-f]+)' == ''", result.stdout.str()))
    assert len(digests) == 1


def test_the_kit_is_light() -> None:
    code = """
import sys
import actorsys.testing
print([name for name in ("pytest", "psutil", "trio.testing") if name in sys.modules])
import actorsys.testing.pytest_plugin
print([name for name in ("psutil", "trio.testing") if name in sys.modules])
print([actorsys.testing.Simulation.__name__, actorsys.testing.check_transport.__name__])
print(all(hasattr(actorsys.testing, name) for name in actorsys.testing.__all__))
print(hasattr(actorsys.testing, "something_else"))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split("\n") == [
        "[]",
        "[]",
        "['Simulation', 'check_transport']",
        "True",
        "False",
        "",
    ]


KERNEL_SUITE = """
import os
import pytest
import trio
from actorsys import ReceiveTimeout, message, ring_kernel

@message
class Ask:
    items: list[int]

@message
class Answer:
    pid: int

@ring_kernel()
async def teller(ctx):
    async for ask in ctx:
        ask.items.append(1)
        await ctx.send(ask.reply(Answer, os.getpid()))

async def ask(runtime):
    await runtime.launch("teller", teller)
    await runtime.activate("teller")
    items = []
    answer = await runtime.ask("teller", Ask(items), timeout=5)
    assert items == []
    return answer.pid

async def test_processes(open_kernels):
    async with open_kernels() as runtime:
        assert await ask(runtime) != os.getpid()

async def test_tasks(open_inline_kernels, autojump_clock):
    async with open_inline_kernels() as runtime:
        assert await ask(runtime) == os.getpid()
        with pytest.raises(ReceiveTimeout):
            await runtime.receive("teller", timeout=1_000_000)
"""


def test_kernels_are_processes_or_tasks(suite: pytest.Pytester) -> None:
    suite.makepyfile(kernel_suite=KERNEL_SUITE)
    suite.runpytest("kernel_suite.py").assert_outcomes(passed=2)
