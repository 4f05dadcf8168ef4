"""The samples of the users' documents run as people run them: as a script, and under pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import sample_actors
from tree_helpers import program_running, run_script

STARTS_PROCESSES = True

SAMPLES = Path(sample_actors.__file__).read_text()

TESTS = """
import pytest

from actorsys import RingKernelRuntime


@pytest.mark.trio
async def test_calculator_add():
    async with RingKernelRuntime() as runtime:
        await runtime.launch("calculator", calculator)
        await runtime.activate("calculator")

        await trio.sleep(0.1)

        # Send request
        request = CalculateRequest(a=10, b=5, operation="add")
        await runtime.send("calculator", request)

        # Verify response
        response = await runtime.receive("calculator", timeout=1.0)
        assert response.success
        assert response.result == 15.0
        assert response.correlation_id == request.message_id


@pytest.mark.trio
async def test_calculator_divide_by_zero():
    async with RingKernelRuntime() as runtime:
        await runtime.launch("calculator", calculator)
        await runtime.activate("calculator")

        await trio.sleep(0.1)

        request = CalculateRequest(a=10, b=0, operation="div")
        await runtime.send("calculator", request)

        response = await runtime.receive("calculator", timeout=1.0)
        assert not response.success
        assert response.error_code == "DIVIDE_BY_ZERO"
"""

ON_DISK = """
import json
import os

from actorsys import RingKernelRuntime


def load_state_from_disk(path):
    if not os.path.exists(path):
        return {"count": 0, "saves": []}
    with open(path) as file:
        return json.load(file)


def save_state_to_disk(path, state):
    state["saves"].append(state["count"])
    with open(path, "w") as file:
        json.dump(state, file)


async def main():
    async with RingKernelRuntime() as runtime:
        await runtime.launch("persistent_actor", persistent_actor)
        await runtime.activate("persistent_actor")
        for _ in range(250):
            await runtime.send("persistent_actor", Question(""))
        await trio.sleep(0.3)  # longer than its timeout
        await runtime.send("persistent_actor", Question(""))
        await runtime.terminate("persistent_actor")
        counts = [int((await runtime.receive("persistent_actor")).text) for _ in range(251)]
        assert counts == list(range(counts[0], counts[0] + 251))


if __name__ == "__main__":
    trio.run(main)
"""
"""In place of the helpers that only note what they are called with."""


@pytest.mark.slow
async def test_the_tests_of_the_document_pass_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "test_calculator.py").write_text(SAMPLES + TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_calculator.py"]
    with program_running(command, tmp_path) as program:
        stdout, _ = program.communicate(timeout=20)
    assert "2 passed" in stdout
    assert program.returncode == 0


@pytest.mark.slow
async def test_a_state_on_disk_is_written_when_the_document_says_so(tmp_path: Path) -> None:
    for run in (1, 2):
        ended = run_script(tmp_path, SAMPLES + ON_DISK)
        assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
        state = json.loads((tmp_path / "actor_state.json").read_text())
        assert state["count"] == 251 * run
    assert state["saves"] == [100, 200, 251, 351, 451, 502]
