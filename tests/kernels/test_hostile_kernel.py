"""A kernel whose process talks nonsense loses its link at most; nobody else notices."""

from __future__ import annotations

import math
from typing import Any

import hostile_kernels as remote
import kernel_functions
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_functions import CRASH, Job
from kernel_helpers import SEED, at_hand, launch_active, open_kernels, outcome_of, simulated

from actorsys import (
    ActorsysError,
    KernelState,
    KernelStatistics,
    Limits,
    MailboxOptions,
    RingKernelRuntime,
)
from actorsys.kernels.tally import TALLY_WORDS
from actorsys.kernels.wiring import ToRuntime
from actorsys.limits import KIB
from actorsys.testing.simulation import Simulation

KEY = bytes(16)
TAKEN, WANTED, RESPONSE = ToRuntime.TAKEN, ToRuntime.WANTED, ToRuntime.RESPONSE
GATED, REQUEST = ToRuntime.GATED, ToRuntime.REQUEST
COUNTED, UNREADABLE = ToRuntime.COUNTED, ToRuntime.UNREADABLE


def brief(item: Any) -> str:
    """Return a name for the test of *item*."""
    return repr(item)[:40]


async def check_contained(*items: Any, text: str = "", pause: float = 0.01) -> None:
    """Have a kernel say *items*; check that all others are served, and all calls end."""
    async with open_kernels(kernel_functions.answer) as runtime:
        await check_contained_in(runtime, *items, text=text, pause=pause)


async def check_contained_in(
    runtime: RingKernelRuntime, *items: Any, text: str = "", pause: float = 0.01
) -> None:
    """Check as `check_contained` in a runtime that is open."""
    await launch_active(runtime, remote.hostile, {})
    await runtime.send("hostile", Job(text=text, seconds=pause, items=list(items)))
    await trio.sleep(1)
    assert (await runtime.ask("answer", Job(5), timeout=1)).value == 5
    assert runtime.state("hostile") in (KernelState.ACTIVE, KernelState.FAILED)
    for call in (
        lambda: runtime.statistics("hostile"),
        lambda: runtime.receive("hostile", timeout=0.1),
        lambda: runtime.send("hostile", Job()),
        lambda: runtime.ask("hostile", Job(), timeout=0.1),
    ):
        outcome = await outcome_of(call)
        assert not isinstance(outcome, Exception) or isinstance(outcome, ActorsysError)
    await runtime.terminate("hostile")
    assert isinstance(await runtime.statistics("hostile"), KernelStatistics)
    assert (await runtime.ask("answer", Job(6), timeout=1)).value == 6


def request(
    verb: Any = "send",
    name: Any = "answer",
    data: Any = b"?",
    priority: Any = 128,
    key: Any = KEY,
    timeout: Any = None,
) -> list[Any]:
    return [REQUEST, None, 0, verb, name, [data, priority, key], timeout]


NONSENSE: dict[str, list[Any]] = {
    "no list": [
        5,
        None,
        "text",
        b"bytes",
        {},
        {"0": 1},
    ],
    "no kind": [
        [],
        [99],
        [-1],
        ["0"],
        [None],
        [[0], 0],
    ],
    "taken": [
        [TAKEN],
        [TAKEN, 99],
        [TAKEN, -1],
        [TAKEN, 0],
        [TAKEN, "0"],
        [TAKEN, []],
        [TAKEN, 0, 0],
    ],
    "wanted": [
        [WANTED],
        [WANTED, None, "many"],
        [WANTED, None, -5],
        [WANTED, None, math.nan],
        [WANTED, None, math.inf],
        [WANTED, None, 10**30],
    ],
    "response": [
        [RESPONSE],
        [RESPONSE, None, None, 128, None],
        [RESPONSE, None, b"nonsense", 128, None],
        [RESPONSE, None, b"", 256, None],
        [RESPONSE, None, b"", -1, None],
        [RESPONSE, None, b"", "high", None],
        [RESPONSE, None, b"", 1.5, None],
        [RESPONSE, None, b"", 128, b"short"],
        [RESPONSE, None, b"", 128, "text"],
        [RESPONSE, None, b"", 128, KEY],
    ],
    "gated": [
        [GATED],
        [GATED, None, "maybe"],
        [GATED, None, None],
    ],
    "request": [
        [REQUEST],
        [REQUEST, None, 0, "send", "answer"],
        request(),
        request(data=None),
        request(data=[1]),
        request(verb="terminate"),
        request(verb=5),
        request(verb="ask", timeout=-1),
        request(verb="ask", timeout=math.nan),
        request(verb="ask", timeout="soon"),
        request(name="nobody"),
        request(name=[]),
        request(name=None),
        request(name="hostile"),
        request(verb="publish", name=["news"]),
        request(priority=256),
        request(priority=True),
        request(priority="high"),
        request(key=b"short"),
        request(key=None),
        [REQUEST, None, [], *request()[2:]],
    ],
    "counted": [
        [COUNTED],
        [COUNTED, None, 1, 2],
    ],
    "unreadable": [
        [UNREADABLE],
        [UNREADABLE, None, 99, "why"],
        [UNREADABLE, None, 0, "taken already"],
    ],
}


