"""Promise 3: actors that are struck at random come back, and each death is told exactly once."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

import actorsys
from actorsys.testing.killer import Killer, Strike, Way
from actorsys.testing.leaks import descendants

from . import latencies
from .figure import Figure
from .programs import callees

WORKERS = 8
CALLERS_EACH = 4
PAUSE_SECONDS = 0.02  # of a caller; without one, starting processes would get no core
WAYS = (Way.KILL, Way.SEGFAULT, Way.EXIT)
TOLD_WITHIN_SECONDS = 0.1
SECONDS_EACH = 3.0  # far more than a restart takes
MODULES = [callees.__name__, "actorsys.testing.misbehaviour"]


@dataclass
class Story:
    """What happened in one run."""

    deaths: list[actorsys.ActorDied] = field(default_factory=list)
    told_after: list[float] = field(default_factory=list)
    results: int = 0
    failures: int = 0
    zombies: int = 0
    unexplained: list[str] = field(default_factory=list)


def strike_at_random(strikes: int, seed: int) -> Iterator[Figure]:
    """Strike workers under load so often, and compare what was told with what was done."""
    killer = Killer(random.Random(seed), WAYS)
    story = Story()
    problem = ""
    try:
        trio.run(_run, killer, strikes, story)
    except BaseException as error:
        problem = f"; it ended with {error!r}"
    what = f"random deaths of {WORKERS} workers under load, restarted"
    wrong = len(story.unexplained) + story.zombies + bool(problem)
    is_complete = len(killer.strikes) == strikes == len(story.deaths)
    yield Figure(
        promise=3,
        what=f"{what}: deaths told once each, with pid and way",
        n=len(killer.strikes),
        seed=seed,
        worst=f"{len(story.deaths)} told, {len(story.unexplained)} wrong, "
        f"{story.zombies} zombies, {story.results:,} calls answered, "
        f"{story.failures:,} failed{problem}",
        target="each told once, 0 zombies, 0 hung",
        is_met=is_complete and not wrong and story.results > 0,
    )
    late = latencies.p99(story.told_after) if story.told_after else math.inf
    yield Figure(
        promise=3,
        what=f"{what}: from the strike to being told, p99",
        n=len(story.told_after),
        seed=seed,
        worst=latencies.in_ms(late),
        target=latencies.in_ms(TOLD_WITHIN_SECONDS),
        is_met=is_complete and late <= TOLD_WITHIN_SECONDS,
    )


async def _run(killer: Killer, strikes: int, story: Story) -> None:
    strategy = actorsys.OneForOne(max_restarts=strikes, within=math.inf)
    with trio.fail_after(60 + strikes * SECONDS_EACH):
        async with actorsys.open_nursery(strategy=strategy) as nursery:
            portals = [
                await nursery.start_actor(f"worker-{i}", modules=MODULES, restart="permanent")
                for i in range(WORKERS)
            ]
            async with trio.open_nursery() as load:
                for portal in portals:
                    for _ in range(CALLERS_EACH):
                        load.start_soon(_call_for_ever, portal, story)
                async with trio.open_nursery() as killers:
                    shares = [strikes // WORKERS + (i < strikes % WORKERS) for i in range(WORKERS)]
                    for portal, share in zip(portals, shares, strict=True):
                        killers.start_soon(_strike_again_and_again, killer, portal, share, story)
                load.cancel_scope.cancel()
            await nursery.cancel()
    story.zombies = sum(process.is_zombie for process in descendants())
    story.unexplained = killer.unexplained(story.deaths)


async def _strike_again_and_again(
    killer: Killer, portal: actorsys.Portal, times: int, story: Story
) -> None:
    """Strike one worker; the next time when its death was told and it is back."""
    async with actorsys.monitor(portal) as events:
        for _ in range(times):
            await portal.run(callees.echo, 1)
            strike: Strike = await killer.strike(portal)
            down = await events.receive()
            story.told_after.append(trio.current_time() - strike.time)
            assert isinstance(down.reason, actorsys.ActorDied)
            story.deaths.append(down.reason)
        with trio.move_on_after(0):
            extra = await events.receive()
            story.unexplained.append(f"told again: {extra}")


async def _call_for_ever(portal: actorsys.Portal, story: Story) -> None:
    while True:
        await trio.sleep(PAUSE_SECONDS)
        try:
            assert await portal.run(callees.echo, 42) == 42
            story.results += 1
        except actorsys.ActorUnavailable:
            story.failures += 1
