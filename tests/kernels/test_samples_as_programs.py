"""The samples of the users' documents run as people run them: as a script, and under pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tree_helpers import program_running, run_script

STARTS_PROCESSES = True

CALCULATOR = '''
import logging
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import trio

from actorsys import KernelContext, RingKernelRuntime, message, ring_kernel


@message
@dataclass
class CalculateRequest:
    """Request to perform calculation."""

    # Business fields
    a: float
    b: float
    operation: str = "add"

    # Standard fields (added by @message but shown for clarity)
    message_id: UUID = field(default_factory=uuid4)
    priority: int = 128
    correlation_id: UUID | None = None


@message
@dataclass
class CalculateResponse:
    """Response with calculation result."""

    # Result field
    result: float

    # Success/error fields
    success: bool = True
    error: str | None = None
    error_code: str | None = None

    # Standard fields
    message_id: UUID = field(default_factory=uuid4)
    priority: int = 128
    correlation_id: UUID | None = None


def calculate(a, b, operation):
    return {"add": lambda: a + b, "div": lambda: a / b}[operation]()


@ring_kernel(kernel_id="calculator")
async def calculator(ctx: KernelContext) -> None:
    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            request = await ctx.receive(timeout=0.1)

            # Business logic with error handling
            try:
                result = calculate(request.a, request.b, request.operation)
                await ctx.send(CalculateResponse(
                    result=result,
                    success=True,
                    correlation_id=request.message_id,
                ))

            except ZeroDivisionError:
                await ctx.send(CalculateResponse(
                    result=0.0,
                    success=False,
                    error="Division by zero",
                    error_code="DIVIDE_BY_ZERO",
                    correlation_id=request.message_id,
                ))

        except TimeoutError:
            continue
        except Exception as e:
            # Unexpected error - log but continue
            logging.exception("Unexpected error in calculator")
            continue
'''

TESTS = """

import pytest


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

PERSISTENT = """
import json
import os
from dataclasses import dataclass

import trio

from actorsys import KernelContext, RingKernelRuntime, message, ring_kernel


@message
@dataclass
class Change:
    by: int


@message
@dataclass
class Response:
    total: int


def load_state_from_disk(path):
    if not os.path.exists(path):
        return {"total": 0, "saves": []}
    with open(path) as file:
        return json.load(file)


def save_state_to_disk(path, state):
    state["saves"].append(state["total"])
    with open(path, "w") as file:
        json.dump(state, file)


def update_state(state, request):
    state["total"] += request.by


@ring_kernel(kernel_id="persistent_actor")
async def persistent_actor(ctx: KernelContext) -> None:
    # Load persisted state
    state = load_state_from_disk("actor_state.json")
    messages_since_save = 0

    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            request = await ctx.receive(timeout=0.1)

            # Update state
            update_state(state, request)
            messages_since_save += 1

            # Periodic persistence
            if messages_since_save >= 100:
                save_state_to_disk("actor_state.json", state)
                messages_since_save = 0

            await ctx.send(Response(state["total"]))

        except TimeoutError:
            continue

    # Save on shutdown
    save_state_to_disk("actor_state.json", state)


async def main():
    async with RingKernelRuntime() as runtime:
        await runtime.launch("persistent_actor", persistent_actor)
        await runtime.activate("persistent_actor")
        for _ in range(250):
            await runtime.send("persistent_actor", Change(by=1))
        await trio.sleep(0.3)  # longer than its timeout
        await runtime.send("persistent_actor", Change(by=1))
        await runtime.terminate("persistent_actor")
        totals = [(await runtime.receive("persistent_actor")).total for _ in range(251)]
        assert totals == list(range(totals[0], totals[0] + 251))


if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.slow
async def test_the_tests_of_the_document_pass_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "test_calculator.py").write_text(CALCULATOR + TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_calculator.py"]
    with program_running(command, tmp_path) as program:
        stdout, _ = program.communicate(timeout=20)
    assert "2 passed" in stdout
    assert program.returncode == 0


@pytest.mark.slow
async def test_a_state_on_disk_is_written_when_the_document_says_so(tmp_path: Path) -> None:
    for run in (1, 2):
        ended = run_script(tmp_path, PERSISTENT)
        assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
        state = json.loads((tmp_path / "actor_state.json").read_text())
        assert state["total"] == 251 * run
    assert state["saves"] == [100, 200, 251, 351, 451, 502]
