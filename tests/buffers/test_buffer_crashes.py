"""Whoever dies when: memory comes back, and nobody sees bytes that were not meant for him."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import buffer_functions as remote
import numpy as np
import pytest
import trio
import trio.testing
from buffer_helpers import (
    LOST_WITHIN_SECONDS,
    MODULE,
    kill,
    open_workers,
    seen,
    wait_lost,
    wait_process_gone,
    wait_quiet,
    wait_seen,
)
from tree_helpers import freeze, noting

import actorsys
from actorsys import Limits, open_buffer
from actorsys.limits import MIB

pytestmark = pytest.mark.timeout(60)

COUNT = 100_000
STEPS = ["on the way", "decoded", "mapped", "written", "released", "let go", "answered"]
ONE_BUFFER = Limits(max_buffer_bytes=1 * MIB)
"""Room for one buffer of `COUNT` numbers, and not for two."""


@asynccontextmanager
async def open_mortal(nursery: actorsys.ActorNursery) -> AsyncIterator[actorsys.Portal]:
    """Start an actor that has to die within the block."""
    portal = await nursery.start_actor("mortal", modules=[MODULE])
    yield portal
    assert not portal.is_alive


# --- importers ---------------------------------------------------------------------------------


async def die_at(portal: actorsys.Portal, step: str, buffer: actorsys.Buffer) -> None:
    """Have the importer of *buffer* killed at *step*."""
    if step == "on the way":
        assert portal.pid is not None
        freeze(portal.pid)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_expect_death, portal, "decoded", buffer)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(portal.pid, signal.SIGKILL)
    elif step == "answered":
        answer = await portal.run(remote.die, step, buffer)
        assert answer is buffer
        await kill(portal)
    else:
        await _expect_death(portal, step, buffer)


async def _expect_death(portal: actorsys.Portal, step: str, buffer: actorsys.Buffer) -> None:
    with pytest.raises(actorsys.ActorDied):
        await portal.run(remote.die, step, buffer)


async def test_memory_comes_back_from_an_importer_that_dies() -> None:
    async with actorsys.open_nursery(limits=ONE_BUFFER) as nursery:
        for number, step in enumerate(STEPS, 1):
            async with open_mortal(nursery) as portal:
                with noting(step), trio.fail_after(5):
                    async with open_buffer(COUNT, "f8") as buffer:
                        array = buffer.array()
                        # What was another buffer before is zeros now.
                        assert not array.any()
                        array[:] = number
                        await die_at(portal, step, buffer)
                        assert set(np.unique(array)) <= {-1.0, number}
                        found = await wait_seen(own=1, pending=0, accepted=0)
                        assert found["fds"] == 1
                        array = None
                    await wait_comes_back()


async def wait_comes_back() -> None:
    """Wait until the only buffer for which there is room can be opened again."""
    async with open_buffer(COUNT, "f8") as buffer:
        assert not buffer.array().any()
    await wait_quiet()
    found = await seen()
    assert found["bytes"] <= ONE_BUFFER.max_buffer_bytes
    assert found["fds"] <= 1


async def test_who_waits_for_memory_gets_that_of_an_importer_that_died() -> None:
    async with actorsys.open_nursery(limits=ONE_BUFFER) as nursery:
        async with open_mortal(nursery) as portal:
            async with open_buffer(COUNT, "f8") as buffer:
                await portal.run(remote.keep, buffer)
                await wait_seen(accepted=1)

            async def wait_for_room() -> None:
                with trio.fail_after(5):
                    async with open_buffer(COUNT, "f8") as second:
                        assert not second.array().any()

            async with trio.open_nursery() as tasks:
                tasks.start_soon(wait_for_room)
                await trio.testing.wait_all_tasks_blocked()
                await kill(portal)


async def test_an_importer_by_name_that_dies_holds_no_memory_up() -> None:
    async with actorsys.open_nursery(limits=ONE_BUFFER) as nursery:
        for _ in range(2):
            async with open_mortal(nursery) as portal:
                with trio.fail_after(5):
                    async with open_buffer(COUNT, "f8") as buffer:
                        assert not buffer.array().any()
                        buffer.array()[:] = 1
                        await portal.run(remote.resolve_and_keep, buffer.id)
                await kill(portal)
        await wait_quiet()
        assert (await seen())["bytes"] <= ONE_BUFFER.max_buffer_bytes


# --- owners ------------------------------------------------------------------------------------


MAKERS = ["make", "make_kept", "make_frozen", "make_with_block"]


@pytest.mark.parametrize("is_mapped", [True, False])
async def test_a_buffer_is_lost_with_its_owner_and_views_of_it_are_not(is_mapped: bool) -> None:
    async with actorsys.open_nursery() as nursery:
        async with open_mortal(nursery) as portal:
            buffers = [await portal.run(getattr(remote, name), COUNT, 7.0) for name in MAKERS]
            views = [buffer.array()[::3] for buffer in buffers] if is_mapped else []
            assert portal.pid is not None
            pidfd = os.pidfd_open(portal.pid)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(kill, portal)
                await wait_process_gone(pidfd)
                for buffer in buffers:
                    await wait_lost(buffer)
            for name, buffer in zip(MAKERS, buffers, strict=True):
                with noting(name):
                    check_lost(buffer)
            check_whole(views)
            views.clear()
            for buffer in buffers:
                await buffer.release()
            await wait_quiet()
            found = await seen()
            assert (found["fds"], found["maps"]) == (0, 0)


def check_lost(buffer: actorsys.Buffer) -> None:
    """Check that each use of *buffer* says that its owner has ended."""
    with pytest.raises(actorsys.BufferLost, match="has ended"):
        buffer.memoryview()
    with pytest.raises(actorsys.BufferLost):
        np.asarray(buffer)
    assert "lost" in repr(buffer)


def check_whole(views: list[Any]) -> None:
    """Check that *views* still show sevens, and that all but frozen ones can be written to."""
    for view in views:
        assert (view == 7).all()
        if view.flags.writeable:
            view[:] = 8
            assert view.sum() == 8 * len(view)
    assert [view.flags.writeable for view in views] in ([], [True, True, False, True])


async def test_a_lost_buffer_is_lost_under_its_name_as_well() -> None:
    async with actorsys.open_nursery() as nursery:
        async with open_mortal(nursery) as portal:
            async with await portal.run(remote.make_kept, 10, 7.0) as buffer:
                await kill(portal)
                await wait_lost(buffer)
                with pytest.raises(actorsys.BufferLost):
                    await actorsys.resolve_buffer(buffer.id).release()


async def test_arrays_outlive_the_process_that_made_them() -> None:
    async with actorsys.open_nursery() as nursery:
        async with open_mortal(nursery) as portal:
            array = await portal.run(remote.ones, COUNT)
            await kill(portal)
        assert array.sum() == COUNT
        array += 1
        assert array.sum() == 2 * COUNT
        del array
        await wait_quiet()
        found = await seen()
        assert (found["fds"], found["maps"]) == (0, 0)


async def test_a_lost_buffer_cannot_be_handed_on() -> None:
    async with open_workers("other") as (other,):
        async with actorsys.open_nursery() as nursery:
            async with open_mortal(nursery) as portal:
                buffer = await portal.run(remote.make_kept, COUNT, 1.0)
                await kill(portal)
                await wait_lost(buffer)
            with pytest.raises(actorsys.BufferLost):
                await other.run(remote.total, buffer)
        assert await other.run(remote.echo, 1) == 1
        await buffer.release()
        await wait_quiet(other)


# --- three processes ---------------------------------------------------------------------------


async def test_who_was_handed_a_buffer_on_is_told_of_the_end_of_its_owner() -> None:
    async with open_workers("other") as (other,):
        async with actorsys.open_nursery() as nursery:
            async with open_mortal(nursery) as owner:
                buffer = await owner.run(remote.make_kept, COUNT, 3.0)
                await other.run(remote.keep, buffer)
                await other.run(remote.kept_totals)
                await buffer.release()
                assert owner.pid is not None
                pidfd = os.pidfd_open(owner.pid)
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(kill, owner)
                    await wait_process_gone(pidfd)
                    with trio.fail_after(LOST_WITHIN_SECONDS):
                        assert await other.run(remote.wait_kept_fault) == "BufferLost"
        await other.run(remote.drop)
        await wait_quiet(other)
        assert (await seen(other))["fds"] == 0


class Relayed:
    """A conversation with the actor of an actor, in a task of its own, to the death of that."""

    def __init__(self, middle: actorsys.Portal) -> None:
        self.middle = middle
        self.pid = 0
        self._questions, self._asked = trio.open_memory_channel[Any](1)
        self._told, self._answers = trio.open_memory_channel[Any](1)

    async def ask(self, name: str, *args: Any) -> Any:
        """Call a function there."""
        await self._questions.send((name, args))
        return await self._answers.receive()

    async def run(self, task_status: Any) -> None:
        """Hand on questions and answers."""
        with pytest.raises(actorsys.ActorDied):
            async with self.middle.open_context(remote.relay) as (ctx, self.pid):
                async with ctx.open_stream() as stream:
                    task_status.started()
                    while True:
                        await stream.send(await self._asked.receive())
                        await self._told.send(await stream.receive())

    def kill_middle(self) -> None:
        """Kill the one in the middle."""
        assert self.middle.pid is not None
        os.kill(self.middle.pid, signal.SIGKILL)


@asynccontextmanager
async def open_relayed(nursery: actorsys.ActorNursery) -> AsyncIterator[Relayed]:
    """Open an actor with an actor of its own; the first one has to die."""
    async with open_mortal(nursery) as middle:
        relayed = Relayed(middle)
        async with trio.open_nursery() as tasks:
            await tasks.start(relayed.run)
            yield relayed


async def test_memory_comes_back_when_the_middle_one_of_three_dies() -> None:
    async with actorsys.open_nursery(limits=ONE_BUFFER) as nursery:
        async with open_relayed(nursery) as relayed:
            async with open_buffer(COUNT, "f8") as buffer:
                array = buffer.array()
                array[:] = 1
                await relayed.ask("keep", buffer)
                assert await relayed.ask("kept_totals") == [COUNT]
                array = None
            pidfd = os.pidfd_open(relayed.pid)
            relayed.kill_middle()
            await wait_process_gone(pidfd)
        with trio.fail_after(5):
            async with open_buffer(COUNT, "f8") as buffer:
                assert not buffer.array().any()
        await wait_quiet()


async def test_a_buffer_through_a_middle_one_is_lost_with_its_owner_only() -> None:
    async with actorsys.open_nursery() as nursery:
        async with open_relayed(nursery) as relayed:
            buffer = await relayed.ask("make_kept", COUNT, 5.0)
            view = buffer.array()
            await relayed.ask("look")
            pidfd = os.pidfd_open(relayed.pid)
            relayed.kill_middle()
            await wait_process_gone(pidfd)
            await wait_lost(buffer)
            assert (view == 5).all()
        del view
        await buffer.release()
        await wait_quiet()
        assert (await seen())["maps"] == 0


# --- in any order ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_nobody_ever_sees_the_bytes_of_another_buffer(seed: int) -> None:
    """One of two workers is killed now and then, at any time, while memory is used again."""
    chance = random.Random(seed)
    print("seed", seed)
    limits = Limits(max_buffer_bytes=2 * MIB)
    values = iter(range(1, 1_000_000))

    async def feed(portal: actorsys.Portal, rounds: float) -> None:
        async with portal.open_context(remote.work) as (ctx, _), ctx.open_stream() as stream:
            while rounds > 0:
                rounds -= 1
                value = next(values)
                count = chance.choice([10, 1_000, 30_000])
                async with open_buffer(count, "f8") as buffer:
                    array = buffer.array()
                    assert not array.any()
                    array[:] = value
                    del array
                    await stream.send((buffer, value, chance.random() < 0.5))
                    if chance.random() < 0.5:
                        assert await stream.receive() == 0
                        continue
                assert await stream.receive() == 0

    async def feed_to_death(portal: actorsys.Portal) -> None:
        with pytest.raises(actorsys.ActorDied):
            await feed(portal, float("inf"))

    with trio.fail_after(50):
        async with open_workers("survivor", limits=limits) as (survivor,):
            async with actorsys.open_nursery() as nursery:
                for _ in range(6):
                    async with open_mortal(nursery) as mortal:
                        async with trio.open_nursery() as tasks:
                            tasks.start_soon(feed, survivor, 20)
                            tasks.start_soon(feed_to_death, mortal)
                            await trio.sleep(chance.random() * 0.1)
                            assert mortal.pid is not None
                            os.kill(mortal.pid, signal.SIGKILL)
            await wait_quiet(survivor)
            found = await seen()
            assert found["bytes"] <= limits.max_buffer_bytes
            assert (await seen(survivor))["fds"] == 0


async def test_owners_that_die_at_any_time_leave_nothing_behind() -> None:
    seed = 3
    chance = random.Random(seed)
    print("seed", seed)
    async with actorsys.open_nursery() as nursery:
        for _ in range(6):
            async with open_mortal(nursery) as portal:

                async def read(portal: actorsys.Portal = portal) -> None:
                    # What was on the way cannot be opened any more.
                    with pytest.raises((actorsys.ActorDied, actorsys.EncodeError)):
                        async with portal.open_stream_from(remote.count_buffers, 10**6, 1000) as s:
                            async for number, buffer in _numbered(s):
                                try:
                                    assert (buffer.array() == number).all()
                                except actorsys.BufferLost:
                                    continue

                async with trio.open_nursery() as tasks:
                    tasks.start_soon(read)
                    await trio.sleep(chance.random() * 0.1)
                    await kill(portal)
        await wait_quiet()
        found = await seen()
        assert (found["fds"], found["maps"]) == (0, 0)


async def _numbered(stream: Any) -> AsyncIterator[tuple[int, Any]]:
    number = 0
    async for item in stream:
        yield number, item
        number += 1