@pytest.mark.parametrize("kind", NONSENSE)
@simulated
async def test_nonsense_of_a_kernel_is_contained(kind: str) -> None:
    async with open_kernels(kernel_functions.answer) as runtime:
        for item in NONSENSE[kind]:
            print(item)
            await check_contained_in(runtime, item)


@pytest.mark.parametrize("envelope", [None, 5, [], [b"", 128], [b"", 128, KEY, 0]], ids=brief)
@simulated
async def test_a_request_without_an_envelope_is_contained(envelope: Any) -> None:
    await check_contained([REQUEST, None, 0, "send", "answer", envelope, None])


@pytest.mark.parametrize(
    "counts",
    [
        5,
        "x" * TALLY_WORDS,
        [0] * (TALLY_WORDS - 1),
        [0] * (TALLY_WORDS - 1) + [-1],
        [0] * (TALLY_WORDS - 1) + [None],
        [0] * (TALLY_WORDS - 1) + [0.5],
    ],
    ids=brief,
)
@simulated
async def test_counts_that_are_none_are_contained(counts: Any) -> None:
    await check_contained([COUNTED, None, counts], text=CRASH)


def test_an_answer_that_would_be_too_long_is_contained() -> None:
    async def main() -> None:
        await check_contained(request(name="\x00" * 20 * KIB))

    Simulation(SEED, limits=Limits(max_message_bytes=64 * KIB)).run(main)


@simulated
async def test_no_more_responses_are_kept_than_there_is_room_for() -> None:
    async with RingKernelRuntime() as runtime:
        options = MailboxOptions(output_queue_size=4)
        await runtime.launch("flooding", remote.flooding, mailbox=options)
        await runtime.activate("flooding")
        await runtime.send("flooding", Job(1000))
        await trio.sleep(5)
        kept = await outcome_of(at_hand, runtime, "flooding")
        assert isinstance(kept, ActorsysError) or len(kept) <= 8


@pytest.mark.parametrize("pause", [0.01, 0.0])
@simulated
async def test_requests_with_one_number_are_contained(pause: float) -> None:
    one = [REQUEST, None, 0, "ask", "answer", [b"?", 128, KEY], 0.1]
    other = [REQUEST, None, 0, "ask", "answer", [b"?", 128, KEY[1:] + b"x"], 0.2]
    await check_contained(one, other, one, [ToRuntime.GIVEN_UP, None, 0], other, pause=pause)


@simulated
async def test_a_kernel_cannot_answer_what_was_asked_of_another() -> None:
    outcomes: list[Any] = []
    job = Job(1)

    async def ask() -> None:
        outcomes.append(await outcome_of(runtime.ask, "silent", job, timeout=2))

    async with open_kernels(kernel_functions.silent, remote.meddling) as runtime:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ask)
            await trio.sleep(0.1)
            await runtime.send("meddling", Job(items=[job.message_id]))
        assert isinstance(outcomes[0], TimeoutError)
        assert (await runtime.receive("meddling", timeout=1)).value == "forged"


# Where an item is known to end the runtime, the tests above tell.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=17),
)
values = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(scalars, inside, max_size=2),
    max_leaves=5,
)
kinds = st.sampled_from([TAKEN, WANTED, RESPONSE, GATED, UNREADABLE, 7, None])
items = st.one_of(
    values.filter(lambda value: not (isinstance(value, list) and value[:1] in ([4], [5]))),
    st.builds(lambda kind, rest: [kind, *rest], kinds, st.lists(values, max_size=4)),
)


@settings(max_examples=15, deadline=None, print_blob=True)
@given(st.lists(items, min_size=1, max_size=4))
def test_any_nonsense_is_contained(all_items: list[Any]) -> None:
    async def main() -> None:
        with trio.fail_after(1000):
            await check_contained(*all_items)

    Simulation(SEED).run(main)
