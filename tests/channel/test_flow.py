"""Streams: order, credit, both ends' stops, and what overtakes a stuck one."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from channel_helpers import MAX_BYTES, ask, open_pair, open_raw, start
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Channel, Flow, OutgoingCall
from actorsys.errors import (
    ChannelBroken,
    ChannelClosed,
    EncodeError,
    LimitExceeded,
    RemoteActorError,
)
from actorsys.limits import KIB, Limits

NARROW = Limits(stream_window_bytes=10 * KIB)


async def open_stream(channel: Channel, func: str, *args: Any) -> tuple[OutgoingCall, Flow]:
    call = await start(channel, func, *args, kind="asyncgen")
    await call.wait_started()
    assert call.flow is not None
    return call, call.flow


async def open_context(channel: Channel, func: str, *args: Any) -> tuple[OutgoingCall, Flow]:
    call = await start(channel, func, *args, kind="context")
    await call.wait_started()
    assert call.flow is not None
    return call, call.flow


async def read_all(flow: Flow) -> list[Any]:
    found = []
    while True:
        try:
            found.append(await flow.receive())
        except trio.EndOfChannel:
            return found


# --- one way ---------------------------------------------------------------------------------


async def test_items_arrive_in_order_and_then_the_end() -> None:
    async with open_pair() as (alice, _):
        call, flow = await open_stream(alice, "count", 500)
        assert await read_all(flow) == list(range(500))
        with pytest.raises(trio.EndOfChannel):
            await flow.receive()
        await call.result()


async def test_an_empty_stream_just_ends() -> None:
    async with open_pair() as (alice, _):
        call, flow = await open_stream(alice, "count", 0)
        assert await read_all(flow) == []
        await call.result()


async def test_an_error_comes_in_place_of_the_end() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "count", 3, kind="asyncgen")
        await peer.receive()
        await peer.send({"functype": "asyncgen", "cid": call.cid}, {"yield": 0, "cid": call.cid})
        await call.wait_started()
        assert call.flow is not None
        assert await call.flow.receive() == 0
        error = {"type_str": "ValueError", "message": "out of numbers"}
        await peer.send({"error": error, "cid": call.cid})
        for _ in range(2):
            with pytest.raises(ValueError, match="out of numbers"):
                await call.flow.receive()
        with pytest.raises(RemoteActorError):
            await call.result()


async def test_a_generator_that_fails_fails_its_reader() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(ValueError, match="out of numbers"):
            _, flow = await open_stream(alice, "count_and_fail", 3)
            await read_all(flow)
        assert await ask(alice, "echo", 1) == 1


async def test_a_producer_stops_at_the_window() -> None:
    async with open_pair(NARROW) as (alice, bob):
        _, flow = await open_stream(alice, "count", 10**6, 1000)
        await wait_all_tasks_blocked()
        # Nothing was read, so nothing was granted: the window, and one item over it.
        assert bob.outbox.written < NARROW.stream_window_bytes + 2 * KIB
        sent = bob.outbox.written
        for _ in range(6):
            await flow.receive()
        await wait_all_tasks_blocked()
        assert sent < bob.outbox.written < sent + 8 * KIB


async def test_an_item_larger_than_the_window_passes() -> None:
    async with open_pair(NARROW) as (alice, _):
        call, flow = await open_stream(alice, "count", 5, 100 * KIB)
        items = await read_all(flow)
        assert [(i, len(data)) for i, data in items] == [(i, 100 * KIB) for i in range(5)]
        await call.result()


async def test_other_calls_overtake_a_stuck_stream() -> None:
    async with open_pair(NARROW) as (alice, bob):
        streams = [await open_stream(alice, "count", 10**6, 1000) for _ in range(20)]
        await wait_all_tasks_blocked()
        assert await ask(alice, "echo", "quick") == "quick"
        assert await ask(bob, "echo", "back") == "back"
        for i in range(20):
            assert (await streams[0][1].receive())[0] == i


async def test_the_reader_may_leave_early() -> None:
    async with open_pair(NARROW) as (alice, bob):
        call, flow = await open_stream(alice, "count", 10**6, 1000)
        await flow.receive()
        flow.stop()
        await call.wait_ended()
        call.forget()
        assert bob.statistics().calls_in_flight == 0
        assert await ask(alice, "echo", 1) == 1


async def test_after_our_stop_nothing_is_sent_or_received() -> None:
    async with open_pair() as (alice, _):
        _, flow = await open_context(alice, "parrot")
        flow.stop()
        flow.stop()

        with pytest.raises(ChannelClosed):
            await flow.receive()
        with pytest.raises(ChannelClosed):
            await flow.send(1)


async def test_stopping_wakes_who_waits() -> None:
    async with open_pair() as (alice, _):
        _, flow = await open_context(alice, "parrot")

        async def receive() -> None:
            with pytest.raises(ChannelClosed):
                await flow.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert flow.is_awaited
            flow.stop()
        assert not flow.is_awaited


# --- both ways -------------------------------------------------------------------------------


async def test_a_context_talks_both_ways_and_returns() -> None:
    async with open_pair() as (alice, _):
        call, flow = await open_context(alice, "parrot", {"greeting": 1})
        assert call.first == {"greeting": 1}
        for i in range(100):
            await flow.send(i)
            assert await flow.receive() == i
        flow.stop()
        assert await call.result() == 100


async def test_a_sender_without_credit_waits_for_the_reader() -> None:
    async with open_pair(NARROW) as (alice, _):
        call, flow = await open_context(alice, "deaf")
        sent: list[int] = []

        async def send() -> None:
            for i in range(100):
                await flow.send(b"x" * 1000)
                sent.append(i)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert 9 <= len(sent) <= 11
            nursery.cancel_scope.cancel()
        call.cancel()
        await call.wait_ended()
        call.forget()


async def test_a_cancelled_send_has_sent_nothing() -> None:
    async with open_raw(channel_is_client=True, peer_window_bytes=100) as (peer, channel):
        call = await start(channel, "parrot", kind="context")
        await peer.receive()
        await peer.send(
            {"functype": "context", "cid": call.cid}, {"started": None, "cid": call.cid}
        )
        await call.wait_started()
        assert call.flow is not None
        await call.flow.send(b"x" * 200)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.flow.send, "cancelled")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await peer.send({"credit": 1000, "cid": call.cid})
        await wait_all_tasks_blocked()
        await call.flow.send("later")
        items = [await peer.receive(), await peer.receive()]
        assert [item["yield"] for item in items if item] == [b"x" * 200, "later"]
        await peer.transport.aclose()


async def test_a_cancelled_receive_loses_no_item() -> None:
    async with open_pair() as (alice, _):
        _, flow = await open_context(alice, "parrot")
        for i in range(50):
            await flow.send(i)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flow.receive)
                nursery.cancel_scope.cancel()
            assert await flow.receive() == i


async def test_receiving_is_a_checkpoint_even_when_items_wait() -> None:
    async with open_pair() as (alice, _):
        _, flow = await open_stream(alice, "count", 10)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await flow.receive()
        assert scope.cancelled_caught
        assert await read_all(flow) == list(range(10))


async def test_a_busy_stream_lets_other_tasks_run() -> None:
    limits = Limits(items_per_checkpoint=8)
    async with open_pair(limits) as (alice, _):
        _, flow = await open_stream(alice, "count", 1000)
        await wait_all_tasks_blocked()
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(100):
                await flow.receive()
            nursery.cancel_scope.cancel()
        assert turns >= 100 // 8 // 2


async def test_an_item_that_cannot_travel_leaves_the_stream_usable() -> None:
    async with open_pair(Limits(max_message_bytes=10_000)) as (alice, _):
        call, flow = await open_context(alice, "parrot")
        with pytest.raises(EncodeError):
            await flow.send(object())
        with pytest.raises(LimitExceeded):
            await flow.send(b"x" * 10_000)
        await flow.send("fine")
        assert await flow.receive() == "fine"
        flow.stop()
        assert await call.result() == 1


# --- the far side ends it --------------------------------------------------------------------


async def test_items_before_the_end_can_still_be_read() -> None:
    async with open_pair() as (alice, _):
        call, flow = await open_stream(alice, "count", 5)
        await call.wait_ended()
        assert await read_all(flow) == [0, 1, 2, 3, 4]


async def test_sending_to_a_far_side_that_has_ended_is_broken() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "parrot", kind="context")
        await peer.receive()
        answers: list[dict[str, Any]] = [
            {"functype": "context"},
            {"started": 1},
            {"yield": 1},
            {"stop": True},
        ]
        await peer.send(*[{**answer, "cid": call.cid} for answer in answers])
        await call.wait_started()
        await wait_all_tasks_blocked()
        assert call.flow is not None
        with pytest.raises(ChannelBroken):
            await call.flow.send(1)
        assert await read_all(call.flow) == [1]
        await peer.send({"return": "done", "cid": call.cid})
        assert await call.result() == "done"


async def test_an_error_wakes_a_sender_and_comes_after_what_is_unread() -> None:
    async with open_raw(channel_is_client=True, peer_window_bytes=10) as (peer, channel):
        call = await start(channel, "parrot", kind="context")
        await peer.receive()
        answers: list[dict[str, Any]] = [{"functype": "context"}, {"started": 1}, {"yield": 1}]
        await peer.send(*[{**answer, "cid": call.cid} for answer in answers])
        await call.wait_started()
        flow = call.flow
        assert flow is not None
        await flow.send(b"uses up the credit")

        async def send() -> None:
            with pytest.raises(ValueError, match="no more"):
                await flow.send(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            error = {"type_str": "ValueError", "message": "no more"}
            await peer.send({"error": error, "cid": call.cid})
        assert await flow.receive() == 1
        with pytest.raises(ValueError, match="no more"):
            await flow.receive()


async def test_grants_are_sent_as_items_are_read_and_not_before() -> None:
    limits = Limits(stream_window_bytes=KIB)
    async with open_raw(limits, channel_is_client=True) as (peer, channel):
        call = await start(channel, "count", 4, kind="asyncgen")
        await peer.receive()
        items = [{"yield": b"x" * 230, "cid": call.cid} for _ in range(4)]
        await peer.send({"functype": "asyncgen", "cid": call.cid}, *items)
        await call.wait_started()
        await wait_all_tasks_blocked()
        assert call.flow is not None
        sent = channel.outbox.written
        await call.flow.receive()
        assert channel.outbox.enqueued == sent
        await call.flow.receive()
        await call.flow.receive()
        grant = await peer.receive()
        assert grant is not None
        assert grant["cid"] == call.cid
        frame_bytes = len(peer.frame(items[0]))
        assert grant["credit"] in (2 * frame_bytes, 3 * frame_bytes)


async def test_a_repr_shows_the_state_of_a_stream() -> None:
    async with open_pair() as (alice, _):
        _, flow = await open_context(alice, "parrot")
        assert "open" in repr(flow)
        flow.stop()
        assert "stopped" in repr(flow)


async def test_the_largest_message_passes_as_an_item(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits(max_message_bytes=1024 * KIB)
    assert limits.max_message_bytes < MAX_BYTES
    async with open_pair(limits) as (alice, _):
        _, flow = await open_context(alice, "parrot")
        item = b"x" * (1024 * KIB - 100)
        await flow.send(item)
        assert await flow.receive() == item


# --- several who send on one stream ----------------------------------------------------------


async def test_two_who_send_never_spend_more_than_was_granted() -> None:
    limits = Limits(stream_window_bytes=2 * KIB, items_per_checkpoint=2)
    async with open_pair(limits) as (alice, _), trio.open_nursery() as tasks:
        _, flow = await open_context(alice, "parrot")

        async def send_many() -> None:
            for _ in range(100):
                await flow.send(b"x" * 500)

        for _ in range(3):
            tasks.start_soon(send_many)
        for _ in range(300):
            assert await flow.receive() == b"x" * 500
        assert alice.is_open


async def test_who_waits_for_room_looks_at_the_credit_again() -> None:
    limits = Limits(stream_window_bytes=KIB, outbox_high_water_bytes=10 * KIB)
    async with open_pair(limits, capacity=KIB) as (alice, bob), trio.open_nursery() as tasks:
        _, flow = await open_context(alice, "parrot")
        call = await start(alice, "echo", b"y" * 20_000)  # more than high water, for a while
        for _ in range(10):
            tasks.start_soon(flow.send, b"x" * 600)
        assert await call.result() == b"y" * 20_000
        for _ in range(10):
            assert await flow.receive() == b"x" * 600
        assert alice.is_open
        assert bob.is_open


@pytest.mark.parametrize("waits", [False, True])
async def test_a_stream_that_was_closed_takes_nothing_though_the_link_is_crowded(
    waits: bool,
) -> None:
    limits = Limits(outbox_high_water_bytes=KIB)
    async with open_raw(channel_is_client=True, limits=limits, capacity=KIB) as (peer, channel):
        call = await start(channel, "parrot", kind="context")
        await peer.receive()
        await peer.send({"functype": "context", "cid": call.cid}, {"started": 1, "cid": call.cid})
        await call.wait_started()
        flow = call.flow
        assert flow is not None
        await flow.send(b"x" * 5000)  # nobody reads it
        if not waits:
            flow.close()
        with trio.fail_after(5):
            async with trio.open_nursery() as tasks:
                tasks.start_soon(send_to_closed, flow)
                await wait_all_tasks_blocked()
                flow.close()


async def send_to_closed(flow: Flow) -> None:
    with pytest.raises(ChannelClosed):
        await flow.send(b"x")
