"""What tests of buffers share: workers, waiting for quiet, deaths that somebody is told of."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import buffer_functions as remote
import pytest
import trio
from shared_tree import find_shared
from tree_helpers import Ended, run_script

import actorsys
from actorsys import Buffer, Limits, Portal, open_buffer

MODULE = "buffer_functions"
LOST_WITHIN_SECONDS = 0.1
QUIET = {"own": 0, "borrowed": 0, "pending": 0, "accepted": 0}


@asynccontextmanager
async def open_workers(
    *names: str, limits: Limits | None = None
) -> AsyncIterator[tuple[Portal, ...]]:
    """Open a nursery with an actor for each name; stop them when the block ends.

    Where the tests of a file share a tree, the actors are those of that tree, and go on.
    """
    if limits is None and (shared := find_shared(names, [MODULE])):
        yield tuple(shared)
        return
    async with actorsys.open_nursery(limits=limits) as nursery:
        portals = [await nursery.start_actor(name, modules=[MODULE]) for name in names]
        yield tuple(portals)
        await nursery.cancel()


async def seen(portal: Portal | None = None) -> dict[str, int]:
    """Return the statistics of an actor, or of this one."""
    return await remote.look() if portal is None else await portal.run(remote.look)


async def wait_quiet(*portals: Portal, own: int = 0) -> None:
    """Wait until no buffer is used or lent, here and in *portals*; *own* ones are left here."""
    await wait_seen(None, own=own, borrowed=0, pending=0, accepted=0)
    for portal in portals:
        await wait_seen(portal, **QUIET)


async def wait_seen(portal: Portal | None = None, **wanted: int) -> dict[str, int]:
    """Wait until the statistics of an actor, or of this one, are so."""
    found: dict[str, int] = {}
    with trio.move_on_after(5):
        while not wanted.items() <= (found := await seen(portal)).items():
            await trio.sleep(0.01)
    assert wanted.items() <= found.items(), f"not {wanted} but {found}"
    return found


async def clear(*portals: Portal) -> None:
    """Have actors and this one keep no memory, as if they had just opened their links."""
    for portal in portals:
        await portal.run(remote.drop)
    for portal in portals:
        async with open_buffer(1, "f8") as ours:  # from now on each has the other's process open
            await portal.run(remote.total, ours)
        async with await portal.run(remote.make, 1, 0.0) as theirs:
            theirs.array()
    await wait_quiet(*portals)
    for portal in portals:
        await portal.run(remote.empty_pools)
    await remote.empty_pools()


async def kill(portal: Portal) -> None:
    """End the process of *portal* while somebody waits for it, who is told; return after that."""

    async def be_told() -> None:
        with pytest.raises(actorsys.ActorUnavailable):
            await portal.run(remote.hang)

    async with trio.open_nursery() as tasks:
        tasks.start_soon(be_told)
        await trio.sleep(0)
        assert portal.pid is not None
        with contextlib.suppress(ProcessLookupError):  # it may have been about to end by itself
            os.kill(portal.pid, signal.SIGKILL)


async def wait_process_gone(pidfd: int) -> None:
    """Wait until the process of *pidfd* has ended, and close that."""
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def wait_lost(buffer: Buffer) -> None:
    """Wait until *buffer* cannot be used any more, though not for longer than is promised."""
    with trio.fail_after(LOST_WITHIN_SECONDS):
        while True:
            try:
                buffer.array()
            except actorsys.BufferLost:
                return
            await trio.sleep(0.001)


def collect() -> None:
    """Have all garbage collected."""
    gc.collect()


def outcome(call: Any, *args: Any) -> Any:
    """Return what *call* returns, or the error that it raises, which holds on to nothing."""
    try:
        return call(*args)
    except Exception as error:
        return error.with_traceback(None)


_SCRIPT = """
import sys

sys.path.insert(0, {here!r})

import gc, os, resource
import numpy as np
import trio
import actorsys
import buffer_functions as remote
from actorsys import Limits, current_actor, open_buffer, resolve_buffer


async def settle():
    for _ in range(20):
        gc.collect()
        await trio.sleep(0.01)


async def in_tree(body, limits=None):
    async with actorsys.open_nursery(limits=limits) as nursery:
        portal = await nursery.start_actor("worker", modules=["buffer_functions"])
        await body(portal)
        await nursery.cancel()


{code}
"""


def run_tree(folder: Path, code: str, timeout: float = 20) -> Ended:
    """Run *code* as a script: what it does to its process is done to no other."""
    here = str(Path(__file__).parent)
    return run_script(
        folder, _SCRIPT.format(here=here, code=textwrap.dedent(code)), timeout=timeout
    )


def check_silent(ended: Ended) -> None:
    """Check that a script has ended well, and said nothing about it."""
    assert ended.status == 0, ended
    assert ended.stderr == ""
    assert ended.stdout.endswith("done\n"), ended
