"""Promise 27: the same seed makes the same run, of a whole tree with restarts and kills."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import trio

import actorsys
from actorsys.testing.simulation import Simulation

from .figure import Figure
from .programs import callees

WORKERS = 4
CALLS_EACH = 20
KILLS = 6
RUNS_EACH = 2


def run_again(seeds: int, seed: int) -> Iterator[Figure]:
    """Run *seeds* simulations, each several times, and compare what happened in them."""
    chance = random.Random(seed)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        runs = [_digests(chance.getrandbits(32)) for _ in range(seeds)]
    finally:
        logging.disable(before)
    same = sum(len(digests) == 1 for digests in runs)
    distinct = len(set().union(*runs))
    yield Figure(
        promise=27,
        what=f"simulations of {WORKERS} restarting workers with {KILLS} kills, run twice each",
        n=seeds,
        seed=seed,
        worst=f"{same} of {seeds} the same again; {distinct} different runs",
        target=f"{seeds} of {seeds}",
        is_met=same == seeds and distinct == seeds,
    )


def _digests(seed: int) -> set[str]:
    found = set()
    for _ in range(RUNS_EACH):
        simulation = Simulation(seed)
        simulation.run(_tree, simulation)
        found.add(simulation.digest)
    return found


async def _tree(simulation: Simulation) -> None:
    """Call restarting workers while they are killed at random."""
    strategy = actorsys.OneForOne(max_restarts=KILLS, within=1e9)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portals = [
            await nursery.start_actor(f"w{i}", modules=[callees.__name__], restart="permanent")
            for i in range(WORKERS)
        ]
        async with trio.open_nursery() as tasks:
            for portal in portals:
                tasks.start_soon(_call, simulation, portal)
            for _ in range(KILLS):
                await trio.sleep(simulation.chance.random())
                portal = simulation.chance.choice(portals)
                if portal.is_alive:
                    simulation.kill(portal)
        await nursery.cancel()


async def _call(simulation: Simulation, portal: actorsys.Portal) -> None:
    for number in range(CALLS_EACH):
        await trio.sleep(simulation.chance.random() / 4)
        try:
            assert await portal.run(callees.echo, number) == number
        except actorsys.ActorUnavailable:
            continue
