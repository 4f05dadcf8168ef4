"""The members of a tree of actors: each keeps its subtree, and is as unruly as the plan says.

A member is named by its path: the root is ``r``, its children are ``r0``, ``r1``, and so on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio

import actorsys

LATECOMER = "scripts.rings.programs.latecomer"
WAY_VARIABLE = "ACTORSYS_RING_IMPORT"
"""In the environment: what the latecomer's import does, "sleep", "hold the lock" or nothing."""

STUCK_SECONDS = 60
PACE_SECONDS = 0.005

Plan = dict[str, Any]
"""``depth`` below the root, ``fanout``, ``traffic`` on each link, ``unruly`` members by path, who
has a child more that is ``late``; whether members say on stdout that they are up (``is_loud``), and
whether the root's nursery is opened in a task beside the main one (``is_root_in_task``)."""


def make_plan(depth: int, fanout: int, **changes: Any) -> Plan:
    """Return a plan of a quiet tree, with *changes*."""
    quiet: Plan = {"traffic": "none", "unruly": {}, "late": None}
    details: Plan = {"is_loud": False, "is_root_in_task": False}
    return {"depth": depth, "fanout": fanout, **quiet, **details, **changes}


def paths_of(depth: int, fanout: int) -> list[str]:
    """Return the paths of all members of a tree, the root first."""
    level = paths = ["r"]
    for _ in range(depth):
        level = [f"{path}{number}" for path in level for number in range(fanout)]
        paths = paths + level
    return paths


def say(*words: object) -> None:
    """Write a line to stdout, which all processes of a tree share, in one piece."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def sit_in_c() -> None:
    """Sit in C without giving the interpreter lock back, whatever signals come."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(STUCK_SECONDS)


# --- what a member does when its subtree is up ------------------------------------------------


async def idle() -> None:
    await trio.sleep_forever()


async def ignore_cancel() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await ignore_cancel()


async def block_the_loop() -> None:
    time.sleep(STUCK_SECONDS)


async def hold_the_gil() -> None:
    sit_in_c()


async def block_a_thread() -> None:
    await trio.to_thread.run_sync(time.sleep, STUCK_SECONDS, abandon_on_cancel=False)


UNRULY: dict[str, Callable[[], Awaitable[None]]] = {
    function.__name__: function
    for function in (
        idle,
        ignore_cancel,
        ignore_sigterm,
        block_the_loop,
        hold_the_gil,
        block_a_thread,
    )
}


# --- what goes over each link -----------------------------------------------------------------


async def answer() -> None:
    await trio.sleep(PACE_SECONDS)


async def count() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1
        await trio.sleep(PACE_SECONDS)


async def send_nothing(portal: actorsys.Portal) -> None:
    await trio.sleep_forever()


async def make_calls(portal: actorsys.Portal) -> None:
    while True:
        await portal.run(answer)


async def read_stream(portal: actorsys.Portal) -> None:
    async with portal.open_stream_from(count) as stream:
        async for _ in stream:
            pass


TRAFFIC = {"none": send_nothing, "calls": make_calls, "stream": read_stream}


# --- the tree ---------------------------------------------------------------------------------


@actorsys.context
async def grow(ctx: actorsys.Context, plan: Plan, path: str) -> None:
    """Be the member *path*; the handshake value holds the pids of its subtree by path."""
    await keep_subtree(plan, path, ctx.started)


async def keep_subtree(
    plan: Plan, path: str, on_ready: Callable[[dict[str, int]], Awaitable[None]]
) -> None:
    """Start what is below *path*, report all pids, then do as planned until cancelled."""
    if plan["is_loud"]:
        say("up", path, os.getpid())
    pids = {path: os.getpid()}
    async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
        async with trio.open_nursery() as starts:
            for number in range(plan["fanout"] if len(path) <= plan["depth"] else 0):
                starts.start_soon(_add_child, tasks, nursery, plan, f"{path}{number}", pids)
        if path == plan["late"]:
            await tasks.start(_start_latecomer, nursery, path)
        await on_ready(pids)
        await trio.lowlevel.checkpoint()  # what it sent leaves now; it may do nothing more
        await UNRULY[plan["unruly"].get(path, "idle")]()


async def _add_child(
    tasks: trio.Nursery,
    nursery: actorsys.ActorNursery,
    plan: Plan,
    path: str,
    pids: dict[str, int],
) -> None:
    pids.update(await tasks.start(_keep_child, nursery, plan, path))


async def _keep_child(
    nursery: actorsys.ActorNursery,
    plan: Plan,
    path: str,
    task_status: trio.TaskStatus[dict[str, int]],
) -> None:
    portal = await nursery.start_actor(path, modules=[__name__])
    async with portal.open_context(grow, plan, path) as (_, pids):
        task_status.started(pids)
        await TRAFFIC[plan["traffic"]](portal)


async def _start_latecomer(
    nursery: actorsys.ActorNursery, path: str, task_status: trio.TaskStatus[None]
) -> None:
    """Start one more child when SIGUSR1 comes."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        await anext(signals)
    await nursery.start_actor(f"{path}x", modules=[LATECOMER])
    say("late", f"{path}x")
