"""One root in one process: a second one beside it is refused, one inside it or after it is not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import actorsys
from actorsys.testing.simulation import Simulation


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is started."""


async def open_and_close() -> actorsys.Actor:
    async with actorsys.open_nursery():
        return actorsys.current_actor()


async def open_in_child() -> tuple[Any, Any]:
    """Return who this actor is, outside of a nursery of its own and inside."""
    outside = actorsys.current_actor().uid
    return outside, (await open_and_close()).uid


def refused() -> Any:
    return pytest.raises(RuntimeError, match=r"root.*already.*inside the block")


# --- beside it ----------------------------------------------------------------------------


async def test_a_second_root_in_another_task_is_refused() -> None:
    opened = trio.Event()
    done = trio.Event()

    async def hold() -> None:
        async with actorsys.open_nursery(name="first"):
            opened.set()
            await done.wait()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(hold)
        await opened.wait()
        with refused() as caught:
            await open_and_close()
        assert "'first'" in str(caught.value)
        with pytest.raises(actorsys.NoRuntime):
            actorsys.current_actor()
        done.set()
    await open_and_close()


async def test_a_task_of_an_outer_nursery_is_no_part_of_the_root() -> None:
    async def try_it() -> None:
        with refused():
            await open_and_close()

    async with trio.open_nursery() as tasks, actorsys.open_nursery():
        async with trio.open_nursery() as inner:
            tasks.start_soon(try_it)
            inner.start_soon(open_and_close)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("opening", [trio.run, actorsys.run])
async def test_a_second_root_in_a_thread_is_refused(opening: Any) -> None:
    async with actorsys.open_nursery():
        with refused():
            await trio.to_thread.run_sync(opening, open_and_close)
        assert await open_and_close() is actorsys.current_actor()


async def test_a_simulation_beside_a_root_is_refused() -> None:
    async with actorsys.open_nursery():
        with refused():
            await trio.to_thread.run_sync(Simulation(1).run, open_and_close)


async def test_a_root_that_was_refused_leaves_the_first_one_as_it_was() -> None:
    async with actorsys.open_nursery() as nursery:
        before = actorsys.current_actor()
        with refused():
            await trio.to_thread.run_sync(trio.run, open_and_close)
        with refused():
            await trio.to_thread.run_sync(trio.run, open_and_close)
        assert actorsys.current_actor() is before
        assert nursery.children == {}


# --- inside it ----------------------------------------------------------------------------


async def test_a_nursery_inside_the_root_belongs_to_it() -> None:
    async with actorsys.open_nursery(name="outer"):
        root = actorsys.current_actor()
        async with actorsys.open_nursery():
            assert await open_and_close() is root
        async with trio.open_nursery() as tasks:
            tasks.start_soon(open_and_close)
        assert actorsys.current_actor() is root


def test_an_actor_is_not_the_root_and_may_open_nurseries() -> None:
    async def main() -> None:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor("child", modules=[__name__])
            assert await portal.run(open_in_child) == (portal.uid, portal.uid)
            await portal.cancel_actor()

    Simulation(1).run(main)


# --- after it -----------------------------------------------------------------------------


async def test_a_root_may_follow_one_that_has_ended() -> None:
    uids = {(await open_and_close()).uid for _ in range(3)}
    assert len(uids) == 3


async def test_a_root_may_follow_one_that_has_failed() -> None:
    for _ in range(2):
        with pytest.raises(KeyError):
            async with actorsys.open_nursery():
                raise KeyError("of the body")
        with trio.CancelScope() as scope:
            async with actorsys.open_nursery():
                scope.cancel()
                await trio.sleep_forever()
    await open_and_close()


async def test_a_root_may_follow_one_that_was_refused_for_its_options() -> None:
    with pytest.raises(ValueError, match="name"):
        async with actorsys.open_nursery(name=""):
            pytest.fail("it was opened")
    await open_and_close()


async def test_a_root_may_live_in_a_thread_and_another_follow() -> None:
    for _ in range(2):
        root = await trio.to_thread.run_sync(trio.run, open_and_close)
        assert root.parent_uid is None
    await open_and_close()


def test_runs_may_follow_each_other() -> None:
    for number in range(2):
        assert actorsys.run(open_and_close, name=f"root-{number}").name == f"root-{number}"
        Simulation(number).run(open_and_close)
    trio.run(open_and_close)
