"""A program with a producer and a consumer that does not keep up; it tells memory and latencies.

    python flood.py SCENARIO ITEM_BYTES TOTAL_BYTES SECONDS

A slow consumer reads all of TOTAL_BYTES; any other is left alone with the producer for SECONDS.
Meanwhile this process makes calls, on the same link unless that is frozen. At the same time an
actor calls a child of its own, which has nothing to do with the flood, so that what else the
machine does falls on both. What was seen is written to stdout, as JSON: by how many bytes each
process has grown at most, and the p99 of the calls "with" the flood and "without" it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

import actorsys
from scripts.rings import processes
from scripts.rings.latencies import p99
from scripts.rings.programs import callees, calls, streams

WARM_UP_BYTES = 16 * 1024 * 1024


class Flood(NamedTuple):
    """Who takes part in a flood, and how large it is."""

    partner: actorsys.Portal
    other: actorsys.Portal
    item_bytes: int
    total_bytes: int
    seconds: float


# --- the scenarios ----------------------------------------------------------------------------


async def read_here(flood: Flood, how: str) -> None:
    """Let the partner produce, and consume here."""
    stream_from = flood.partner.open_stream_from
    async with stream_from(streams.produce, flood.item_bytes, flood.total_bytes) as stream:
        await streams.CONSUMERS[how](stream)


async def read_there(flood: Flood, how: str) -> None:
    """Produce here, and let the partner consume."""
    async with flood.partner.open_context(streams.consume, how) as (ctx, _):
        async with ctx.open_stream() as stream:
            async for item in streams.produce(flood.item_bytes, flood.total_bytes):
                await stream.send(item)


async def leave_alone(scenario: Callable[[Flood, str], Awaitable[None]], flood: Flood) -> None:
    """Let nobody read for the time of the flood."""
    with trio.move_on_after(flood.seconds):
        await scenario(flood, "never")


async def freeze_there(flood: Flood) -> None:
    """Freeze the partner that is to consume, and produce for the time of the flood."""
    assert flood.partner.pid is not None
    async with flood.partner.open_context(streams.consume, "fast") as (ctx, _):
        async with ctx.open_stream() as stream:
            processes.freeze(flood.partner.pid)
            with trio.move_on_after(flood.seconds):
                async for item in streams.produce(flood.item_bytes, flood.total_bytes):
                    await stream.send(item)
            os.kill(flood.partner.pid, signal.SIGCONT)


async def freeze_here(flood: Flood) -> None:
    """Freeze this process, the consumer, for the time of the flood."""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(read_here, flood, "fast")
        tasks.start_soon(flood.other.run, streams.wake_up, os.getpid(), flood.seconds)
        await trio.sleep(flood.seconds / 10)
        os.kill(os.getpid(), signal.SIGSTOP)
        tasks.cancel_scope.cancel()


SCENARIOS: dict[str, Callable[[Flood], Awaitable[None]]] = {
    "slow here": lambda flood: read_here(flood, "slow"),
    "slow there": lambda flood: read_there(flood, "slow"),
    "never read here": lambda flood: leave_alone(read_here, flood),
    "never read there": lambda flood: leave_alone(read_there, flood),
    "frozen there": freeze_there,
    "frozen here": freeze_here,
}


# --- what is measured -------------------------------------------------------------------------


async def main(scenario: str, item_bytes: int, total_bytes: int, seconds: float) -> None:
    """Run one scenario, and tell."""
    modules = [callees.__name__, streams.__name__, calls.__name__]
    durations: list[float] = []
    async with actorsys.open_nursery() as nursery:
        partner, other, control = [
            await nursery.start_actor(name, modules=modules)
            for name in ("partner", "other", "control")
        ]
        flood = Flood(partner, other, item_bytes, total_bytes, seconds)
        await read_here(flood._replace(total_bytes=WARM_UP_BYTES), "fast")
        await read_there(flood._replace(total_bytes=WARM_UP_BYTES), "fast")
        pids = [os.getpid(), partner.pid]
        before = [processes.resident_bytes(pid) for pid in pids]
        for pid in pids:
            processes.forget_most_resident(pid)
        called = other if scenario == "frozen there" else partner
        await calls.warm_up(called)
        async with control.open_context(calls.compare) as (ctx, _):
            async with ctx.open_stream(), trio.open_nursery() as tasks:
                tasks.start_soon(calls.repeat, called, durations)
                await SCENARIOS[scenario](flood)
                tasks.cancel_scope.cancel()
            compared = await ctx.result()
        most = [processes.most_resident_bytes(pid) for pid in pids]
        await nursery.cancel()
    growth = [after - size for after, size in zip(most, before, strict=True)]
    print(json.dumps({"growth": growth, "with": p99(durations), "without": p99(compared)}))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4]))
