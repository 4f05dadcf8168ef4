"""The outbox: whole frames, in order, in few writes, whatever is cancelled meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import trio
from channel_helpers import LIMITS, RawPeer, a_service, a_session, ask, open_raw, start
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Channel, Outbox
from actorsys.channel.tick import acquire_flusher, release_flusher
from actorsys.errors import ChannelBroken, ChannelClosed
from actorsys.limits import Limits
from actorsys.transport import Transport, memory_transport_pair


class RecordingTransport(Transport):
    """Keeps what is written to it; takes *room* bytes, and more when `make_room` is called."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.writes: list[bytes] = []
        self.error: Exception | None = None
        self._roomier = trio.Event()

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def make_room(self, room: int) -> None:
        self.room += room
        self._roomier.set()
        self._roomier = trio.Event()

    def send_nowait(self, parts: Sequence[bytes | bytearray | memoryview]) -> int:
        if self.error is not None:
            raise self.error
        data = b"".join(parts)[: self.room]
        self.room -= len(data)
        if data:
            self.writes.append(data)
        return len(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        while not self.room:
            await self._roomier.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise NotImplementedError

    async def receive_into(self, memory: memoryview) -> int:
        raise NotImplementedError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_outbox(
    room: int = 10**9, limits: Limits = LIMITS
) -> AsyncIterator[tuple[Outbox, RecordingTransport]]:
    transport, flusher = RecordingTransport(room), acquire_flusher()
    outbox = Outbox(transport, flusher, limits)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.run)
            await wait_all_tasks_blocked()
            yield outbox, transport
            nursery.cancel_scope.cancel()
    finally:
        release_flusher(flusher)


FRAMES = [bytes([i]) * (i + 1) for i in range(50)]


# --- when it writes --------------------------------------------------------------------------


async def test_what_is_put_is_written_when_the_tick_ends() -> None:
    async with open_outbox() as (outbox, transport):
        outbox.put([b"frame"])
        await trio.lowlevel.checkpoint()
        assert transport.written == b"frame"
        assert (outbox.enqueued, outbox.written, outbox.size) == (5, 5, 0)


async def test_frames_of_one_tick_leave_in_two_writes_at_most() -> None:
    async with open_outbox() as (outbox, transport):
        for frame in FRAMES:
            outbox.put([frame])
        await trio.lowlevel.checkpoint()
        assert transport.written == b"".join(FRAMES)
        assert len(transport.writes) <= 2


async def test_ticks_that_follow_a_busy_one_take_one_write_each() -> None:
    async with open_outbox() as (outbox, transport):
        for _ in range(10):
            for frame in FRAMES:
                outbox.put([frame])
            await trio.lowlevel.checkpoint()
        assert transport.written == b"".join(FRAMES) * 10
        assert len(transport.writes) <= 11


async def test_frames_of_many_tasks_are_written_together() -> None:
    async with open_outbox() as (outbox, transport):

        async def put(frame: bytes) -> None:
            outbox.put([frame])

        async with trio.open_nursery() as nursery:
            for frame in FRAMES:
                nursery.start_soon(put, frame)
        assert sorted(transport.written) == sorted(b"".join(FRAMES))
        assert len(transport.writes) <= 2


async def test_a_plain_call_is_answered_in_one_write() -> None:
    near, far = memory_transport_pair()
    writes: list[int] = []
    send_nowait = far.send_nowait

    def recording(parts: Sequence[bytes | bytearray | memoryview]) -> int:
        writes.append(sum(map(len, parts)))
        return send_nowait(parts)

    far.send_nowait = recording  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        alice = Channel(near, a_session(is_client=True), a_service(), LIMITS)
        bob = Channel(far, a_session(is_client=False), a_service(), LIMITS)
        nursery.start_soon(alice.run)
        nursery.start_soon(bob.run)
        for i in range(3):
            assert await ask(alice, "echo", i) == i
        assert len(writes) == 3
        nursery.cancel_scope.cancel()


# --- partial writes --------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 3, 7, 100, 1000])
async def test_partial_writes_lose_and_double_nothing(step: int) -> None:
    async with open_outbox(room=0) as (outbox, transport):
        for frame in FRAMES:
            outbox.put([frame[:1], frame[1:]] if len(frame) > 1 else [frame])
        while outbox.size:
            assert transport.written == b"".join(FRAMES)[: outbox.written]
            transport.make_room(step)
            await wait_all_tasks_blocked()
        assert transport.written == b"".join(FRAMES)


async def test_frames_put_while_stuck_come_after_those_before() -> None:
    async with open_outbox(room=2) as (outbox, transport):
        for frame in (b"first", b"second", b"third"):
            outbox.put([frame])
            await trio.lowlevel.checkpoint()
        transport.make_room(100)
        await wait_all_tasks_blocked()
        assert transport.written == b"firstsecondthird"


async def test_large_and_small_parts_keep_their_order() -> None:
    parts = [bytes([i]) * size for i, size in enumerate([5, 20_000, 3, 3, 70_000, 1, 16_384, 2])]
    async with open_outbox(room=0) as (outbox, transport):
        for part in parts:
            outbox.put([part])
        for _ in range(200):
            transport.make_room(997)
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        assert transport.written == b"".join(parts)


async def test_large_parts_are_not_copied() -> None:
    large = memoryview(bytearray(100_000))
    seen: list[object] = []
    async with open_outbox() as (outbox, transport):
        send_nowait = transport.send_nowait

        def looking(parts: Sequence[bytes | bytearray | memoryview]) -> int:
            seen.extend(parts)
            return send_nowait(parts)

        transport.send_nowait = looking  # type: ignore[method-assign]
        outbox.put([b"head", large, b"tail"])
        await trio.lowlevel.checkpoint()
        assert any(part is large for part in seen)


