"""Kernels in a simulation: their life, order, replies, crashes, and what is counted."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import kernel_functions as remote
import pytest
import trio
from kernel_functions import CRASH, RECORD, Job, Note
from kernel_helpers import (
    SEED,
    accounted,
    at_hand,
    left_over,
    open_kernels,
    outcome_of,
    received,
    simulated,
    sized,
)

from actorsys import (
    ActorDied,
    ActorUnavailable,
    BackpressureStrategy,
    EncodeError,
    Histogram,
    KernelState,
    LimitExceeded,
    Limits,
    MailboxFull,
    MailboxOptions,
    OneForOne,
    ReceiveTimeout,
    RestartIntensityExceeded,
    RingKernelRuntime,
    ring_kernel,
)
from actorsys.limits import KIB
from actorsys.testing.simulation import Simulation

BLOCK, REJECT, DROP_OLDEST, DROP_NEW = BackpressureStrategy


@pytest.fixture(autouse=True)
def no_record() -> None:
    """Forget what the kernels of earlier tests have done."""
    RECORD.clear()


def numbers(what: str) -> list[int]:
    """Return the numbers of the jobs that were taken or done, in order."""
    return [entry[1] for entry in RECORD if entry[0] == what]


def values(notes: list[Any]) -> list[Any]:
    return [note.value for note in notes]


# --- sending and receiving (rows 1, 2, 4, 7, 10, 11, 58) -------------------------------------


@simulated
async def test_a_request_comes_back_as_a_response() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("any name", remote.answer)
        await runtime.activate("any name")
        request = Job(3)
        await runtime.send("any name", request)
        response = await runtime.receive("any name", timeout=1.0)
        assert (response.value, response.who) == (3, "any name")
        assert response.correlation_id == request.message_id
        assert type(response) is Note


@simulated
async def test_a_message_arrives_as_it_was_sent() -> None:
    async with open_kernels(remote.echo) as runtime:
        sent = Job(1, items=[(1, 2), None, b"x"], priority=77)
        arrived = await runtime.ask("echo", sent, timeout=1)
        assert arrived.replace(correlation_id=None) == sent
        assert arrived.items == sent.items


@simulated
async def test_what_the_sender_does_later_does_not_reach_the_kernel() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("echo", remote.echo)
        job = Job(items=[1])
        await runtime.send("echo", job)
        job.items.append(2)
        await runtime.activate("echo")
        first = await runtime.receive("echo", timeout=1)
        assert first.items == [1]
        first.items.append(3)
        assert job.items == [1, 2]


@simulated
async def test_send_returns_when_the_message_is_accepted() -> None:
    async with open_kernels(remote.recording) as runtime:
        before = trio.current_time()
        for number in range(10):
            await runtime.send("recording", Job(number, seconds=0.2))
        assert trio.current_time() == before
        await trio.sleep(1.1)
        assert 4 <= len(numbers("done")) <= 5


@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_messages_are_handled_by_priority_and_then_by_age(seed: int) -> None:
    chance = random.Random(seed)
    jobs = [Job(n, priority=chance.choice([0, 127, 128, 129, 224, 255])) for n in range(200)]
    async with RingKernelRuntime() as runtime:
        await runtime.launch("noting", remote.noting)
        for job in jobs:
            await runtime.send("noting", job)
        await runtime.activate("noting")
        expected = [job.number for job in sorted(jobs, key=lambda job: -job.priority)]
        assert values(await received(runtime, "noting", len(jobs))) == expected


@simulated
async def test_an_urgent_message_overtakes_all_that_wait_wherever_they_are() -> None:
    async with open_kernels(remote.noting) as runtime:
        for number in range(100):
            await runtime.send("noting", Job(number, seconds=0.1, priority=1))
        await trio.sleep(0.55)
        await runtime.send("noting", Job(-1, priority=255))
        await runtime.send("noting", Job(-2, priority=2))
        order = values(await received(runtime, "noting", 12))
        place = order.index(-1)
        assert 5 <= place <= 6
        assert order[place + 1] == -2
        assert order[:place] + order[place + 2 :] == list(range(10))


@simulated
async def test_responses_have_priorities_too() -> None:
    async with open_kernels(remote.echo) as runtime:
        for number in range(3):
            await runtime.send("echo", Job(number, priority=10 + number))
            await trio.sleep(0.1)
        assert [one.number for one in await received(runtime, "echo", 3)] == [2, 1, 0]


@simulated
async def test_receive_waits_no_longer_than_it_was_told() -> None:
    async with open_kernels(remote.silent) as runtime:
        for seconds in (0.0, 5.0):
            before = trio.current_time()
            with pytest.raises(TimeoutError) as caught:
                await runtime.receive("silent", timeout=seconds)
            assert isinstance(caught.value, ReceiveTimeout)
            assert isinstance(caught.value, trio.TooSlowError)
            assert trio.current_time() - before == pytest.approx(seconds)


@simulated
async def test_each_response_goes_to_one_of_those_who_receive() -> None:
    got: list[int] = []

    async def receive() -> None:
        got.append((await runtime.receive("answer", timeout=5)).value)

    async with open_kernels(remote.answer) as runtime:
        async with trio.open_nursery() as tasks:
            for _ in range(20):
                tasks.start_soon(receive)
            for number in range(20):
                await runtime.send("answer", Job(number))
        assert sorted(got) == list(range(20))


# --- what cannot be sent (rows 18, 28) -------------------------------------------------------


@simulated
async def test_what_cannot_travel_fails_where_it_is_sent() -> None:
    async with open_kernels(remote.answer) as runtime:
        for call in (runtime.send, runtime.ask):
            with pytest.raises(EncodeError, match=r"'items' of .*Job"):
                await call("answer", Job(items=[object()]))
            with pytest.raises(TypeError, match="@message"):
                await call("answer", "text")
            with pytest.raises(ValueError, match="'answer'"):
                await call("nobody", Job())
        assert (await runtime.ask("answer", Job(1), timeout=1)).value == 1
        assert (await runtime.statistics("answer")).received == 1


def test_a_message_that_is_too_large_points_to_buffers() -> None:
    limit = 64 * KIB
    large = Job(text="x" * limit)

    async def main() -> None:
        async with open_kernels(remote.answer, remote.relay) as runtime:
            for call in (runtime.send, runtime.ask, runtime.publish):
                with pytest.raises(LimitExceeded, match="buffer"):
                    await call("answer", large)
            assert (await runtime.ask("answer", Job(1), timeout=1)).value == 1

    Simulation(SEED, limits=Limits(max_message_bytes=limit)).run(main)


# --- asking (rows 12 to 15) ------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernel", [remote.crowd, remote.quiet])
@simulated
async def test_every_caller_gets_its_own_reply(seed: int, kernel: Callable[..., Any]) -> None:
    chance = random.Random(seed)
    replies: dict[int, Any] = {}

    async def ask(job: Job) -> None:
        await trio.sleep(chance.uniform(0, 0.1))
        reply = await runtime.ask(kernel.__name__, job, timeout=60)
        assert reply.correlation_id == job.message_id
        replies[job.number] = reply.value

    async with open_kernels(kernel) as runtime:
        async with trio.open_nursery() as tasks:
            for number in range(60):
                priority, seconds = chance.randrange(256), chance.uniform(0.01, 0.3)
                tasks.start_soon(ask, Job(number, seconds=seconds, priority=priority))
        assert replies == {number: number for number in range(60)}
        assert await left_over(runtime, kernel.__name__) == []


@simulated
async def test_a_reply_to_an_ask_is_not_received_by_others() -> None:
    async with open_kernels(remote.quiet) as runtime:
        await runtime.send("quiet", Job(1))
        assert (await runtime.ask("quiet", Job(2), timeout=5)).value == 2
        assert values(await left_over(runtime, "quiet")) == [1]


@simulated
async def test_a_late_reply_is_dropped_and_counted() -> None:
    async with open_kernels(remote.quiet) as runtime:
        before = trio.current_time()
        with pytest.raises(TimeoutError) as caught:
            await runtime.ask("quiet", Job(1, seconds=1.0), timeout=0.5)
        assert isinstance(caught.value, ReceiveTimeout)
        assert trio.current_time() - before == pytest.approx(0.5)
        assert (await runtime.ask("quiet", Job(101), timeout=5)).value == 101
        assert await left_over(runtime, "quiet") == []
        assert (await runtime.statistics("quiet")).dropped == {"late": 1}


@simulated
async def test_the_reply_to_a_cancelled_ask_is_dropped() -> None:
    async with open_kernels(remote.quiet) as runtime:
        with trio.move_on_after(0.5):
            await runtime.ask("quiet", Job(1, seconds=1.0))
        await runtime.send("quiet", Job(2))
        assert values(await left_over(runtime, "quiet")) == [2]
        assert (await runtime.statistics("quiet")).dropped == {"late": 1}


@simulated
async def test_a_request_whose_ask_gave_up_can_be_sent_again() -> None:
    job = Job(1, seconds=1.0)
    async with open_kernels(remote.quiet) as runtime:
        with pytest.raises(ReceiveTimeout):
            await runtime.ask("quiet", job, timeout=0.5)
        await trio.sleep(2)
        assert (await runtime.ask("quiet", job, timeout=5)).value == 1


@simulated
async def test_a_request_whose_ask_was_refused_can_be_sent() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("quiet", remote.quiet, **sized(1, backpressure=REJECT))
        await runtime.send("quiet", Job(1))
        job = Job(2)
        with pytest.raises(MailboxFull):
            await runtime.ask("quiet", job)
        await runtime.activate("quiet")
        assert (await runtime.receive("quiet", timeout=1)).value == 1
        await runtime.send("quiet", job)
        assert (await runtime.receive("quiet", timeout=1)).value == 2


@simulated
async def test_one_message_is_asked_once_at_a_time() -> None:
    job = Job(1, seconds=1)
    async with open_kernels(remote.quiet) as runtime:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(runtime.ask, "quiet", job)
            await trio.sleep(0.1)
            with pytest.raises(ValueError, match="already"):
                await runtime.ask("quiet", job)


@simulated
async def test_a_second_reply_is_a_response_like_others() -> None:
    async with open_kernels(remote.twice) as runtime:
        assert (await runtime.ask("twice", Job(), timeout=1)).value == "first"
        assert (await runtime.receive("twice", timeout=1)).value == "second"


# --- the life of a kernel (rows 3, 31, 32, 55) -----------------------------------------------


@simulated
async def test_a_kernel_goes_through_its_states() -> None:
    seen: list[KernelState] = []

    async def watch(state: KernelState) -> None:
        await runtime.wait_state("worker", state)
        seen.append(state)

    async with RingKernelRuntime() as runtime:
        await runtime.launch("worker", remote.worker)
        assert runtime.state("worker") is KernelState.LAUNCHED
        async with trio.open_nursery() as tasks:
            for state in KernelState:
                if state is not KernelState.FAILED:
                    tasks.start_soon(watch, state)
            await trio.sleep(0.1)
            await runtime.activate("worker")
            assert runtime.state("worker") is KernelState.ACTIVE
            await trio.sleep(0.1)
            await runtime.deactivate("worker")
            assert runtime.state("worker") is KernelState.DEACTIVATED
            await trio.sleep(0.1)
            await runtime.reactivate("worker")
            assert runtime.state("worker") is KernelState.ACTIVE
            await runtime.send("worker", Job(seconds=1))
            tasks.start_soon(runtime.terminate, "worker")
            await trio.sleep(0.1)
            assert runtime.state("worker") is KernelState.TERMINATING
        assert runtime.state("worker") is KernelState.TERMINATED
    order = ["launched", "active", "deactivated", "terminating", "terminated"]
    assert [state.value for state in seen] == order


@simulated
async def test_what_runs_before_the_first_message_runs_once_at_the_launch() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("worker", remote.worker)
        assert (await runtime.receive("worker", timeout=1)).value == "started"
        await runtime.send("worker", Job(1))
        assert await left_over(runtime, "worker") == []
        await runtime.activate("worker")
        assert values(await left_over(runtime, "worker")) == [(1, 1)]


@simulated
async def test_what_a_kernel_remembers_stays_between_messages() -> None:
    async with open_kernels(remote.worker) as runtime:
        for number in (5, 6, 7):
            await runtime.send("worker", Job(number))
            await trio.sleep(100)
        notes = await left_over(runtime, "worker")
        assert values(notes) == ["started", (5, 1), (6, 2), (7, 3)]


@simulated
async def test_one_function_can_be_launched_under_several_names() -> None:
    async with RingKernelRuntime() as runtime:
        for name in ("one", "two"):
            await runtime.launch(name, remote.worker)
            await runtime.activate(name)
        for name, count in (("one", 1), ("one", 2), ("two", 1)):
            assert (await runtime.ask(name, Job(0), timeout=1)).value == (0, count)


@simulated
async def test_a_name_can_be_launched_again_when_its_kernel_has_ended() -> None:
    async with open_kernels(remote.quiet) as runtime:
        with pytest.raises(ValueError, match="already"):
            await runtime.launch("quiet", remote.answer)
        assert (await runtime.ask("quiet", Job(1), timeout=1)).who == ""
        await runtime.terminate("quiet")
        await runtime.launch("quiet", remote.answer)
        await runtime.activate("quiet")
        assert (await runtime.ask("quiet", Job(1), timeout=1)).who == "quiet"
        assert (await runtime.statistics("quiet")).received == 1


@simulated
async def test_of_two_launches_under_one_name_one_is_refused() -> None:
    outcomes: list[Any] = []

    async def launch() -> None:
        outcomes.append(await outcome_of(runtime.launch, "twin", remote.answer))

    async with RingKernelRuntime() as runtime:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(launch)
            tasks.start_soon(launch)
        assert Counter(map(type, outcomes)) == {type(None): 1, ValueError: 1}
        await runtime.activate("twin")
        assert (await runtime.ask("twin", Job(1), timeout=1)).value == 1


@simulated
async def test_a_runtime_is_opened_first() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await RingKernelRuntime().launch("early", remote.answer)


@simulated
async def test_what_is_no_kernel_is_not_launched() -> None:
    async def plain(ctx: Any) -> None:
        pass

    async with RingKernelRuntime() as runtime:
        for entry in (plain, Job, "kernel_functions:answer", None):
            with pytest.raises(TypeError, match="@ring_kernel"):
                await runtime.launch("strange", entry)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="none"):
            runtime.state("strange")


def test_a_kernel_is_an_async_function() -> None:
    def plain(ctx: Any) -> None:
        pass

    async def generator(ctx: Any) -> Any:
        yield ctx

    for function in (plain, generator, Job):
        with pytest.raises(TypeError, match="async def"):
            ring_kernel(kernel_id="x")(function)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="queue_size"):
        ring_kernel(queue_size=0)


def test_a_kernel_is_defined_at_the_top_of_a_module() -> None:
    async def local(ctx: Any) -> None:
        pass

    with pytest.raises(TypeError, match="top of"):
        ring_kernel()(local)


@simulated
async def test_a_launch_says_why_the_function_cannot_be_called() -> None:
    async with RingKernelRuntime() as runtime:
        with pytest.raises(Exception, match="private"):
            await runtime.launch("private", remote._private)


@simulated
async def test_to_wait_for_a_state_that_will_not_come_fails() -> None:
    async with open_kernels(remote.quiet) as runtime:
        waits: list[Any] = []

        async def wait() -> None:
            waits.append(await outcome_of(runtime.wait_state, "quiet", KernelState.DEACTIVATED))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait)
            await trio.sleep(0.1)
            await runtime.terminate("quiet")
        assert isinstance(waits[0], ActorUnavailable)
        await runtime.wait_state("quiet", KernelState.TERMINATED)


@simulated
async def test_a_kernel_may_end_on_its_own() -> None:
    async with open_kernels(remote.brief) as runtime:
        assert (await runtime.ask("brief", Job(), timeout=1)).value == "that was all"
        await runtime.wait_state("brief", KernelState.TERMINATED)
        assert values(await received(runtime, "brief", 1)) == ["started"]
        for call in (runtime.send, runtime.ask):
            with pytest.raises(ActorUnavailable) as caught:
                await call("brief", Job())
            assert not caught.value.may_have_run
        for call in (runtime.receive, runtime.activate, runtime.deactivate):
            with pytest.raises(ActorUnavailable, match="terminated"):
                await call("brief")
        await runtime.terminate("brief")


# --- receiving in a kernel (rows 34, 61) -----------------------------------------------------


@simulated
async def test_receive_raises_a_timeout_error_on_time() -> None:
    async with open_kernels(remote.patient) as runtime:
        for note in values(await received(runtime, "patient", 5)):
            assert note == ["timeout", pytest.approx(0.1, abs=0.005), False, True, True]
        await runtime.send("patient", Job(7))
        await trio.sleep(0.5)
        assert ["job", 7] in values(await received(runtime, "patient", 5))


@simulated
async def test_time_in_which_a_kernel_is_not_active_does_not_count() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("patient", remote.patient)
        with pytest.raises(ReceiveTimeout):
            await runtime.receive("patient", timeout=10)
        await runtime.activate("patient")
        await trio.sleep(0.05)
        await runtime.deactivate("patient")
        with pytest.raises(ReceiveTimeout):
            await runtime.receive("patient", timeout=20)
        await runtime.activate("patient")
        (note,) = values(await received(runtime, "patient", 1))
        assert note[0] == "timeout"
        assert note[1] == pytest.approx(30.1, abs=0.02)


@simulated
async def test_an_unhandled_timeout_of_an_idle_kernel_is_no_crash() -> None:
    async with open_kernels(remote.unhandled) as runtime:
        await trio.sleep(0.35)
        await runtime.send("unhandled", Job(1))
        await trio.sleep(0.35)
        assert runtime.state("unhandled") is KernelState.ACTIVE
        notes = values(await at_hand(runtime, "unhandled"))
        assert 1 in notes
        assert notes.count("started") > 5
        statistics = await runtime.statistics("unhandled")
        assert (statistics.restarts, statistics.errors, statistics.processed) == (0, 0, 1)
        await runtime.terminate("unhandled")
        assert runtime.state("unhandled") is KernelState.TERMINATED


@simulated
async def test_an_unhandled_timeout_of_an_ask_is_a_crash() -> None:
    async with open_kernels(remote.impatient, remote.silent) as runtime:
        await runtime.send("impatient", Job(1))
        await trio.sleep(1)
        assert runtime.state("impatient") is KernelState.FAILED


@simulated
async def test_every_way_of_receiving_ends_at_once_when_the_kernel_shall_end() -> None:
    async with open_kernels(remote.endings) as runtime:
        for number in range(3):
            await runtime.send("endings", Job(number))
        before = trio.current_time()
        await runtime.terminate("endings", timeout=50)
        assert trio.current_time() - before < 0.1
        notes = values(await received(runtime, "endings", 7))
        # What was accepted is taken first; only the last one is the last.
        assert notes[:2] == [["in the loop", 0, False], ["in the loop", 1, False]]
        assert notes[2][:2] == ["in the loop", 2]
        assert notes[3:] == [
            ["after the loop", True],
            ["timeout", 0],
            ["batch", []],
            ["end of channel"],
        ]


@pytest.mark.parametrize("kernel", [remote.ending_unhandled, remote.unhandled, remote.patient])
@simulated
async def test_no_end_has_to_be_handled(kernel: Callable[..., Any]) -> None:
    async with open_kernels(kernel) as runtime:
        await runtime.terminate(kernel.__name__)
        assert runtime.state(kernel.__name__) is KernelState.TERMINATED
        assert (await runtime.statistics(kernel.__name__)).errors == 0


@simulated
async def test_a_batch_waits_for_the_first_and_then_for_a_while() -> None:
    async with open_kernels(remote.batches) as runtime:
        await trio.sleep(10)
        for number in range(4):
            await runtime.send("batches", Job(number, priority=200 - number))
        before = trio.current_time()
        assert values(await received(runtime, "batches", 1)) == [[0, 1, 2]]
        assert trio.current_time() - before < 0.1
        assert values(await received(runtime, "batches", 1)) == [[3]]
        assert trio.current_time() - before == pytest.approx(0.5, abs=0.1)
        await runtime.terminate("batches")
        assert values(await received(runtime, "batches", 1)) == [[]]


# --- deactivating (row 33) -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@simulated
async def test_nothing_slips_through_while_a_kernel_is_deactivated(seed: int) -> None:
    chance = random.Random(seed)
    sent = 0
    async with open_kernels(remote.recording) as runtime:
        for _ in range(10):
            for _ in range(chance.randrange(20)):
                await runtime.send("recording", Job(sent, seconds=chance.uniform(0.001, 0.02)))
                sent += 1
                if chance.random() < 0.2:
                    await trio.sleep(chance.uniform(0, 0.01))
            await runtime.deactivate("recording")
            taken = len(numbers("taken"))
            await runtime.send("recording", Job(sent))
            sent += 1
            await trio.sleep(1)
            assert len(numbers("taken")) == len(numbers("done")) == taken < sent
            await runtime.reactivate("recording")
            await trio.sleep(chance.uniform(0, 0.1))
    assert numbers("done") == list(range(sent))
    assert [entry[2] for entry in RECORD if entry[0] == "done"] == list(range(1, sent + 1))


@simulated
async def test_a_kernel_that_waits_for_a_message_gets_none_once_it_is_deactivated() -> None:
    async with open_kernels(remote.recording) as runtime:
        await trio.sleep(1)
        await runtime.deactivate("recording")
        await runtime.send("recording", Job(1))
        with pytest.raises(ReceiveTimeout):
            await runtime.ask("recording", Job(2), timeout=10)
        assert not RECORD
        await runtime.activate("recording")
        await trio.sleep(0.1)
        assert numbers("done") == [1, 2]


@simulated
async def test_the_template_follows_the_gate() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("waiting", remote.waiting)
        await trio.sleep(0.1)
        await runtime.activate("waiting")
        await trio.sleep(0.1)
        await runtime.deactivate("waiting")
        await runtime.send("waiting", Job(1))
        await trio.sleep(0.1)
        await runtime.reactivate("waiting")
        await trio.sleep(0.1)
        await runtime.deactivate("waiting")
        await runtime.terminate("waiting")
        first, *notes = values(await received(runtime, "waiting", 3))
        assert first == ["launched", False]
        assert notes == [["awake", True, False], ["job", 1]]


@simulated
async def test_wait_active_ends_when_the_kernel_shall_end() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("waiting", remote.waiting)
        await runtime.terminate("waiting", drain=False, timeout=50)
        notes = values(await received(runtime, "waiting", 2))
        assert notes == [["launched", False], ["awake", False, True]]


# --- terminating (rows 23, 60) ---------------------------------------------------------------


@pytest.mark.parametrize("is_active", [True, False])
@simulated
async def test_what_was_accepted_is_handled_before_the_end(is_active: bool) -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("worker", remote.worker)
        if is_active:
            await runtime.activate("worker")
        for number in range(30):
            await runtime.send("worker", Job(number, seconds=0.05))
        await runtime.terminate("worker")
        started, *notes, last = values(await received(runtime, "worker", 32))
        assert (started, last) == ("started", "cleaned up")
        assert notes == [(number, number + 1) for number in range(30)]
        assert (await runtime.statistics("worker")).dropped == {}


@simulated
async def test_a_kernel_that_ends_accepts_no_more() -> None:
    async with open_kernels(remote.worker) as runtime:
        await runtime.send("worker", Job(0, seconds=1))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(runtime.terminate, "worker")
            await trio.sleep(0.1)
            for call in (runtime.send, runtime.ask):
                with pytest.raises(ActorUnavailable, match="terminating") as caught:
                    await call("worker", Job())
                assert not caught.value.may_have_run
            for change in (runtime.activate, runtime.deactivate):
                with pytest.raises(ActorUnavailable):
                    await change("worker")


@simulated
async def test_without_draining_only_the_message_in_hand_is_handled() -> None:
    async with open_kernels(remote.worker) as runtime:
        for number in range(40):
            await runtime.send("worker", Job(number, seconds=0.2))
        await trio.sleep(0.1)
        before = trio.current_time()
        await runtime.terminate("worker", drain=False)
        assert trio.current_time() - before == pytest.approx(0.1, abs=0.05)
        assert values(await received(runtime, "worker", 3)) == ["started", (0, 1), "cleaned up"]
        statistics = await runtime.statistics("worker")
        assert (statistics.dropped, statistics.queue_depth) == ({"terminated": 39}, 0)


@simulated
async def test_a_drain_that_takes_too_long_is_ended_by_force() -> None:
    async with open_kernels(remote.recording) as runtime:
        for number in range(40):
            await runtime.send("recording", Job(number, seconds=1))
        before = trio.current_time()
        await runtime.terminate("recording", timeout=2.5)
        assert 2.5 <= trio.current_time() - before < 3.1
        assert numbers("done") == [0, 1]
        assert runtime.state("recording") is KernelState.TERMINATED
        assert (await runtime.statistics("recording")).dropped == {"terminated": 37}


@simulated
async def test_a_kernel_that_does_not_notice_is_ended_by_force() -> None:
    async with open_kernels(remote.stubborn) as runtime:
        await runtime.send("stubborn", Job())
        before = trio.current_time()
        await runtime.terminate("stubborn")
        assert 3 <= trio.current_time() - before < 3.6
        assert runtime.state("stubborn") is KernelState.TERMINATED


@simulated
async def test_two_may_terminate_a_kernel_at_the_same_time() -> None:
    async with open_kernels(remote.recording) as runtime:
        for number in range(3):
            await runtime.send("recording", Job(number, seconds=0.1))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(runtime.terminate, "recording")
            tasks.start_soon(runtime.terminate, "recording")
        assert numbers("done") == [0, 1, 2]
        await runtime.terminate("recording")


@pytest.mark.parametrize("drain", [True, False])
@simulated
async def test_who_waits_for_a_kernel_is_told_that_it_has_ended(drain: bool) -> None:
    outcomes: dict[str, Any] = {}

    async def call(name: str, function: Callable[..., Any], *args: Any) -> None:
        outcomes[name] = await outcome_of(function, *args)

    async with open_kernels(remote.recording, **sized(2)) as runtime:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call, "receive", runtime.receive, "recording")
            tasks.start_soon(call, "ask", runtime.ask, "recording", Job(0, seconds=0.1))
            await trio.sleep(0.05)
            for number in (1, 2):
                await runtime.send("recording", Job(number, seconds=0.1))
            tasks.start_soon(call, "send", runtime.send, "recording", Job(3))
            tasks.start_soon(call, "waiting ask", runtime.ask, "recording", Job(4))
            await trio.sleep(0.02)
            await runtime.terminate("recording", drain=drain)
        assert set(outcomes) == {"receive", "ask", "send", "waiting ask"}
        assert {type(error) for error in outcomes.values()} == {ActorUnavailable}
    assert numbers("done") == ([0, 1, 2] if drain else [0])


@simulated
async def test_leaving_the_block_lets_all_kernels_finish_at_the_same_time() -> None:
    async with RingKernelRuntime() as runtime:
        for name in "abcde":
            await runtime.launch(name, remote.recording)
            await runtime.activate(name)
            for number in range(10):
                await runtime.send(name, Job(number, seconds=0.2))
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(2, abs=0.3)
    assert Counter(numbers("done")) == dict.fromkeys(range(10), 5)


@simulated
async def test_an_error_that_leaves_the_block_stops_all_at_once() -> None:
    before = 0.0
    with pytest.raises(ValueError, match="mine"):
        async with open_kernels(remote.recording) as runtime:
            for number in range(10):
                await runtime.send("recording", Job(number, seconds=1))
            before = trio.current_time()
            raise ValueError("mine")
    assert trio.current_time() - before < 1
    assert not numbers("done")


# --- full mailboxes (row 5) ------------------------------------------------------------------


@simulated
async def test_block_waits_for_room() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("recording", remote.recording, **sized(2, backpressure=BLOCK))
        for number in range(2):
            await runtime.send("recording", Job(number))
        with trio.move_on_after(5) as patience:
            await runtime.send("recording", Job(99))
        assert patience.cancelled_caught
        async with trio.open_nursery() as tasks:
            tasks.start_soon(runtime.send, "recording", Job(2, priority=1))
            tasks.start_soon(runtime.send, "recording", Job(3, priority=200))
            await trio.sleep(1)
            assert (await runtime.statistics("recording")).queue_depth == 2
            await runtime.activate("recording")
        await runtime.terminate("recording")
        assert Counter(numbers("done")) == dict.fromkeys(range(4), 1)
        assert numbers("done").index(3) < numbers("done").index(2)


@simulated
async def test_the_bound_holds_while_the_kernel_works() -> None:
    async with open_kernels(remote.recording, **sized(3)) as runtime:
        for number in range(20):
            await runtime.send("recording", Job(number, seconds=0.1))
            statistics = await runtime.statistics("recording")
            assert statistics.queue_depth <= 3
            assert number - len(numbers("taken")) <= 3
        await runtime.terminate("recording")
        assert numbers("done") == list(range(20))


@simulated
async def test_reject_raises_at_once() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("recording", remote.recording, **sized(2, backpressure=REJECT))
        for number in range(2):
            await runtime.send("recording", Job(number))
        for call in (runtime.send, runtime.ask):
            before = trio.current_time()
            with pytest.raises(MailboxFull):
                await call("recording", Job(99, priority=255))
            assert trio.current_time() == before
        assert (await runtime.statistics("recording")).received == 2
        await runtime.activate("recording")
    assert numbers("done") == [0, 1]


@simulated
async def test_drop_oldest_keeps_the_newest_and_the_better() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("recording", remote.recording, **sized(3, backpressure=DROP_OLDEST))
        for number, priority in ((0, 255), (1, 5), (2, 128), (3, 128), (4, 128), (5, 1)):
            await runtime.send("recording", Job(number, priority=priority))
        assert (await runtime.statistics("recording")).dropped == {"overflow": 3}
        await runtime.activate("recording")
    assert numbers("done") == [0, 3, 4]


@simulated
async def test_drop_oldest_drops_the_oldest_while_the_kernel_is_deactivated() -> None:
    async with open_kernels(remote.recording, **sized(2, backpressure=DROP_OLDEST)) as runtime:
        await trio.sleep(1)
        await runtime.deactivate("recording")
        for number in range(3):
            await runtime.send("recording", Job(number))
            await trio.sleep(0.1)
    assert numbers("done") == [1, 2]


@simulated
async def test_drop_new_keeps_what_is_there() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("recording", remote.recording, **sized(3, backpressure=DROP_NEW))
        for number in range(10):
            await runtime.send("recording", Job(number, priority=number))
        assert (await runtime.statistics("recording")).dropped == {"overflow": 7}
        await runtime.activate("recording")
    assert numbers("done") == [2, 1, 0]


@pytest.mark.parametrize("strategy", [DROP_OLDEST, DROP_NEW])
@simulated
async def test_whoever_asks_is_told_that_the_message_was_dropped(
    strategy: BackpressureStrategy,
) -> None:
    outcomes: list[Any] = []

    async def ask(number: int) -> None:
        outcomes.append(await outcome_of(runtime.ask, "quiet", Job(number), timeout=10))

    async with RingKernelRuntime() as runtime:
        await runtime.launch("quiet", remote.quiet, **sized(1, backpressure=strategy))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ask, 1)
            await trio.sleep(0.1)
            tasks.start_soon(ask, 2)
            await trio.sleep(0.1)
            assert [type(one) for one in outcomes] == [MailboxFull]
            await runtime.activate("quiet")
        assert outcomes[1].value == (2 if strategy is DROP_OLDEST else 1)


@pytest.mark.parametrize("capacity", [2, 3])
@simulated
async def test_drop_oldest_keeps_the_newest_while_the_kernel_takes(capacity: int) -> None:
    async with open_kernels(
        remote.recording, **sized(capacity, backpressure=DROP_OLDEST)
    ) as runtime:
        for number in range(50):
            await runtime.send("recording", Job(number, seconds=0.05))
            await trio.sleep(0.01)
    done = numbers("done")
    assert done == sorted(done)
    assert done[-capacity:] == list(range(50 - capacity, 50))


@simulated
async def test_drop_oldest_keeps_the_newest_where_there_is_one_place() -> None:
    async with open_kernels(remote.recording, **sized(1, backpressure=DROP_OLDEST)) as runtime:
        await trio.sleep(1)
        await runtime.send("recording", Job(1))
        await runtime.send("recording", Job(2))
    assert numbers("done")[-1] == 2


@simulated
async def test_a_kernel_waits_while_its_responses_are_not_received() -> None:
    async with open_kernels(remote.noting, **sized(100, output_queue_size=2)) as runtime:
        for number in range(10):
            await runtime.send("noting", Job(number))
        await trio.sleep(10)
        assert (await runtime.statistics("noting")).processed == 2
        assert values(await received(runtime, "noting", 10)) == list(range(10))


@simulated
async def test_replies_to_an_ask_need_no_room() -> None:
    async with open_kernels(remote.worker, **sized(10, output_queue_size=1)) as runtime:
        for number in range(5):
            reply = await runtime.ask("worker", Job(number), timeout=1)
            assert reply.value == (number, number + 1)
        assert values(await received(runtime, "worker", 1)) == ["started"]


# --- kernels among each other (rows 24 to 26) ------------------------------------------------


@simulated
async def test_a_kernel_sends_to_another_and_asks_it() -> None:
    async with open_kernels(remote.relay, remote.quiet) as runtime:
        assert (await runtime.ask("relay", Job(5, "send quiet"), timeout=1)).value is None
        assert values(await received(runtime, "quiet", 1)) == [5]
        assert (await runtime.ask("relay", Job(6, "ask quiet"), timeout=1)).value == 6
        assert await left_over(runtime, "quiet") == []


@simulated
async def test_a_kernel_is_told_what_went_wrong() -> None:
    async with open_kernels(remote.relay, remote.silent, remote.brief) as runtime:
        await runtime.ask("brief", Job(), timeout=1)
        await runtime.wait_state("brief", KernelState.TERMINATED)
        await runtime.launch("full", remote.quiet, **sized(1, backpressure=REJECT))
        await runtime.send("full", Job())
        expected = {
            "send nobody": "ValueError: there is no kernel 'nobody'",
            "ask silent": "ReceiveTimeout: kernel 'silent'",
            "send brief": "ActorUnavailable: kernel 'brief' is terminated",
            "ask full": "MailboxFull: the mailbox is full",
            "emit strange": "TypeError: list is no message",
        }
        for text, start in expected.items():
            reply = await runtime.ask("relay", Job(1, text), timeout=5)
            assert reply.value.startswith(start), reply.value


@simulated
async def test_everybody_who_is_subscribed_gets_what_is_published_once() -> None:
    async with open_kernels(remote.relay, remote.quiet) as runtime:
        for name in ("sub1", "sub2", "sub3"):
            await runtime.launch(name, remote.subscriber)
            await runtime.activate(name)
        runtime.subscribe("news", "quiet")
        runtime.subscribe("news", "quiet")
        await runtime.ask("relay", Job(1, "publish news"), timeout=1)
        await runtime.publish("news", Job(2))
        await runtime.publish("something else", Job(3))
        for name in ("sub1", "sub2", "sub3", "quiet"):
            assert values(await left_over(runtime, name)) == [1, 2]
        runtime.unsubscribe("news", "sub2")
        runtime.unsubscribe("news", "sub2")
        await runtime.terminate("sub3")
        await runtime.publish("news", Job(4))
        assert values(await received(runtime, "sub1", 1)) == [4]
        assert await left_over(runtime, "sub2") == []


@simulated
async def test_who_refuses_a_publication_does_not_keep_it_from_the_others() -> None:
    async with RingKernelRuntime() as runtime:
        for name in ("sub1", "sub2"):
            await runtime.launch(name, remote.subscriber, **sized(1, backpressure=REJECT))
        await runtime.send("sub1", Job(0))
        with pytest.raises(ExceptionGroup) as caught:
            await runtime.publish("news", Job(1))
        assert [type(error) for error in caught.value.exceptions] == [MailboxFull]
        await runtime.activate("sub2")
        assert values(await received(runtime, "sub2", 1)) == [1]


@simulated
async def test_a_kernel_that_gave_up_asking_may_ask_again() -> None:
    async with open_kernels(remote.retrying, remote.silent) as runtime:
        reply = await runtime.ask("retrying", Job(), timeout=5)
        assert reply.value == "ReceiveTimeout"


@simulated
async def test_two_kernels_may_ask_each_other() -> None:
    async with open_kernels(remote.asker, remote.quiet) as runtime:
        async with trio.open_nursery() as tasks:
            for number in range(5):
                tasks.start_soon(runtime.ask, "asker", Job(number))
                tasks.start_soon(runtime.ask, "quiet", Job(100 + number))


# --- crashes (rows 36, 45, 49) ---------------------------------------------------------------


@simulated
async def test_a_crash_without_restarts_is_told_to_whoever_uses_the_kernel() -> None:
    async with open_kernels(remote.worker, remote.quiet) as runtime:
        await runtime.ask("worker", Job(1), timeout=1)
        with pytest.raises(ActorDied) as caught:
            await runtime.ask("worker", Job(3, CRASH), timeout=5)
        assert caught.value.exit_code == 1
        await runtime.wait_state("worker", KernelState.FAILED)
        # What it had sent before is still there.
        assert values(await received(runtime, "worker", 1)) == ["started"]
        for call in (runtime.send, runtime.ask):
            with pytest.raises(ActorDied):
                await call("worker", Job())
        for call in (runtime.receive, runtime.activate, runtime.deactivate):
            with pytest.raises(ActorDied):
                await call("worker")
        with pytest.raises(ActorDied):
            await runtime.wait_state("worker", KernelState.ACTIVE)
        assert (await runtime.ask("quiet", Job(1), timeout=1)).value == 1


@simulated
async def test_a_crash_is_told_to_those_whose_message_was_waiting() -> None:
    outcomes: list[Any] = []

    async def ask(job: Job) -> None:
        outcomes.append(await outcome_of(runtime.ask, "quiet", job, timeout=5))

    async with open_kernels(remote.quiet) as runtime:
        async with trio.open_nursery() as tasks:
            for job in (Job(1, CRASH, priority=255), Job(2), Job(3)):
                tasks.start_soon(ask, job)
    assert {type(outcome) for outcome in outcomes} == {ActorDied}


@simulated
async def test_who_waits_for_a_response_is_told_of_the_crash() -> None:
    async with open_kernels(remote.quiet) as runtime:
        outcomes: list[Any] = []

        async def receive() -> None:
            outcomes.append(await outcome_of(runtime.receive, "quiet"))

        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(receive)
            await runtime.send("quiet", Job(1, CRASH))
        assert [type(outcome) for outcome in outcomes] == [ActorDied] * 3


@simulated
async def test_who_waits_for_room_is_told_of_the_crash() -> None:
    outcomes: list[Any] = []

    async def send() -> None:
        outcomes.append(await outcome_of(runtime.send, "quiet", Job()))

    async with RingKernelRuntime() as runtime:
        await runtime.launch("quiet", remote.quiet, **sized(1))
        await runtime.send("quiet", Job(1, CRASH))
        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(send)
            await trio.sleep(0.1)
            await runtime.activate("quiet")
        # One of them has found room when the first message was taken.
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [
            "ActorDied",
            "ActorDied",
            "NoneType",
        ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("queue_size", [1, 5, 1000])
@simulated
async def test_a_crash_loses_the_message_in_hand_and_no_other(seed: int, queue_size: int) -> None:
    chance = random.Random(seed * 1000 + queue_size)
    jobs = [
        Job(n, CRASH if chance.random() < 0.1 else "", priority=chance.choice([1, 128, 255]))
        for n in range(60)
    ]
    options: dict[str, Any] = sized(queue_size) | {"restart": "transient"}
    async with RingKernelRuntime(strategy=OneForOne(100)) as runtime:
        await runtime.launch("recording", remote.recording, **options)
        async with trio.open_nursery() as tasks:
            for job in jobs:
                tasks.start_soon(runtime.send, "recording", job)
            await trio.sleep(1)
            await runtime.activate("recording")
        await runtime.terminate("recording", timeout=100)
        statistics = await runtime.statistics("recording")
    crashes = {job.number for job in jobs if job.text == CRASH}
    assert Counter(numbers("taken")) == dict.fromkeys(range(60), 1)
    assert set(numbers("done")) == set(range(60)) - crashes
    # After the last message there is nothing to come back for.
    is_last_a_crash = numbers("taken")[-1] in crashes
    assert statistics.restarts == len(crashes) - is_last_a_crash
    assert statistics.errors == len(crashes)
    if queue_size == 1000:
        order = sorted(jobs, key=lambda job: -job.priority)
        by_priority = [
            [n for n in numbers("taken") if jobs[n].priority == p] for p in (255, 128, 1)
        ]
        assert [len(level) for level in by_priority] == [
            sum(job.priority == p for job in order) for p in (255, 128, 1)
        ]
        assert numbers("taken") == [n for level in by_priority for n in level]


@simulated
async def test_messages_of_one_priority_stay_in_order_over_a_crash() -> None:
    async with open_kernels(remote.recording, restart="permanent") as runtime:
        for number in range(50):
            await runtime.send("recording", Job(number, CRASH if number in (3, 20) else ""))
        await trio.sleep(10)
    assert numbers("taken") == list(range(50))


@simulated
async def test_a_restarted_kernel_starts_from_the_beginning() -> None:
    async with open_kernels(remote.worker, restart="permanent") as runtime:
        assert (await runtime.ask("worker", Job(1), timeout=1)).value == (1, 1)
        with pytest.raises(ActorDied):
            await runtime.ask("worker", Job(2, CRASH), timeout=5)
        assert (await runtime.ask("worker", Job(3), timeout=5)).value == (3, 1)
        assert values(await left_over(runtime, "worker")) == ["started", "started"]
        assert runtime.state("worker") is KernelState.ACTIVE
        assert (await runtime.statistics("worker")).restarts == 1


@simulated
async def test_a_kernel_that_was_not_active_is_restarted_so() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("recording", remote.recording, restart="permanent")
        await runtime.activate("recording")
        await runtime.send("recording", Job(1, CRASH, seconds=0.1))
        await trio.sleep(0.05)
        await runtime.deactivate("recording")
        await runtime.send("recording", Job(2))
        await trio.sleep(5)
        assert (await runtime.statistics("recording")).restarts == 1
        assert numbers("taken") == [1]
        await runtime.activate("recording")
    assert numbers("taken") == [1, 2]


@simulated
async def test_an_ask_outlives_a_crash_if_its_message_was_waiting() -> None:
    outcomes: dict[int, Any] = {}

    async def ask(job: Job) -> None:
        outcomes[job.number] = await outcome_of(runtime.ask, "quiet", job, timeout=20)

    async with open_kernels(remote.quiet, restart="permanent") as runtime:
        async with trio.open_nursery() as tasks:
            for job in (Job(1, CRASH, priority=255), Job(2), Job(3)):
                tasks.start_soon(ask, job)
        assert isinstance(outcomes[1], ActorDied)
        assert [outcomes[2].value, outcomes[3].value] == [2, 3]
        assert await left_over(runtime, "quiet") == []


@simulated
async def test_an_ask_outlives_a_crash_if_it_was_waiting_for_room() -> None:
    outcomes: dict[int, Any] = {}

    async def ask(job: Job) -> None:
        outcomes[job.number] = await outcome_of(runtime.ask, "quiet", job, timeout=20)

    async with RingKernelRuntime() as runtime:
        await runtime.launch("quiet", remote.quiet, restart="permanent", **sized(1))
        async with trio.open_nursery() as tasks:
            for job in (Job(1, CRASH), Job(2), Job(3)):
                tasks.start_soon(ask, job)
                await trio.sleep(0.1)
            await runtime.activate("quiet")
        assert isinstance(outcomes[1], ActorDied)
        assert [getattr(outcomes[n], "value", outcomes[n]) for n in (2, 3)] == [2, 3]
        assert await left_over(runtime, "quiet") == []


@simulated
async def test_a_message_that_kills_is_given_once() -> None:
    async with open_kernels(remote.falling, restarts=20, restart="permanent") as runtime:
        for number in range(5):
            await runtime.send("falling", Job(number, CRASH if number == 2 else ""))
        await trio.sleep(5)
    assert Counter(RECORD) == dict.fromkeys(range(5), 1)


@simulated
async def test_a_restarted_kernel_gets_the_answers_to_its_own_requests() -> None:
    async with open_kernels(remote.quiet, remote.asker, restart="permanent") as runtime:
        await runtime.send("asker", Job(1, CRASH, seconds=3))
        await trio.sleep(0.5)
        assert (await runtime.ask("asker", Job(2, seconds=3), timeout=20)).value == 2


def test_requests_that_outlive_their_kernel_do_not_meddle_with_those_of_the_next() -> None:
    simulation = Simulation(SEED)

    async def main() -> None:
        async with open_kernels(remote.quiet, remote.asker, restart="permanent") as runtime:
            await runtime.send("asker", Job(1, seconds=3))
            await trio.sleep(0.5)
            simulation.kill(runtime.portal("asker"))
            await trio.sleep(0.5)
            assert (await runtime.ask("asker", Job(2, seconds=3), timeout=20)).value == 2
            assert (await runtime.ask("asker", Job(3), timeout=20)).value == 3

    simulation.run(main)


@simulated
async def test_a_response_received_during_a_restart_makes_room() -> None:
    options: dict[str, Any] = sized(10, output_queue_size=1) | {"restart": "permanent"}
    async with open_kernels(remote.noting, **options) as runtime:
        for number, text in ((1, ""), (2, CRASH), (3, "")):
            await runtime.send("noting", Job(number, text))
        while not (await runtime.statistics("noting")).restarts:
            await trio.sleep(0.0001)
        assert values(await received(runtime, "noting", 2)) == [1, 3]


@simulated
async def test_too_many_crashes_leave_the_block() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_kernels(remote.quiet, restarts=2, restart="permanent") as runtime:
            for number in range(10):
                await runtime.send("quiet", Job(number, CRASH))
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, RestartIntensityExceeded)
    assert len(error.history) == 3


@simulated
async def test_a_kernel_that_cannot_start_fails_when_it_is_used() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("broken", remote.broken_start)
        await runtime.wait_state("broken", KernelState.FAILED)
        with pytest.raises(ActorDied):
            await runtime.activate("broken")


@simulated
async def test_sys_exit_is_a_crash_like_others() -> None:
    async with open_kernels(remote.exiting, restart="permanent") as runtime:
        await runtime.send("exiting", Job(3))
        await trio.sleep(5)
        assert (await runtime.statistics("exiting")).restarts == 1
        assert runtime.state("exiting") is KernelState.ACTIVE


@simulated
async def test_a_crash_while_draining_loses_the_message_in_hand_and_no_other() -> None:
    async with open_kernels(remote.recording, restart="permanent") as runtime:
        for number in range(6):
            await runtime.send("recording", Job(number, CRASH if number == 2 else ""))
        await runtime.terminate("recording", timeout=20)
        assert runtime.state("recording") is KernelState.TERMINATED
    assert numbers("taken") == list(range(6))
    assert numbers("done") == [0, 1, 3, 4, 5]


# --- statistics (row 62) ---------------------------------------------------------------------


def test_a_histogram_puts_a_time_below_the_next_bound() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.mean, histogram.percentile(0.5)) == (0, 0.0, 0.0)
    for lower, upper in itertools.pairwise(histogram.bounds):
        for seconds in (lower * 1.001, upper * 0.999):
            one = Histogram()
            one.record(seconds)
            assert one.percentile(0.5) == upper
    for seconds in (0.0, 0.001, 0.002, 1000.0):
        histogram.record(seconds)
    assert histogram.count == 4
    assert histogram.mean == pytest.approx(250.00075)
    assert histogram.percentile(0.25) == histogram.bounds[0]
    assert histogram.percentile(0.75) == pytest.approx(0.0032)
    assert histogram.percentile(1.0) == math.inf


@simulated
async def test_what_a_kernel_does_is_counted() -> None:
    async with open_kernels(remote.recording) as runtime:
        for number in range(10):
            await runtime.send("recording", Job(number, seconds=0.1))
        await trio.sleep(0.45)
        statistics = await runtime.statistics("recording")
        assert (statistics.received, statistics.processed, statistics.queue_depth) == (10, 4, 5)
        assert (statistics.errors, statistics.dropped, statistics.restarts) == (0, {}, 0)
        assert statistics.latency.count == 4
        assert statistics.latency.mean == pytest.approx(0.25, abs=0.02)
        assert 0.1 < statistics.latency.percentile(0.01) < 0.25
        assert 0.4 < statistics.latency.percentile(1.0) < 0.9
        await trio.sleep(1)
        statistics = await runtime.statistics("recording")
        assert (statistics.received, statistics.processed, statistics.queue_depth) == (10, 10, 0)


@pytest.mark.parametrize("strategy", [REJECT, DROP_OLDEST, DROP_NEW])
@pytest.mark.parametrize("seed", range(3))
@simulated
async def test_every_message_is_accounted_for(seed: int, strategy: BackpressureStrategy) -> None:
    chance = random.Random(seed)
    refused = 0
    async with open_kernels(remote.recording, **sized(4, backpressure=strategy)) as runtime:
        for number in range(60):
            job = Job(number, seconds=chance.uniform(0.01, 0.1), priority=chance.randrange(256))
            refused += isinstance(await outcome_of(runtime.send, "recording", job), MailboxFull)
            await trio.sleep(chance.uniform(0, 0.05))
            statistics = await runtime.statistics("recording")
            in_hand = len(numbers("taken")) - len(numbers("done"))
            assert statistics.received == number + 1 - refused
            # Meanwhile, what is on its way counts as waiting on one side or the other.
            assert (
                accounted(statistics) <= statistics.received <= accounted(statistics) + in_hand + 1
            )
        await trio.sleep(1)
        statistics = await runtime.statistics("recording")
        assert accounted(statistics) == statistics.received == 60 - refused
        assert statistics.processed == len(numbers("done"))
        assert refused + statistics.dropped.get("overflow", 0) > 0


@simulated
async def test_a_kernel_that_has_ended_has_told_all_its_counts() -> None:
    async with open_kernels(remote.recording) as runtime:
        for number in range(10):
            await runtime.send("recording", Job(number))
        await runtime.terminate("recording")
        statistics = await runtime.statistics("recording")
        assert (statistics.received, statistics.processed) == (10, 10)
        assert statistics.latency.count == 10


@simulated
async def test_counts_go_on_over_a_restart() -> None:
    async with open_kernels(remote.recording, restart="permanent") as runtime:
        for number in range(10):
            await runtime.send("recording", Job(number, CRASH if number == 4 else ""))
        await trio.sleep(5)
        statistics = await runtime.statistics("recording")
        assert (statistics.received, statistics.processed, statistics.errors) == (10, 9, 1)
        assert (statistics.restarts, statistics.latency.count) == (1, 9)


@simulated
async def test_the_options_of_the_launch_take_the_place_of_the_kernel() -> None:
    options = MailboxOptions(queue_size=1, backpressure=REJECT)
    async with RingKernelRuntime() as runtime:
        await runtime.launch("small", remote.quiet, mailbox=options)
        await runtime.launch("normal", remote.quiet)
        for _ in range(2):
            await runtime.send("normal", Job())
        await runtime.send("small", Job())
        with pytest.raises(MailboxFull, match="1 messages"):
            await runtime.send("small", Job())
