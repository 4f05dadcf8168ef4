"""A silent peer on another machine is noticed; one of this host is never given up for silence."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from channel_helpers import BOB, LIMITS, a_service, a_session, ask, start
from trio.testing import MockClock

from actorsys.channel import Channel
from actorsys.errors import ActorUnavailable, ChannelBroken
from actorsys.transport import MemoryTransport, memory_transport_pair

AN_HOUR = 3600.0
A_LONG_FRAME = (1000).to_bytes(4, "little")
"""The header of one; what follows of it is a sign of life."""


@asynccontextmanager
async def open_link(
    *, is_remote: bool, capacity: int = 65536
) -> AsyncIterator[tuple[Channel, MemoryTransport]]:
    """Open a channel of Alice's, and the bare far end of its transport."""
    near, far = memory_transport_pair(capacity)
    async with trio.open_nursery() as tasks:
        session = a_session(is_client=True)
        channel = Channel(near, session, a_service(), LIMITS, is_remote=is_remote)
        tasks.start_soon(channel.run)
        yield channel, far
        tasks.cancel_scope.cancel()
    far.close()


async def swallow(transport: MemoryTransport) -> None:
    """Read whatever comes and say nothing."""
    while await transport.receive_some():
        pass


@asynccontextmanager
async def open_two(**options: Any) -> AsyncIterator[tuple[Channel, Channel]]:
    """Open both ends of a link, as between two machines."""
    near, far = memory_transport_pair()
    async with trio.open_nursery() as tasks:
        alice = Channel(near, a_session(is_client=True), a_service(), LIMITS, is_remote=True)
        bob = Channel(far, a_session(is_client=False), a_service(), LIMITS, is_remote=True)
        tasks.start_soon(alice.run)
        tasks.start_soon(bob.run)
        yield alice, bob
        tasks.cancel_scope.cancel()


async def test_a_silent_remote_peer_is_noticed_in_about_five_seconds(
    autojump_clock: MockClock,
) -> None:
    async with open_link(is_remote=True) as (channel, far), trio.open_nursery() as tasks:
        tasks.start_soon(swallow, far)
        began = trio.current_time()
        await channel.lost.wait()
        assert 4 <= trio.current_time() - began <= 6
        assert isinstance(channel.reason, ChannelBroken)
        assert "silent" in str(channel.reason)


async def test_a_peer_that_falls_silent_later_is_noticed_as_soon(
    autojump_clock: MockClock,
) -> None:
    async with open_link(is_remote=True) as (channel, far), trio.open_nursery() as tasks:
        tasks.start_soon(swallow, far)
        await far.send_all(A_LONG_FRAME)
        for _ in range(100):
            await trio.sleep(0.7)
            await far.send_all(b"x")
        began = trio.current_time()
        await channel.lost.wait()
        assert 4 <= trio.current_time() - began <= 6


async def test_an_idle_remote_peer_that_answers_is_kept(autojump_clock: MockClock) -> None:
    async with open_two() as (alice, bob):
        await trio.sleep(AN_HOUR)
        assert alice.is_open
        assert bob.is_open
        assert await ask(alice, "echo", 5) == 5


async def test_a_remote_peer_that_computes_for_minutes_is_kept(autojump_clock: MockClock) -> None:
    async with open_two() as (alice, bob):
        call = await start(alice, "never")
        with trio.move_on_after(300):
            await call.wait_ended()
        assert alice.is_open
        assert bob.is_open


async def test_a_silent_peer_of_this_host_is_never_given_up(autojump_clock: MockClock) -> None:
    async with open_link(is_remote=False) as (channel, far), trio.open_nursery() as tasks:
        tasks.start_soon(swallow, far)
        await trio.sleep(AN_HOUR)
        assert channel.is_open
        tasks.cancel_scope.cancel()


async def test_a_peer_of_this_host_is_sent_no_pings(autojump_clock: MockClock) -> None:
    async with open_link(is_remote=False) as (channel, _):
        await trio.sleep(AN_HOUR)
        assert channel.statistics().bytes_sent == 0


async def test_being_held_up_oneself_is_not_the_silence_of_the_peer() -> None:
    """This process blocks for longer than the peer may be silent, while its answers wait."""
    quick = dataclasses.replace(LIMITS, ping_seconds=0.02)
    near, far = memory_transport_pair()
    async with trio.open_nursery() as tasks:
        alice = Channel(near, a_session(is_client=True), a_service(), quick, is_remote=True)
        bob = Channel(far, a_session(is_client=False), a_service(), quick, is_remote=True)
        tasks.start_soon(alice.run)
        tasks.start_soon(bob.run)
        for _ in range(3):
            time.sleep(quick.ping_seconds * 8)  # blocking on purpose: it is what is tested
            assert await ask(alice, "echo", 1) == 1
        assert alice.is_open
        tasks.cancel_scope.cancel()


async def test_a_remote_peer_that_does_not_read_is_cut_off(autojump_clock: MockClock) -> None:
    async with open_link(is_remote=True, capacity=100) as (channel, far):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(talk_without_listening, far)
            call = await start(channel, "echo", bytes(10_000))
            began = trio.current_time()
            await channel.lost.wait()
            waited = trio.current_time() - began
            assert 0 <= waited - LIMITS.write_deadline_seconds <= LIMITS.link_loss_seconds
            assert "read nothing" in str(channel.reason)
            channel.fail_calls(lambda may_have_run: ActorUnavailable(may_have_run=may_have_run))
            assert isinstance(call.error, ActorUnavailable)
            assert call.error.may_have_run
            tasks.cancel_scope.cancel()


async def talk_without_listening(transport: MemoryTransport) -> None:
    """Be anything but silent, and read nothing."""
    await transport.send_all(A_LONG_FRAME)
    for _ in range(60):
        await trio.sleep(0.5)
        await transport.send_all(b"x")


async def test_a_slow_reader_is_not_one_that_does_not_read(autojump_clock: MockClock) -> None:
    async with open_link(is_remote=True, capacity=100) as (channel, far):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(talk_without_listening, far)
            await start(channel, "echo", bytes(1000))
            for _ in range(11):
                await trio.sleep(1)
                await far.receive_some(100)
            assert channel.is_open
            tasks.cancel_scope.cancel()


async def test_a_peer_of_this_host_may_be_frozen_for_as_long_as_it_likes(
    autojump_clock: MockClock,
) -> None:
    async with open_link(is_remote=False, capacity=100) as (channel, _):
        await start(channel, "echo", bytes(10_000))
        await trio.sleep(AN_HOUR)
        assert channel.is_open
        assert channel.session.peer_uid == BOB