async def test_wait_written_waits_for_the_last_byte() -> None:
    async with open_outbox(room=9) as (outbox, transport):
        outbox.put([b"0123456789"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_written, outbox.enqueued)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            transport.make_room(1)
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks


async def test_wait_room_waits_until_enough_is_read() -> None:
    limits = Limits(outbox_high_water_bytes=100)
    async with open_outbox(room=0, limits=limits) as (outbox, transport):
        outbox.put([bytes(150)])
        assert outbox.is_full
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_room)
            transport.make_room(49)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            transport.make_room(1)
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks
        assert not outbox.is_full


async def test_memory_is_given_back_when_the_wait_is_cancelled() -> None:
    memory = bytearray(b"x" * 100)
    async with open_outbox(room=10) as (outbox, transport):
        outbox.put([b"head", memoryview(memory)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_written, outbox.enqueued)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        memory[:] = b"y" * 100
        transport.make_room(1000)
        await wait_all_tasks_blocked()
        assert transport.written == b"head" + b"x" * 100


# --- its end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [trio.BrokenResourceError("x"), trio.ClosedResourceError("x")])
@pytest.mark.parametrize("room", [0, 1000])
async def test_a_broken_transport_breaks_the_outbox(error: Exception, room: int) -> None:
    async with open_outbox(room=room) as (outbox, transport):
        outbox.put([b"0"])
        await wait_all_tasks_blocked()
        transport.error = error
        transport.make_room(1)
        await wait_all_tasks_blocked()
        if room:
            outbox.put([b"1"])
            await trio.lowlevel.checkpoint()
        assert isinstance(outbox.broken, ChannelBroken)
        with pytest.raises(ChannelBroken):
            outbox.put([b"2"])


async def test_closing_wakes_whoever_waits() -> None:
    limits = Limits(outbox_high_water_bytes=1)
    async with open_outbox(room=0, limits=limits) as (outbox, _):
        outbox.put([bytes(100)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.wait_room)
            nursery.start_soon(outbox.wait_written, outbox.enqueued)
            await wait_all_tasks_blocked()
            outbox.close()
        with pytest.raises(ChannelClosed):
            outbox.put([b"x"])


async def test_the_first_reason_stays() -> None:
    async with open_outbox() as (outbox, _):
        outbox.fail(ChannelBroken("first"))
        outbox.close()
        assert str(outbox.broken) == "first"


async def test_the_last_channel_of_a_run_takes_the_flusher_out() -> None:
    first, second = acquire_flusher(), acquire_flusher()
    assert first is second
    release_flusher(first)
    release_flusher(second)
    again = acquire_flusher()
    assert again.users == 1
    release_flusher(again)


# --- cancelling half a frame -----------------------------------------------------------------


async def answer_cancels(peer: RawPeer, count: int) -> list[dict[str, Any]]:
    """Read, and end *count* calls when their cancellation comes; return what was read."""
    found: list[dict[str, Any]] = []
    while count:
        message = await peer.receive()
        assert message is not None
        found.append(message)
        ns, _, kwargs, _, _ = message["cmd"]
        if ns == "self":
            functype = {"functype": "asyncfunc", "cid": kwargs["cid"]}
            await peer.send(functype, {"return": None, "cid": kwargs["cid"]})
            count -= 1
    return found


async def ask_within(scope: trio.CancelScope, channel: Channel, value: Any) -> None:
    with scope:
        await ask(channel, "echo", value)


async def test_cancelling_a_call_that_is_half_written_leaves_later_frames_intact() -> None:
    array = np.full(200_000, 7, np.uint8)
    async with open_raw(channel_is_client=True, capacity=1000) as (peer, channel):
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_within, scope, channel, array)
            await wait_all_tasks_blocked()
            assert 0 < channel.outbox.written < 200_000
            scope.cancel()
            await wait_all_tasks_blocked()
            first, cancel = await answer_cancels(peer, 1)
        assert first["args"][0].tolist() == [7] * 200_000
        assert cancel["cmd"][:3] == ["self", "cancel", {"cid": first["cmd"][4]}]
        call = await start(channel, "echo", "after it")
        later = await peer.receive()
        assert later is not None
        assert later["args"] == ["after it"]
        call.forget()


async def test_memory_may_be_changed_once_a_cancelled_call_has_returned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The peer reads nothing until the caller has given up and used its memory again."""
    array = np.full(200_000, 7, np.uint8)
    async with open_raw(channel_is_client=True, capacity=1000) as (peer, channel):
        with trio.move_on_after(1):
            await ask(channel, "echo", array)
        array[:] = 0
        first = await peer.receive()
        assert first is not None
        assert first["args"][0].tolist() == [7] * 200_000


@pytest.mark.parametrize("taken", [0, 1, 500, 70_000])
async def test_cancelling_at_any_moment_leaves_whole_frames(taken: int) -> None:
    values = [bytes([i]) * size for i, size in enumerate([100, 70_000, 5, 100_000])]
    async with open_raw(channel_is_client=True, capacity=1000) as (peer, channel):
        scopes = [trio.CancelScope() for _ in values]
        async with trio.open_nursery() as nursery:
            for scope, value in zip(scopes, values, strict=True):
                nursery.start_soon(ask_within, scope, channel, value)
            await wait_all_tasks_blocked()
            await peer.take(taken)
            for scope in scopes:
                scope.cancel()
            await wait_all_tasks_blocked()
            messages = await answer_cancels(peer, len(values))
        calls = [message for message in messages if message["cmd"][0] != "self"]
        assert sorted(call["args"][0] for call in calls) == values
        assert channel.is_open
