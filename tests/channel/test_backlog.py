"""A backlog: in order, without waiting, whatever the stream takes at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from channel_helpers import open_pair, start
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Flow
from actorsys.channel.backlog import Backlog
from actorsys.limits import KIB, Limits

NARROW = Limits(stream_window_bytes=2 * KIB)
ITEMS = [f"{number} " + "x" * 500 for number in range(40)]


@asynccontextmanager
async def open_backlog(func: str) -> AsyncIterator[tuple[Backlog, Flow]]:
    """Yield a backlog on a stream with room for some four of `ITEMS`, and the stream."""
    async with open_pair(NARROW) as (alice, _), trio.open_nursery() as tasks:
        call = await start(alice, func, kind="context")
        await call.wait_started()
        assert call.flow is not None
        backlog = Backlog(call.flow)
        tasks.start_soon(backlog.run)
        await wait_all_tasks_blocked()
        yield backlog, call.flow
        tasks.cancel_scope.cancel()


def put_all(backlog: Backlog, flow: Flow) -> None:
    for item in ITEMS:
        backlog.put(flow.encode(item))


async def test_what_the_stream_does_not_take_at_once_follows_in_order() -> None:
    async with open_backlog("parrot") as (backlog, flow):
        put_all(backlog, flow)
        assert backlog.is_behind
        assert [await flow.receive() for _ in ITEMS] == ITEMS
        await backlog.wait_written()
        assert not backlog.is_behind


async def test_it_never_waits_where_nobody_reads() -> None:
    async with open_backlog("deaf") as (backlog, flow):
        put_all(backlog, flow)
        with trio.move_on_after(0.01) as patience:
            await backlog.wait_taken()
        assert patience.cancelled_caught
        assert "frames kept" in repr(backlog)


async def test_nothing_is_waited_for_when_the_stream_is_over() -> None:
    async with open_backlog("deaf") as (backlog, flow), trio.open_nursery() as tasks:
        put_all(backlog, flow)
        tasks.start_soon(backlog.wait_taken)
        await wait_all_tasks_blocked()
        flow.stop()
        await wait_all_tasks_blocked()
        assert not tasks.child_tasks
        backlog.put([b"goes nowhere"])
        await backlog.wait_taken()


class PutsBetweenPasses(trio.abc.Instrument):
    """Puts all items when a tick of the scheduler ends, once."""

    def __init__(self, backlog: Backlog, flow: Flow) -> None:
        self._args: tuple[Backlog, Flow] | None = (backlog, flow)

    def before_io_wait(self, timeout: float) -> None:
        if self._args is not None:
            args, self._args = self._args, None
            put_all(*args)


async def test_what_is_put_between_two_passes_arrives_as_well() -> None:
    async with open_backlog("parrot") as (backlog, flow):
        instrument = PutsBetweenPasses(backlog, flow)
        trio.lowlevel.add_instrument(instrument)
        with trio.fail_after(5):
            assert [await flow.receive() for _ in ITEMS] == ITEMS
        trio.lowlevel.remove_instrument(instrument)
