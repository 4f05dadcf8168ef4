"""The samples of the users' documents do what a reader expects of them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import sample_actors as actors
import sample_messages as messages
import trio
from kernel_helpers import SEED, at_hand, left_over, open_kernels, received, simulated
from sample_actors import DISK, EVENTS, Answer, CounterRequest, Question

from actorsys import KernelState, ReceiveTimeout, RingKernelRuntime
from actorsys.testing.simulation import Simulation

STARTS_PROCESSES = True


@pytest.fixture(autouse=True)
def no_events() -> Iterator[None]:
    """Forget what samples of earlier tests have done."""
    EVENTS.clear()
    DISK.clear()
    messages.LOGGED.clear()
    yield
    EVENTS.clear()


async def ask_all(runtime: RingKernelRuntime, name: str, *questions: Any) -> list[Any]:
    """Send each of *questions*, receive the response to it, and check that it is that."""
    answers = []
    for question in questions:
        await runtime.send(name, question)
        answers.append(await runtime.receive(name, timeout=5.0))
        assert answers[-1].correlation_id == question.message_id
    return answers


# --- message passing -------------------------------------------------------------------------


@simulated
async def test_overview_and_correlation() -> None:
    async with open_kernels(messages.worker) as runtime:
        # Send message to actor
        await runtime.send("worker", messages.WorkRequest(data=[1, 2, 3]))

        # Receive response from actor
        response = await runtime.receive("worker")
        assert response.result == 6.0

        # In client
        request = messages.WorkRequest(data=[1, 2, 3])
        await runtime.send("worker", request)

        response = await runtime.receive("worker")
        assert response.correlation_id == request.message_id


def test_message_structure() -> None:
    msg = messages.WorkRequest(data=[1, 2, 3])
    assert isinstance(msg.message_id, UUID)
    assert (msg.priority, msg.correlation_id) == (128, None)

    own = messages.MyMessage("text", message_id=uuid4())
    assert (own.priority, own.correlation_id) == (128, None)


@simulated
async def test_priority() -> None:
    # High priority request
    urgent = messages.WorkRequest(data=[1, 2, 3], priority=255)

    # Low priority background task
    background = messages.WorkRequest(data=[1, 2, 3], priority=32)

    async with RingKernelRuntime() as runtime:
        await runtime.launch("worker", messages.worker)
        await runtime.send("worker", background)
        await runtime.send("worker", urgent)
        await runtime.activate("worker")
        order = [one.correlation_id for one in await received(runtime, "worker", 2)]
        assert order == [urgent.message_id, background.message_id]


def test_serialization() -> None:
    msg = messages.WorkRequest(data=[1.0, 2.0, 3.0])

    # Serialize (internal)
    data = msg.serialize()  # bytes
    assert isinstance(data, bytes)

    # Deserialize (internal)
    restored = messages.WorkRequest.deserialize(data)
    assert restored == msg


@simulated
async def test_large_data() -> None:
    async with open_kernels(messages.sizes) as runtime:
        request = messages.GoodRequest(buffer_id="buffer-1", size=10**9)
        assert (await runtime.ask("sizes", request, timeout=1)).result == 1e9


@simulated
async def test_request_response_pattern() -> None:
    async with open_kernels(messages.calculator) as runtime:
        request = messages.CalculateRequest(expression="2 + 2")
        await runtime.send("calculator", request)

        response = await runtime.receive("calculator", timeout=5.0)
        assert response.success
        assert response.result == 4
        assert response.correlation_id == request.message_id

        await runtime.send("calculator", messages.CalculateRequest(expression="2 / 0"))
        response = await runtime.receive("calculator", timeout=5.0)
        assert not response.success
        assert response.error == "division by zero"

        before = trio.current_time()
        with pytest.raises(TimeoutError):
            await runtime.receive("calculator", timeout=5.0)
        assert trio.current_time() - before == pytest.approx(5.0)


@simulated
async def test_fire_and_forget_pattern() -> None:
    async with open_kernels(messages.logger) as runtime:
        for number in range(10):
            await runtime.send("logger", messages.LogEvent(level="INFO", message=f"event {number}"))
        assert messages.LOGGED == []
    assert [event.message for event in messages.LOGGED] == [f"event {n}" for n in range(10)]
    assert all(abs(event.timestamp - time.time()) < 60 for event in messages.LOGGED)


@simulated
async def test_pub_sub_pattern() -> None:
    async with open_kernels(messages.topic_processor) as runtime:
        for name in ("sub1", "sub2", "sub3"):
            await runtime.launch(name, messages.subscriber)
            await runtime.activate(name)
        for number in range(3):
            await trio.sleep(1)
            await runtime.send("topic_processor", messages.Event(data=f"update {number}"))
        for name in ("sub1", "sub2", "sub3"):
            found = [event.data for event in await left_over(runtime, name)]
            assert found == ["update 0", "update 1", "update 2"]
        assert runtime.state("topic_processor") is KernelState.ACTIVE


@simulated
async def test_pipeline_pattern() -> None:
    async with open_kernels(messages.stage1, messages.stage2, messages.stage3) as runtime:
        await runtime.deactivate("stage2")
        for number in range(3):
            await trio.sleep(1)
            await runtime.send("stage1", messages.RawData(values=[number]))
            assert type(await runtime.receive("stage1", timeout=1)) is messages.Ack
        assert await at_hand(runtime, "stage3") == []
        await runtime.activate("stage2")
        results = [one.values for one in await received(runtime, "stage3", 3)]
        assert results == [[0, -1], [2, -1], [4, -1]]


@simulated
async def test_error_handling() -> None:
    async with open_kernels(messages.risky) as runtime:
        found = []
        for operation in ("sum", "invalid", "unexpected"):
            await runtime.send("risky", messages.WorkRequest([1.0, 2.0], operation))
            found.append(await runtime.receive("risky", timeout=1))
        assert [one.success for one in found] == [True, False, False]
        assert [one.error for one in found] == [None, "that is no operation", "Internal error"]
        assert [one.error_code for one in found] == [None, 400, 500]
        assert [one.result for one in found] == [{"sum": 3.0, "of": (1.0, 2.0)}, None, None]


# --- building actors -------------------------------------------------------------------------


@simulated
async def test_basic_template(caplog: pytest.LogCaptureFixture) -> None:
    async with open_kernels(actors.my_actor) as runtime:
        await trio.sleep(5)
        assert EVENTS == ["initialized"]
        first, second, business = await ask_all(
            runtime, "my_actor", *(Question(text) for text in ("one", "two", "business"))
        )
        assert [first.text, second.text] == ["one 1", "two 2"]
        assert business.text == "error: out of stock"

        await runtime.send("my_actor", Question("infrastructure"))
        (third,) = await ask_all(runtime, "my_actor", Question("three"))
        assert third.text == "three 3"
        assert EVENTS == ["initialized", "logged ConnectionRefusedError"]

        await runtime.deactivate("my_actor")
        await runtime.send("my_actor", Question("four"))
        with pytest.raises(ReceiveTimeout):
            await runtime.receive("my_actor", timeout=10)
        await runtime.reactivate("my_actor")
        assert (await runtime.receive("my_actor", timeout=1)).text == "four 4"

        before = trio.current_time()
        await runtime.terminate("my_actor")
        assert trio.current_time() - before < 0.1
        assert EVENTS[-1] == "cleaned up at 4"
        assert len(EVENTS) == 3
    assert caplog.records == []


def test_message_design() -> None:
    request = actors.CalculateRequest(10, 5)
    assert (request.a, request.b, request.operation) == (10, 5, "add")
    assert (request.priority, request.correlation_id) == (128, None)
    response = actors.CalculateResponse(1.0)
    assert (response.success, response.error, response.error_code) == (True, None, None)


@simulated
async def test_structured_error_responses(caplog: pytest.LogCaptureFixture) -> None:
    async with open_kernels(actors.calculator) as runtime:
        await trio.sleep(5)
        request = actors.CalculateRequest
        good, zero, wrong = await ask_all(
            runtime, "calculator", request(10, 5), request(1, 0, "div"), request(1, 2, "root")
        )
        assert (good.success, good.result) == (True, 15.0)
        assert (zero.success, zero.result) == (False, 0.0)
        assert (zero.error, zero.error_code) == ("Division by zero", "DIVIDE_BY_ZERO")
        assert (wrong.success, wrong.error_code) == (False, "INVALID_INPUT")
        assert wrong.error == "unknown operation 'root'"
        assert caplog.records == []

        await runtime.send("calculator", request(1, 2, "unexpected"))
        (good,) = await ask_all(runtime, "calculator", request(1, 2))
        assert good.result == 3
        (record,) = caplog.records
        assert record.getMessage() == "Unexpected error in calculator"
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.actor == "calculator"


@simulated
async def test_maintaining_state() -> None:
    async with open_kernels(actors.counter) as runtime:
        counts = []
        for action in ("increment", "increment", "decrement", "reset", "increment"):
            counts += await ask_all(runtime, "counter", CounterRequest(action))
            await trio.sleep(10)
        assert [one.count for one in counts] == [1, 2, 1, 0, 1]


@simulated
async def test_state_persistence() -> None:
    async with open_kernels(actors.persistent_actor) as runtime:
        await ask_all(runtime, "persistent_actor", *(Question("") for _ in range(249)))
        await trio.sleep(10)
        await runtime.send("persistent_actor", Question(""))
    expected = [("loaded", 0), ("saved", 100), ("saved", 200), ("saved", 250)]
    assert expected == EVENTS
    async with open_kernels(actors.persistent_actor) as runtime:
        (answer,) = await ask_all(runtime, "persistent_actor", Question(""))
        assert answer.text == "251"
    assert EVENTS[4:] == [("loaded", 250), ("saved", 251)]


def test_a_crash_forgets_what_was_not_saved() -> None:
    simulation = Simulation(SEED)

    async def main() -> None:
        async with open_kernels(actors.persistent_actor, restart="permanent") as runtime:
            await ask_all(runtime, "persistent_actor", *(Question("") for _ in range(150)))
            simulation.kill(runtime.portal("persistent_actor"))
            (answer,) = await ask_all(runtime, "persistent_actor", Question(""))
            assert answer.text == "101"

    simulation.run(main)
    assert EVENTS == [("loaded", 0), ("saved", 100), ("loaded", 100), ("saved", 101)]


@simulated
async def test_loading_heavy_resources(capsys: pytest.CaptureFixture[str]) -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("model 7", actors.ml_inference)
        await runtime.activate("model 7")
        requests = [actors.InferenceRequest([1.0, float(number)]) for number in range(5)]
        answers = await ask_all(runtime, "model 7", *requests)
        await trio.sleep(5)
        assert [one.prediction for one in answers] == [1.0, 1.0, 2.0, 3.0, 4.0]
        assert EVENTS == ["loaded model.pt"]
        await runtime.terminate("model 7")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    expected = ["Loading model...", "Model loaded!", "Unloading model..."]
    assert lines == [f"[model 7] {text}" for text in expected]


@simulated
async def test_waiting_without_blocking() -> None:
    answers: list[tuple[str, float]] = []

    async def ask(name: str) -> None:
        await runtime.ask(name, Question(""), timeout=5)
        answers.append((name, trio.current_time() - before))

    async with RingKernelRuntime() as runtime:
        for name in ("a", "b", "c"):
            await runtime.launch(name, actors.polite)
            await runtime.activate(name)
        before = trio.current_time()
        async with trio.open_nursery() as tasks:
            for name in ("a", "b", "c"):
                tasks.start_soon(ask, name)
        assert sorted(name for name, _ in answers) == ["a", "b", "c"]
        assert all(math.isclose(seconds, 1, abs_tol=0.05) for _, seconds in answers)


async def test_anti_patterns_hurt_nobody_else() -> None:
    async with open_kernels(actors.impolite, actors.sharing) as runtime:
        await runtime.send("impolite", Question(""))
        for number in range(1, 4):
            (answer,) = await ask_all(runtime, "sharing", Question(""))
            assert answer.text == f"{number}"
        assert await at_hand(runtime, "impolite") == []
        assert type(await runtime.receive("impolite", timeout=5)) is Answer
        assert actors.shared_counter == {"count": 0}
