"""Strangers at the door get nothing, learn nothing, and disturb nobody."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nursery_functions as remote
import pytest
import trio

import actorsys
from actorsys.channel import connect_channel
from actorsys.limits import DEFAULT_LIMITS
from actorsys.transport import Transport, connect
from actorsys.wire import Credentials

pytestmark = pytest.mark.timeout(20)
MODULE = "nursery_functions"
TURNED_AWAY_WITHIN_SECONDS = 3.5

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)
HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
GARBAGE = [
    b"\xff" * 4096,
    HTTP_REQUEST,
    TLS_HELLO,
    b"\x00" * 4096,
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f",
    (200).to_bytes(4, "little") + b"\xc1" * 200,
    (100).to_bytes(4, "little") + b"\xdf\xff\xff\xff\xff" + bytes(95),
    (1).to_bytes(4, "little") + b"\x80",
    b"SSH-2.0-OpenSSH_9.0\r\n",
    *(random.Random(seed).randbytes(300) for seed in range(20)),
]


@asynccontextmanager
async def open_target(
    transport: str = "tcp", limits: actorsys.Limits | None = None
) -> AsyncIterator[tuple[actorsys.ActorNursery, actorsys.Portal, str]]:
    """Open a root with one actor; yield where strangers can knock as well."""
    async with actorsys.open_nursery(transport=transport, limits=limits) as nursery:
        portal = await nursery.start_actor("worker", modules=[MODULE])
        address = await actorsys.current_actor().reception.address()
        yield nursery, portal, address
        with trio.fail_after(1):
            assert await portal.run(remote.add, 1, 1) == 2
        await nursery.cancel()


async def check_unharmed(nursery: actorsys.ActorNursery, portal: actorsys.Portal) -> None:
    """Check that old actors answer and new ones start."""
    with trio.fail_after(5):
        assert await portal.run(remote.add, 1, 1) == 2
        new = await nursery.start_actor("new", modules=[MODULE])
        assert await new.run(remote.add, 1, 1) == 2
        await new.cancel_actor()


async def read_to_end(transport: Transport) -> bytes:
    """Return what the other end says before it closes."""
    said = b""
    try:
        while data := await transport.receive_some():
            said += data
    except trio.BrokenResourceError:
        pass  # reset, since it did not read all that was sent
    return said


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_garbage_is_answered_with_nothing(scheme: str) -> None:
    async with open_target(scheme) as (nursery, portal, address):
        for data in GARBAGE:
            stranger = await connect(address)
            async with stranger:
                with trio.fail_after(TURNED_AWAY_WITHIN_SECONDS):
                    await stranger.send_all(data)
                    if len(data) > 256 or data in (HTTP_REQUEST, TLS_HELLO):
                        assert await read_to_end(stranger) == b""
            assert portal.is_alive
        await check_unharmed(nursery, portal)


@pytest.mark.slow
async def test_silence_is_waited_for_only_so_long() -> None:
    assert DEFAULT_LIMITS.handshake_timeout_seconds == 3
    limits = actorsys.Limits(handshake_timeout_seconds=0.5)
    async with open_target(limits=limits) as (_, portal, address):
        silent, slow = await connect(address), await connect(address)
        async with silent, slow, trio.open_nursery() as tasks:

            async def trickle() -> None:
                try:
                    while True:
                        await slow.send_all(b"\x10")
                        await trio.sleep(0.1)
                except trio.BrokenResourceError:
                    pass

            tasks.start_soon(trickle)
            with trio.fail_after(1):
                assert await read_to_end(silent) == b""
                assert await read_to_end(slow) == b""
            assert await portal.run(remote.add, 1, 1) == 2
            tasks.cancel_scope.cancel()


async def test_a_stranger_that_sends_for_ever_is_cut_off() -> None:
    async with open_target() as (_, _, address):
        stranger = await connect(address)
        async with stranger:
            with trio.fail_after(TURNED_AWAY_WITHIN_SECONDS):
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await stranger.send_all(b"\x00\x00\x10\x00" * 4096)


async def test_a_wrong_key_is_refused() -> None:
    async with open_target() as (_, portal, address):
        for uid in (portal.uid, ("stranger", "0" * 16), actorsys.current_actor().uid):
            credentials = Credentials(uid, lambda _: os.urandom(32))
            with trio.fail_after(TURNED_AWAY_WITHIN_SECONDS):
                with pytest.raises(actorsys.HandshakeError):
                    await connect_channel(await connect(address), credentials, DEFAULT_LIMITS)


@pytest.mark.slow
async def test_a_crowd_at_the_door_holds_up_neither_calls_nor_starts() -> None:
    async with open_target() as (nursery, portal, address):
        crowd: list[Transport] = []

        async def knock() -> None:
            for _ in range(50):
                try:
                    crowd.append(await connect(address))
                except OSError:
                    return

        try:
            async with trio.open_nursery() as tasks:
                for _ in range(20):
                    tasks.start_soon(knock)
                for _ in range(20):
                    with trio.fail_after(1):
                        assert await portal.run(remote.add, 1, 1) == 2
                await check_unharmed(nursery, portal)
            assert len(crowd) == 1000
            await check_unharmed(nursery, portal)
        finally:
            for stranger in crowd:
                await trio.aclose_forcefully(stranger)


async def test_the_door_is_for_this_host_only() -> None:
    async with open_target() as (_, _, address):
        assert address.startswith("tcp:127.0.0.1:")


async def test_calls_in_flight_do_not_notice_strangers() -> None:
    results: list[int] = []

    async def call() -> None:
        for i in range(200):
            results.append(await portal.run(remote.add, i))

    async with open_target() as (_, portal, address):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call)
            for data in GARBAGE:
                stranger = await connect(address)
                async with stranger:
                    await stranger.send_all(data)
    assert results == list(range(200))
