"""Calls under random cuts and delays: each ends exactly once, and none is left waiting."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
from channel_helpers import ask, open_pair, start
from trio.testing import MockClock

from actorsys.channel import Channel
from actorsys.errors import ActorUnavailable, ContextCancelled
from actorsys.limits import Limits

SCHEDULES = 300
CALLS_EACH = 8
ENDS_WITHIN_SECONDS = 60.0  # of the mock clock
LIMITS = Limits(stream_window_bytes=1024)


async def call_plainly(channel: Channel) -> None:
    assert await ask(channel, "echo", 5) == 5


async def read_a_stream(channel: Channel) -> None:
    call = await start(channel, "count", 200, kind="asyncgen")
    await call.wait_started()
    assert call.flow is not None
    assert [item async for item in items_of(call.flow)] == list(range(200))
    await call.wait_ended()
    call.forget()
    if call.error is not None:
        raise call.error


async def items_of(flow: object) -> object:
    while True:
        try:
            yield await flow.__anext__()  # type: ignore[attr-defined]
        except StopAsyncIteration:
            return


async def talk(channel: Channel) -> None:
    call = await start(channel, "parrot", kind="context")
    await call.wait_started()
    assert call.flow is not None
    for item in range(20):
        await call.flow.send(item)
        assert await call.flow.receive() == item
    call.flow.stop()
    assert await call.result() == 20


JOBS: list[Callable[[Channel], Awaitable[None]]] = [call_plainly, read_a_stream, talk]


async def end(job: Awaitable[None], delay: float, patience: float) -> str:
    """Run *job*; return in which of the four ways it has ended."""
    await trio.sleep(delay)
    try:
        with trio.move_on_after(patience) as scope:
            await job
            return "result"
    except ContextCancelled:
        return "cancelled"
    except ActorUnavailable:
        return "unavailable"
    except trio.BrokenResourceError:
        return "unavailable"
    assert scope.cancelled_caught
    return "cancelled"


async def run_schedule(chance: random.Random) -> Counter[str]:
    """Run some calls over one link, and cut the link at some moment; return how they ended."""
    ends: Counter[str] = Counter()

    async def run_job(channel: Channel) -> None:
        job = chance.choice(JOBS)(channel)
        ends[await end(job, chance.random(), chance.choice([0.0, 0.001, 1e9]))] += 1

    async def cut(channel: Channel) -> None:
        await trio.sleep(chance.random() * 1.2)
        await trio.aclose_forcefully(channel._transport)

    async def explain(channel: Channel) -> None:
        await channel.lost.wait()
        channel.fail_calls(lambda may_have_run: ActorUnavailable(may_have_run=may_have_run))

    capacity = chance.choice([7, 100, 65536])
    with trio.fail_after(ENDS_WITHIN_SECONDS):
        async with open_pair(LIMITS, capacity) as (alice, bob), trio.open_nursery() as tasks:
            for channel in (alice, bob):
                tasks.start_soon(explain, channel)
            for _ in range(CALLS_EACH):
                tasks.start_soon(run_job, chance.choice([alice, bob]))
            tasks.start_soon(cut, chance.choice([alice, bob]))
    assert not alice.table.outgoing()
    assert not bob.table.outgoing()
    return ends


@pytest.mark.slow
async def test_every_call_ends_exactly_once(autojump_clock: MockClock) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    for _ in range(SCHEDULES):
        ends += await run_schedule(chance)
    assert sum(ends.values()) == SCHEDULES * CALLS_EACH
    assert min(ends["result"], ends["cancelled"], ends["unavailable"]) > SCHEDULES / 10, ends
