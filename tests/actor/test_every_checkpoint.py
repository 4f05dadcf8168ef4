"""Every public operation, cancelled at each of its steps: the link it used stays sound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import cancellation_functions as remote
import context_functions
import error_functions
import link_functions
import pytest
import stream_functions
import trio
from tree_helpers import leaves, open_worker

import actorsys
from actorsys.testing import Simulation, cancel_at_every_step

Operation = Callable[[actorsys.Portal], Awaitable[None]]
MODULES = [
    "cancellation_functions",
    "context_functions",
    "error_functions",
    "link_functions",
    "stream_functions",
]
LOOPBACK = "tcp:127.0.0.1:0"
KEY = b"k" * 32
STRIDE = 9
"""With a real process a run takes a quarter of a second, so there only each 9th step is tried."""


# --- over a link -----------------------------------------------------------------------------


async def call(portal: actorsys.Portal) -> None:
    assert await portal.run(remote.add, 2, 2) == 4


async def call_with_large_values(portal: actorsys.Portal) -> None:
    assert len(await portal.run(remote.add, b"a" * 3_000_000, b"b" * 3_000_000)) == 6_000_000


async def call_with_a_deadline(portal: actorsys.Portal) -> None:
    with trio.fail_after(60):
        assert await portal.run(remote.time_left) < 60.1


async def read_a_stream_and_leave_early(portal: actorsys.Portal) -> None:
    async with portal.open_stream_from(remote.numbers) as stream:
        for i in range(3):
            assert await stream.receive() == i


async def read_a_stream_to_its_end(portal: actorsys.Portal) -> None:
    async with portal.open_stream_from(stream_functions.count, 3) as stream:
        assert [item async for item in stream] == [0, 1, 2]


async def close_a_stream(portal: actorsys.Portal) -> None:
    async with portal.open_stream_from(remote.numbers) as stream:
        await stream.receive()
        await stream.aclose()


async def subscribe_to_a_stream(portal: actorsys.Portal) -> None:
    async with portal.open_stream_from(stream_functions.count, 3) as stream:
        async with stream.subscribe() as one, stream.subscribe() as other:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(read_to_the_end, one)
                tasks.start_soon(read_to_the_end, other)


async def read_to_the_end(items: actorsys.Subscription) -> None:
    assert [item async for item in items] == [0, 1, 2]


async def hold_a_context(portal: actorsys.Portal) -> None:
    async with portal.open_context(remote.echo_items) as (ctx, first):
        assert first == "first"
        async with ctx.open_stream() as stream:
            for item in ("a", b"b" * 1_000_000):
                await stream.send(item)
                assert await stream.receive() == item
        assert await ctx.result() == "done"


async def cancel_a_context(portal: actorsys.Portal) -> None:
    async with portal.open_context(remote.echo_items) as (ctx, _):
        async with ctx.open_stream() as stream:
            await stream.send("a")
            await ctx.cancel()


async def leave_a_context_that_sends(portal: actorsys.Portal) -> None:
    with pytest.raises(KeyError, match="of the body"):
        async with portal.open_context(remote.send_for_ever) as (ctx, _):
            async with ctx.open_stream() as stream:
                await stream.receive()
                raise KeyError("of the body")
    await trio.lowlevel.checkpoint_if_cancelled()


async def meet_an_error_of_a_call(portal: actorsys.Portal) -> None:
    with pytest.raises(ValueError, match="on its way"):
        await portal.run(error_functions.raise_value_error, "on its way")


async def meet_an_error_of_a_stream(portal: actorsys.Portal) -> None:
    with pytest.raises(ValueError, match="no more"):
        async with portal.open_stream_from(stream_functions.fail_after, 2) as stream:
            async for _ in stream:
                pass


async def meet_an_error_of_a_context(portal: actorsys.Portal) -> None:
    with pytest.raises(ValueError, match="far side failed"):
        async with portal.open_context(context_functions.fail_when_told) as (ctx, _):
            async with ctx.open_stream() as stream:
                await stream.send("fail")
                await ctx.result()


async def meet_an_error_before_the_start(portal: actorsys.Portal) -> None:
    with pytest.raises(ValueError, match="before started"):
        async with portal.open_context(context_functions.fail_before_start):
            pass


async def link_to_an_endpoint(portal: actorsys.Portal) -> None:
    modules = ["link_functions"]
    async with actorsys.open_endpoint(LOOPBACK, modules=modules, allow={"ann": KEY}) as door:
        async with actorsys.open_link(door.address, key=KEY, name="ann") as friend:
            assert await friend.run(link_functions.double, 21) == 42


OVER_A_LINK: list[Operation] = [
    call,
    call_with_large_values,
    call_with_a_deadline,
    read_a_stream_and_leave_early,
    read_a_stream_to_its_end,
    close_a_stream,
    subscribe_to_a_stream,
    hold_a_context,
    cancel_a_context,
    leave_a_context_that_sends,
    meet_an_error_of_a_call,
    meet_an_error_of_a_stream,
    meet_an_error_of_a_context,
    meet_an_error_before_the_start,
    link_to_an_endpoint,
]


@pytest.mark.slow
async def test_the_link_works_after_a_cancel_at_any_step_of_whatever_uses_it() -> None:
    async with open_worker(*MODULES) as portal:
        for operation in OVER_A_LINK:
            await cancel_everywhere(operation, portal)


async def cancel_everywhere(operation: Operation, portal: actorsys.Portal) -> None:
    async def run() -> None:
        with trio.fail_after(5):
            await operation(portal)

    async def check() -> None:
        await assert_sound(portal)

    try:
        assert await cancel_at_every_step(run, check) >= 1
    except Exception as error:
        error.add_note(f"the operation is {operation.__name__}")
        raise


async def assert_sound(portal: actorsys.Portal) -> None:
    """Check that the only link still answers, and that nothing runs on either side of it."""
    assert portal.is_alive
    with trio.fail_after(5):
        assert await portal.run(remote.add, 1, 1) == 2
        assert await portal.run(remote.calls_in_flight) == 0
    actor = actorsys.current_actor()
    (link,) = actor.statistics().links
    assert link.calls_in_flight == 0
    assert link.bytes_queued == 0
    assert actor.children_count == 1


# --- with processes --------------------------------------------------------------------------


async def start_and_stop_an_actor(_: actorsys.Portal) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("started", modules=MODULES)
        assert await portal.run(remote.add, 1, 1) == 2
        await portal.cancel_actor()


async def run_in_an_actor(_: actorsys.Portal) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(remote.add, 1, 1)
        assert await portal.result() == 2


async def meet_an_error_of_a_one_shot(_: actorsys.Portal) -> None:
    told: list[BaseException] = []
    try:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.run_in_actor(error_functions.raise_value_error, "on its way")
            await portal.result()
    except* ValueError as group:  # where nobody waited for it yet, it leaves through the nursery
        told = leaves(group)
    assert [str(error) for error in told] == ["on its way"]


async def cancel_a_nursery(_: actorsys.Portal) -> None:
    async with actorsys.open_nursery() as nursery:
        for name in ("one", "two"):
            await nursery.start_actor(name, modules=MODULES)
        await nursery.cancel()
        assert not nursery.children


async def monitor_an_actor(_: actorsys.Portal) -> None:
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("watched", modules=MODULES)
        async with actorsys.monitor(portal) as events:
            await portal.cancel_actor()
            assert [down.uid[0] async for down in events] == ["watched"]


WITH_PROCESSES: list[Operation] = [
    start_and_stop_an_actor,
    run_in_an_actor,
    meet_an_error_of_a_one_shot,
    cancel_a_nursery,
    monitor_an_actor,
]


@pytest.mark.parametrize("operation", WITH_PROCESSES)
def test_nothing_is_left_after_a_cancel_at_any_step(operation: Operation) -> None:
    async def main() -> None:
        async with open_worker(*MODULES) as portal:
            await cancel_everywhere(operation, portal)

    Simulation(seed=1).run(main)


@pytest.mark.slow
async def test_no_process_is_left_after_a_cancel_at_some_steps() -> None:
    async with open_worker(*MODULES) as portal:

        async def run() -> None:
            await start_and_stop_an_actor(portal)

        async def check() -> None:
            await assert_sound(portal)

        assert await cancel_at_every_step(run, check, steps=range(0, 500, STRIDE)) > 1
