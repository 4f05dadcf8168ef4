"""Promise 18: a silent peer of a link is noticed; a child is never given up for being busy."""

from __future__ import annotations

import math
import os
import random
import secrets
import signal
from collections.abc import Iterator

import trio

import actorsys
from actorsys.testing.killer import Killer, Way

from .figure import Figure
from .programs import callees

EXPECTED_SECONDS = 5.0
TOLERANCE_SECONDS = 1.0
WAIT_SECONDS = 10.0
BUSY_SECONDS = 8.0


def notice_silence(trials: int, seed: int) -> Iterator[Figure]:
    """Freeze the process behind a link, at a random moment, and time until that is noticed."""
    chance = random.Random(seed)
    delays = [chance.random() * 2 for _ in range(trials)]
    times: list[float] = []
    trio.run(_freeze_all, delays, times)
    off = max((abs(time - EXPECTED_SECONDS) for time in times), default=math.inf)
    shown = f"{min(times):.1f} to {max(times):.1f} s" if times else "never"
    yield Figure(
        promise=18,
        what="a frozen peer of a link is noticed",
        n=trials,
        seed=seed,
        worst=shown,
        target=f"{EXPECTED_SECONDS:g} +/- {TOLERANCE_SECONDS:g} s",
        is_met=len(times) == trials and off <= TOLERANCE_SECONDS,
    )


async def _freeze_all(delays: list[float], times: list[float]) -> None:
    async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
        for number, delay in enumerate(delays):
            portal = await nursery.start_actor(f"server-{number}", modules=[callees.__name__])
            tasks.start_soon(_freeze_one, portal, delay, times)


async def _freeze_one(server: actorsys.Portal, delay: float, times: list[float]) -> None:
    """Link to an endpoint in the process of *server*, freeze that, and wait for the loss."""
    key = secrets.token_bytes(32)
    async with server.open_context(callees.keep_endpoint, key) as (ctx, address):
        async with actorsys.open_link(address, key=key, name="caller") as portal:
            async with actorsys.monitor(portal) as events:
                await trio.sleep(delay)
                assert server.pid is not None
                os.kill(server.pid, signal.SIGSTOP)
                frozen_at = trio.current_time()
                with trio.move_on_after(WAIT_SECONDS):
                    await events.receive()
                    times.append(trio.current_time() - frozen_at)
                os.kill(server.pid, signal.SIGCONT)
        await ctx.cancel()
    await server.cancel_actor()


def keep_the_busy(children: int, seed: int) -> Iterator[Figure]:
    """Have children hold the interpreter lock, or be frozen, for longer than any silence."""
    killer = Killer(random.Random(seed), hog_seconds=BUSY_SECONDS)
    alive = trio.run(_keep_busy, killer, children)
    yield Figure(
        promise=18,
        what=f"children that hold the interpreter lock or are frozen for {BUSY_SECONDS:g} s",
        n=children,
        seed=seed,
        worst=f"{alive} of {children} answer afterwards",
        target="none is declared dead",
        is_met=alive == children == len(killer.strikes),
    )


async def _keep_busy(killer: Killer, children: int) -> int:
    modules = [callees.__name__, "actorsys.testing.misbehaviour"]
    alive = 0
    async with actorsys.open_nursery() as nursery:
        portals = [await nursery.start_actor(f"busy-{i}", modules=modules) for i in range(children)]
        for number, portal in enumerate(portals):
            await killer.strike(portal, Way.HOG if number % 2 else Way.FREEZE)
        await trio.sleep(BUSY_SECONDS)
        killer.resume_all()
        for portal in portals:
            alive += await portal.run(callees.echo, 1) == 1
        await nursery.cancel()
    return alive
