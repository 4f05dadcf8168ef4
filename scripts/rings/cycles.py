"""Promise 5: actors that come and go, or do not come at all, leave nothing behind."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Awaitable, Callable, Iterator

import trio

import actorsys
from actorsys.testing import Resources, leaked

from .figure import Figure
from .programs import callees

AT_A_TIME = 2
WARM_UP_CYCLES = 12
SETTLES_WITHIN_SECONDS = 5.0
CYCLE_WITHIN_SECONDS = 30.0
FAILING_MODULE = f"{__package__}.programs.failing"
FAILURE_VARIABLE = "ACTORSYS_RING_FAILURE"
FAILURES = ["raise", "exit", "kill"]
START_SECONDS = 0.3
"""A start that is to be cancelled is so before this; by then most are over."""

Cycle = Callable[[actorsys.ActorNursery, random.Random], Awaitable[None]]


def come_and_go(cycles: int, seed: int, seconds: float = 0.0) -> Iterator[Figure]:
    """Let *cycles* actors come and go and as many fail to start; go on for *seconds* at least."""
    for what, cycle in (("spawned, called and ended", _live), ("that fail to start", _fail)):
        done, left = trio.run(_repeat, cycle, cycles, seconds / 2, random.Random(seed))
        yield Figure(
            promise=5,
            what=f"actors {what}",
            n=done,
            seed=seed,
            worst="; ".join(left[:3]) or "nothing is left",
            target="no descriptor, socket, thread, process or shared memory is left",
            is_met=done >= cycles and not left,
        )


async def _repeat(
    cycle: Cycle, cycles: int, seconds: float, chance: random.Random
) -> tuple[int, list[str]]:
    """Repeat *cycle* under one root; return how often, and what is left since the warm-up."""
    async with actorsys.open_nursery(transport=chance.choice(["tcp", "unix"])) as nursery:

        async def run_one() -> None:
            with trio.fail_after(CYCLE_WITHIN_SECONDS):
                await cycle(nursery, chance)

        async def run_some() -> None:
            async with trio.open_nursery() as tasks:
                for _ in range(AT_A_TIME):
                    tasks.start_soon(run_one)

        for _ in range(0, WARM_UP_CYCLES, AT_A_TIME):
            await run_some()
        before = Resources.now()
        end = trio.current_time() + seconds
        done = 0
        while done < cycles or trio.current_time() < end:
            await run_some()
            done += AT_A_TIME
        return done, await _find_left(before)


async def _find_left(before: Resources) -> list[str]:
    """Return in words what is left, after some time to be given back."""
    with trio.move_on_after(SETTLES_WITHIN_SECONDS):
        while leaked(before, Resources.now()):
            gc.collect()
            await trio.sleep(0.1)
    return leaked(before, Resources.now())


# --- one cycle --------------------------------------------------------------------------------


async def _live(nursery: actorsys.ActorNursery, chance: random.Random) -> None:
    await chance.choice([_serve_and_stop, _run_once, _stream_and_stop, _die_in_a_call])(nursery)


async def _serve_and_stop(nursery: actorsys.ActorNursery) -> None:
    portal = await nursery.start_actor("serving", modules=[callees.__name__])
    assert await portal.run(callees.echo, 7) == 7
    await portal.cancel_actor()


async def _run_once(nursery: actorsys.ActorNursery) -> None:
    portal = await nursery.run_in_actor(callees.echo, 7)
    assert await portal.result() == 7


async def _stream_and_stop(nursery: actorsys.ActorNursery) -> None:
    portal = await nursery.start_actor("streaming", modules=[callees.__name__])
    async with portal.open_stream_from(callees.count) as stream:
        assert await stream.receive() == 0
    await portal.cancel_actor()


async def _die_in_a_call(nursery: actorsys.ActorNursery) -> None:
    portal = await nursery.start_actor("dying", modules=[callees.__name__])
    with contextlib.suppress(actorsys.ActorDied):
        await portal.run(callees.exit_at_once)
        raise AssertionError("the actor has survived its own end")


async def _fail(nursery: actorsys.ActorNursery, chance: random.Random) -> None:
    way = chance.choice([*FAILURES, "no such module", "cancelled"])
    if way == "cancelled":
        with trio.move_on_after(chance.random() * START_SECONDS):
            portal = await nursery.start_actor("cancelled", modules=[callees.__name__])
            await portal.cancel_actor()
        return
    module = FAILING_MODULE if way in FAILURES else "no_such_module"
    with contextlib.suppress(actorsys.SpawnError):
        await nursery.start_actor("failing", modules=[module], env={FAILURE_VARIABLE: way})
        raise AssertionError(f"an actor has started all the same: {way}")
