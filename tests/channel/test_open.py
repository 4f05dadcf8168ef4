"""The handshake on a transport: what a stranger gets to hear, and how long it may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from channel_helpers import ALICE, BOB, LIMITS
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import accept_channel, connect_channel
from actorsys.errors import AuthenticationFailed, HandshakeError, VersionMismatch
from actorsys.limits import Limits
from actorsys.transport import Transport, memory_transport_pair
from actorsys.wire import Credentials, Session

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
Open = Callable[[Transport, Credentials, Limits], Awaitable[tuple[Session, bytes]]]


def alice(key: bytes = KEY) -> Credentials:
    return Credentials(ALICE, {BOB: key}.get)


def bob(key: bytes = KEY) -> Credentials:
    return Credentials(BOB, {ALICE: key}.get)


async def shake(
    connecting: Credentials, accepting: Credentials, capacity: int = 65536
) -> tuple[Any, Any]:
    """Let both ends shake hands; return what each gets: a session, or an error."""
    near, far = memory_transport_pair(capacity)
    found: dict[Open, Any] = {}

    async def run(open_channel: Open, transport: Transport, credentials: Credentials) -> None:
        try:
            found[open_channel] = await open_channel(transport, credentials, LIMITS)
        except HandshakeError as error:
            found[open_channel] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, connect_channel, near, connecting)
        nursery.start_soon(run, accept_channel, far, accepting)
    await near.aclose()
    await far.aclose()
    return found[connect_channel], found[accept_channel]


async def told_to(data: bytes) -> tuple[bytes, Exception]:
    """Return what an accepting end tells a stranger that sends *data*, and what it raises."""
    near, far = memory_transport_pair()
    await near.send_all(data)
    with pytest.raises(HandshakeError) as caught:
        await accept_channel(far, bob(), LIMITS)
    told = await near.receive_some()
    await near.aclose()
    return told, caught.value


@pytest.mark.parametrize("capacity", [1, 10, 65536])
async def test_both_ends_get_a_session(capacity: int) -> None:
    (near, near_rest), (far, far_rest) = await shake(alice(), bob(), capacity)
    assert (near.peer_uid, far.peer_uid) == (BOB, ALICE)
    assert (near_rest, far_rest) == (b"", b"")


async def test_a_wrong_key_fails_at_both_ends() -> None:
    near, far = await shake(alice(OTHER_KEY), bob())
    assert isinstance(near, AuthenticationFailed)
    assert isinstance(far, HandshakeError)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 300, bytes(4), b"\x01\x00\x00\x00\xc1"]
)
async def test_a_stranger_is_told_nothing(data: bytes) -> None:
    told, _ = await told_to(data)
    assert told == b""


async def test_a_peer_of_another_version_is_told_so() -> None:
    body = b"\x82\xa5hello\xa8actorsys\xa7version\x63"
    told, error = await told_to(len(body).to_bytes(4, "little") + body)
    assert isinstance(error, VersionMismatch)
    assert b"VersionMismatch" in told


@pytest.mark.parametrize("opens", [connect_channel, accept_channel])
async def test_a_peer_that_says_nothing_has_three_seconds(
    opens: Open, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = memory_transport_pair()
    begin = trio.current_time()
    with pytest.raises(HandshakeError, match="too long"):
        await opens(far, alice(), LIMITS)
    assert trio.current_time() - begin == pytest.approx(LIMITS.handshake_timeout_seconds)
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"x")


async def test_dripping_bytes_does_not_win_time(autojump_clock: trio.testing.MockClock) -> None:
    near, far = memory_transport_pair()
    begin = trio.current_time()

    async def drip() -> None:
        with pytest.raises(trio.BrokenResourceError):
            for byte in b"\xc8\x00\x00\x00" + bytes(200):
                await near.send_all(bytes([byte]))
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.raises(HandshakeError, match="too long"):
            await accept_channel(far, bob(), LIMITS)
        assert trio.current_time() - begin == pytest.approx(LIMITS.handshake_timeout_seconds)


@pytest.mark.parametrize("opens", [connect_channel, accept_channel])
async def test_a_peer_that_leaves_is_a_handshake_error(opens: Open) -> None:
    near, far = memory_transport_pair()
    await near.aclose()
    with pytest.raises(HandshakeError):
        await opens(far, alice(), LIMITS)


async def test_a_cancelled_handshake_closes_its_transport() -> None:
    near, far = memory_transport_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_channel, far, bob(), LIMITS)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await near.receive_some() == b""
