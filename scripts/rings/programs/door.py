"""A program that serves calls and starts actors while strangers knock at its door.

    python door.py HEADROOM

It writes its address to stdout, goes on until its stdin ends, and writes what it has seen, as JSON.
HEADROOM is how many descriptors it may open beyond those that it has; -1 sets no limit.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import resource
import sys
from collections import Counter

import trio

import actorsys
from scripts.rings.programs import callees

CALLERS = 4
STARTERS = 2
CALL_WITHIN_SECONDS = 5.0
START_WITHIN_SECONDS = 10.0
HOARDED_SECONDS = 0.02
BETWEEN_STARTS_SECONDS = 0.02

counts: Counter[str] = Counter()
"""How often calls and starts went well ("calls", "starts"), and what else became of them."""

slowest_seconds = 0.0


async def make_calls(portal: actorsys.Portal) -> None:
    """Call for as long as the program runs, and count what comes of it."""
    global slowest_seconds
    while True:
        began = trio.current_time()
        try:
            with trio.fail_after(CALL_WITHIN_SECONDS):
                await portal.run(callees.echo, 7)
            counts["calls"] += 1
        except Exception as error:
            counts[f"failed call: {error!r}"] += 1
        slowest_seconds = max(slowest_seconds, trio.current_time() - began)


async def make_starts(nursery: actorsys.ActorNursery) -> None:
    """Start actors for as long as the program runs, and count what comes of it."""
    while True:
        try:
            with trio.fail_after(START_WITHIN_SECONDS):
                portal = await nursery.start_actor("late", modules=[callees.__name__])
                await portal.run(callees.echo, 7)
                await portal.cancel_actor()
            counts["starts"] += 1
        except actorsys.SpawnError:
            counts["refused starts"] += 1
        except Exception as error:
            counts[f"failed start: {error!r}"] += 1
        await trio.sleep(BETWEEN_STARTS_SECONDS)


async def hoard_descriptors() -> None:
    """Take every descriptor that is left, time and again, as other code of a program might."""
    held: list[int] = []
    while True:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        await trio.sleep(random.random() * HOARDED_SECONDS)
        while held:
            os.close(held.pop())
        await trio.sleep(random.random() * HOARDED_SECONDS)


def limit_descriptors(headroom: int) -> None:
    """Let this process open no more than *headroom* further descriptors."""
    used = set(map(int, os.listdir("/proc/self/fd")))
    limit = next(
        number for number in itertools.count() if len(set(range(number)) - used) == headroom
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


async def main(headroom: int) -> None:
    """Serve until stdin ends; then start one more actor without a limit, and tell."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with actorsys.open_nursery() as nursery:
        portals = [
            await nursery.start_actor(name, modules=[callees.__name__]) for name in ("one", "two")
        ]
        stdin = trio.lowlevel.FdStream(0)
        if headroom >= 0:
            limit_descriptors(headroom)
        print(await actorsys.current_actor().reception.address(), flush=True)
        async with trio.open_nursery() as tasks:
            for number in range(CALLERS):
                tasks.start_soon(make_calls, portals[number % 2])
            if headroom >= 0:
                tasks.start_soon(hoard_descriptors)
            for _ in range(STARTERS):
                tasks.start_soon(make_starts, nursery)
            await stdin.receive_some()
            tasks.cancel_scope.cancel()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        portal = await nursery.start_actor("last", modules=[callees.__name__])
        counts["starts afterwards"] = await portal.run(callees.echo, 1)
        await nursery.cancel()
    print(json.dumps({"counts": counts, "slowest": slowest_seconds}))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
