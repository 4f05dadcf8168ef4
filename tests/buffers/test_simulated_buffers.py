"""Buffers between simulated processes: one seed is one run, and all of it comes back."""

from __future__ import annotations

import gc
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import trio

import actorsys
from actorsys import Buffer, Limits, current_actor, open_buffer
from actorsys.testing.simulation import Simulation

MODULES = [__name__]
kept: defaultdict[str, list[Any]] = defaultdict(list)


@pytest.fixture(autouse=True)
def nothing_kept() -> Any:
    """Let go of what actors have kept: their globals are those of this process."""
    kept.clear()
    yield
    kept.clear()


# --- what the actors run -----------------------------------------------------------------------


def _own() -> list[Any]:
    return kept[current_actor().uid[1]]


async def make(value: float) -> Buffer:
    async with open_buffer(100, "f8") as buffer:
        buffer.array()[:] = value
        again = actorsys.resolve_buffer(buffer.id)
        _own().append(again)
        return again


async def keep(buffer: Buffer) -> None:
    _own().append(buffer)


async def drop() -> None:
    _own().clear()


async def total(value: Any) -> float:
    return float((value.array() if isinstance(value, Buffer) else value).sum())


async def echo(value: Any) -> Any:
    return value


async def hold(value: Any) -> None:
    _own().append(value)
    try:
        await trio.sleep_forever()
    finally:
        _own().clear()


async def arrays(stop: int) -> AsyncIterator[Any]:
    for number in range(stop):
        yield np.full(50_000, number)


async def quiet() -> bool:
    found = current_actor().buffers.statistics()
    return not (found.own or found.borrowed or found.pending or found.accepted)


async def wait_quiet(*portals: actorsys.Portal) -> None:
    """Wait until no actor uses or lends anything."""
    with trio.fail_after(10):
        for portal in portals:
            while not await portal.run(quiet):
                await trio.sleep(0.01)
        while not await quiet():
            await trio.sleep(0.01)


# --- runs --------------------------------------------------------------------------------------


async def pass_around(chance: random.Random) -> list[float]:
    """Pass buffers around between three actors, at random; return what was read."""
    seen: list[float] = []
    async with actorsys.open_nursery() as nursery:
        portals = [await nursery.start_actor(name, modules=MODULES) for name in "ab"]
        own: list[tuple[Buffer, float]] = []
        for number in range(30):
            portal = chance.choice(portals)
            action = chance.choice(["make", "keep", "total", "echo", "drop", "cancel", "large"])
            if action == "make":
                own.append((await portal.run(make, float(number)), float(number)))
            elif action == "large":
                seen.append(await portal.run(total, np.full(50_000, number)))
            elif action == "drop":
                await portal.run(drop)
            elif own:
                buffer, value = chance.choice(own)
                if action == "keep":
                    await portal.run(keep, buffer)
                elif action == "total":
                    seen.append(await portal.run(total, buffer))
                    assert seen[-1] == 100 * value
                elif action == "echo":
                    again = await portal.run(echo, [buffer])
                    assert (again[0].array() == value).all()
                    del again
                else:
                    with trio.move_on_after(chance.random() * 0.01):
                        await portal.run(hold, buffer)
                del buffer
            if len(own) > 4:
                del own[chance.randrange(len(own))]
        own.clear()
        async with portals[0].open_stream_from(arrays, 10) as stream:
            async for item in stream:
                seen.append(float(item[0]))
        del item
        for portal in portals:
            await portal.run(drop)
        await wait_quiet(*portals)
        await nursery.cancel()
    return seen


@pytest.mark.parametrize("seed", range(5))
def test_one_seed_is_one_run(seed: int) -> None:
    runs = []
    for _ in range(2):
        simulation = Simulation(seed)
        seen = simulation.run(pass_around, simulation.chance)
        gc.collect()
        runs.append((seen, simulation.digest, [str(event) for event in simulation.trace]))
    assert runs[0] == runs[1]


def test_memory_is_shared_between_simulated_processes() -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("worker", modules=MODULES)
            async with open_buffer(100, "f8") as buffer:
                buffer.array()[:] = 1
                await portal.run(keep, buffer)
                assert await portal.run(echo, buffer) is buffer
                buffer.array()[:] = 2
                assert await portal.run(total, buffer) == 200
            assert not await quiet()
            await portal.run(drop)
            await wait_quiet(portal)
            await nursery.cancel()

    Simulation(1).run(main)


def test_a_buffer_is_lost_with_its_simulated_owner() -> None:
    simulation = Simulation(2)

    async def be_told(portal: actorsys.Portal) -> None:
        with pytest.raises(actorsys.ActorDied):
            await portal.run(hold, 1)

    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("worker", modules=MODULES)
            buffer = await portal.run(make, 5.0)
            view = buffer.array()
            async with trio.open_nursery() as tasks:
                tasks.start_soon(be_told, portal)
                await trio.sleep(0.1)
                simulation.kill(portal)
            with trio.fail_after(0.1), pytest.raises(actorsys.BufferLost):
                while buffer.array() is not None:
                    await trio.sleep(0.001)
            assert (view == 5).all()

    simulation.run(main)


def test_memory_comes_back_from_a_simulated_process_that_dies() -> None:
    simulation = Simulation(3, limits=Limits(max_buffer_bytes=4096))

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(BaseExceptionGroup):
                async with actorsys.open_nursery() as nursery:
                    portal = await nursery.start_actor("worker", modules=MODULES)
                    async with open_buffer(100, "f8") as buffer:
                        assert not buffer.array().any()
                        buffer.array()[:] = 1
                        await portal.run(keep, buffer)
                    simulation.kill(portal)
                    await trio.sleep_forever()
            kept.clear()
            gc.collect()
        with trio.fail_after(1):
            async with open_buffer(100, "f8") as buffer:
                assert not buffer.array().any()

    async def in_tree() -> None:
        async with actorsys.open_nursery():
            await main()

    simulation.run(in_tree)
