"""Promises 4 and 8: how long it takes to stop one actor, and to interrupt a whole tree."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import NamedTuple

import trio

import actorsys

from . import processes
from .figure import Figure
from .programs import members
from .programs.members import WAY_VARIABLE, Plan, make_plan, paths_of
from .trees import Tree, open_tree

BEYOND_GRACE_SECONDS = 0.5
MOST_GRACE_SECONDS = 1.0
GONE_WITHIN_SECONDS = 2.0
HURRY_SECONDS = 0.5
WATCHED_SECONDS = 10.0
BOTH = [signal.SIGINT, signal.SIGTERM]
BETWEEN_SECONDS = (0.02, 0.4)
ATTEMPTS = 5
DEPTH = 4
FANOUT = 2


class Case(NamedTuple):
    """What an actor does that is to be stopped, and who is frozen below it."""

    plan: Plan
    frozen: tuple[str, ...] = ()


def _alone(behaviour: str) -> Case:
    return Case(make_plan(0, 0, unruly={"r": behaviour}))


def _chain(behaviour: str) -> Case:
    return Case(make_plan(3, 1, unruly={"r000": behaviour}))


CASES: dict[str, Case] = {
    "idle": _alone("idle"),
    "ignores cancellation": _alone("ignore_cancel"),
    "ignores SIGTERM": _alone("ignore_sigterm"),
    "blocks its loop": _alone("block_the_loop"),
    "holds the interpreter lock": _alone("hold_the_gil"),
    "waits for a thread": _alone("block_a_thread"),
    "frozen": Case(make_plan(0, 0), frozen=("r",)),
    "chain, the end ignores SIGTERM": _chain("ignore_sigterm"),
    "chain, the end holds the interpreter lock": _chain("hold_the_gil"),
    "chain, the end frozen": Case(make_plan(3, 1), frozen=("r000",)),
    "chain, the middle frozen": Case(make_plan(3, 1), frozen=("r0",)),
    "four children ignore SIGTERM": Case(
        make_plan(1, 4, unruly={f"r{number}": "ignore_sigterm" for number in range(4)})
    ),
}

WAYS = ["cancel_actor", "nursery.cancel", "an error in the block"]


class Stopped(NamedTuple):
    """How far beyond its grace a stop has gone, and what was stopped in which way."""

    beyond_seconds: float
    case: str
    way: str


# --- promise 4 --------------------------------------------------------------------------------


def stop_actors(trials: int, seed: int) -> Iterator[Figure]:
    """Stop *trials* actors that do not make it easy, in all ways that there are."""
    chance = random.Random(seed)
    names = list(CASES)
    outcomes = []
    for trial in range(trials):
        name, way = names[trial % len(names)], chance.choice(WAYS)
        outcomes.append(trio.run(_stop_one, chance.random() * MOST_GRACE_SECONDS, name, way))
    worst = max(outcomes)
    yield Figure(
        promise=4,
        what=f"actors stopped, in {min(trials, len(names))} states",
        n=len(outcomes),
        seed=seed,
        worst=f"grace + {worst.beyond_seconds * 1000:.0f} ms ({worst.case}, by {worst.way})",
        target="grace + 500 ms",
        is_met=worst.beyond_seconds <= BEYOND_GRACE_SECONDS,
    )


async def _stop_one(grace: float, name: str, way: str) -> Stopped:
    """Stop one actor; return when it and all below it are gone."""
    case = CASES[name]
    limits = actorsys.Limits(stop_grace_seconds=max(grace, 0.001))
    began = 0.0
    with trio.fail_after(60):
        async with trio.open_nursery() as tasks:
            with suppress(_LeavingTheBlock):
                async with actorsys.open_nursery(limits=limits) as nursery:
                    portal = await nursery.start_actor("r", modules=[members.__name__])
                    pids = await tasks.start(_keep, portal, case.plan)
                    for path in case.frozen:
                        processes.freeze(pids[path])
                    began = trio.current_time()
                    await _stop(nursery, portal, way)
            await _wait_gone(list(pids.values()))
    return Stopped(trio.current_time() - began - grace, name, way)


class _LeavingTheBlock(Exception):
    """An error of the body."""


async def _keep(
    portal: actorsys.Portal, plan: Plan, task_status: trio.TaskStatus[dict[str, int]]
) -> None:
    """Let the actor grow its subtree and do as planned, until it is stopped."""
    with suppress(actorsys.ActorUnavailable, actorsys.ContextCancelled):
        async with portal.open_context(members.grow, plan, "r") as (_, pids):
            task_status.started(pids)
            await trio.sleep_forever()


async def _stop(nursery: actorsys.ActorNursery, portal: actorsys.Portal, way: str) -> None:
    if way == "cancel_actor":
        await portal.cancel_actor()
    elif way == "nursery.cancel":
        await nursery.cancel()
    else:
        raise _LeavingTheBlock


async def _wait_gone(pids: list[int]) -> None:
    while any(map(processes.is_living, pids)):
        await trio.sleep(0.002)


# --- promise 8 --------------------------------------------------------------------------------


class Interrupted(NamedTuple):
    """How long a tree lived after the last signal, and what the signals were."""

    seconds: float
    story: str


def interrupt_trees(trials: int, seed: int, depth: int = DEPTH) -> Iterator[Figure]:
    """Interrupt *trials* trees once or twice, with SIGINT or SIGTERM.

    trio raises KeyboardInterrupt in the main task; the root's nursery may be open there, or in a
    task beside it. Each of these, once and twice, gets a quarter of the trials.
    """
    chance = random.Random(seed)
    for number, (is_root_in_task, times) in enumerate(product([False, True], [1, 2])):
        planned = (trials + 3 - number) // 4
        if not planned:
            continue
        found = [_interrupt_one(chance, depth, is_root_in_task, times) for _ in range(planned)]
        outcomes = [outcome for outcome in found if outcome is not None]
        worst = max(outcomes, default=Interrupted(0.0, "no signal was sent"))
        target = GONE_WITHIN_SECONDS if times == 1 else HURRY_SECONDS
        where = "a task" if is_root_in_task else "the main task"
        yield Figure(
            promise=8,
            what=f"trees of {len(paths_of(depth, FANOUT))} actors interrupted "
            f"{'once' if times == 1 else 'twice'}, the root's nursery in {where}",
            n=len(outcomes),
            seed=seed,
            worst=f"gone after {worst.seconds * 1000:.0f} ms ({worst.story})",
            target=f"{target * 1000:.0f} ms",
            is_met=worst.seconds <= target and len(outcomes) == planned,
        )


def _interrupt_one(
    chance: random.Random, depth: int, is_root_in_task: bool, times: int
) -> Interrupted | None:
    """Interrupt a new tree, and again if *times* is 2; None if it never lived long enough."""
    for _ in range(ATTEMPTS):
        with _open_unruly_tree(chance, depth, is_root_in_task) as tree:
            # The root takes SIGTERM as any program does: it would not live for a second signal.
            story = [_interrupt(chance, tree, BOTH if times == 1 else [signal.SIGINT])]
            if times == 2:
                time.sleep(chance.uniform(*BETWEEN_SECONDS))
                if not processes.is_living(tree.root.pid):
                    continue
                story.append(_interrupt(chance, tree, BOTH))
            return Interrupted(tree.wait_gone("r", WATCHED_SECONDS), ", then ".join(story))
    return None


@contextmanager
def _open_unruly_tree(chance: random.Random, depth: int, is_root_in_task: bool) -> Iterator[Tree]:
    """Start a tree in which somebody is unruly in each way, and somebody imports for ever."""
    paths = paths_of(depth, FANOUT)
    late = chance.choice(paths)
    others = [path for path in paths[1:] if path != late]
    chance.shuffle(others)
    frozen, *unruly = others
    plan = make_plan(
        depth,
        FANOUT,
        traffic=chance.choice(list(members.TRAFFIC)),
        unruly=dict(zip(unruly, members.UNRULY, strict=False)),
        late=late,
        is_root_in_task=is_root_in_task,
    )
    with open_tree(plan, **{WAY_VARIABLE: chance.choice(["sleep", "hold the lock"])}) as tree:
        tree.wait_ready()
        os.kill(tree.pids[late], signal.SIGUSR1)
        tree.wait_until(lambda: "importing" in tree.said)
        processes.freeze(tree.pids[frozen])
        yield tree


def _interrupt(chance: random.Random, tree: Tree, signals: list[signal.Signals]) -> str:
    """Send one of *signals* to the root, or to all as a terminal does; return what was done."""
    number = chance.choice(signals)
    if chance.random() < 0.5:
        os.kill(tree.root.pid, number)
        return f"{number.name} to the root"
    os.killpg(tree.root.pid, number)
    return f"{number.name} to all"
