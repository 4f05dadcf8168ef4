"""What every transport and listener must do, asked of each of them."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from test_tls import make_tls
from trio.testing import assert_checkpoints, check_two_way_stream, wait_all_tasks_blocked

from actorsys.transport import (
    Listener,
    MemoryListener,
    TlsTransport,
    Transport,
    connect,
    connect_tls,
    listen,
    listen_tls,
    memory_transport_pair,
)

KINDS = ["tcp", "unix", "memory", "tls"]
BIG = 16 * 2**20
"""More than any transport takes without a reader."""


@dataclass
class Place:
    """A listener, and how to connect to it."""

    listener: Listener
    connect: Callable[[], Awaitable[Transport]]

    async def pair(self) -> tuple[Transport, Transport]:
        """Return both ends of a new connection."""
        near = await self.connect()
        return near, await self.listener.accept()


class TlsPlace(Place):
    """A place where both ends shake hands before either is used."""

    async def pair(self) -> tuple[Transport, Transport]:
        ends = await super().pair()
        async with trio.open_nursery() as nursery:
            for end in ends:
                assert isinstance(end, TlsTransport)
                nursery.start_soon(end.do_handshake)
        return ends


async def open_place(kind: str) -> Place:
    if kind == "tls":
        tls = make_tls()
        door = await listen_tls("127.0.0.1:0", tls, 10)
        return TlsPlace(door, lambda: connect_tls(door.address.removeprefix("tls:"), tls))
    if kind == "memory":
        listener = MemoryListener()
        return Place(listener, listener.connect)
    opened = await listen(kind, 10)
    return Place(opened, lambda: connect(opened.address))


@pytest.fixture(params=KINDS)
async def place(request: Any) -> AsyncIterator[Place]:
    found = await open_place(request.param)
    yield found
    await found.listener.aclose()


@pytest.fixture
async def ends(place: Place) -> AsyncIterator[tuple[Transport, Transport]]:
    near, far = await place.pair()
    yield near, far
    await trio.aclose_forcefully(near)
    await trio.aclose_forcefully(far)


def fill(transport: Transport) -> int:
    """Send until the transport takes no more; return how much it took."""
    total = 0
    while sent := transport.send_nowait([bytes(65536)]):
        total += sent
    return total


async def drain(transport: Transport, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = await transport.receive_some(count - len(data))
        assert part
        data += part
    return bytes(data)


# --- trio's own suite ------------------------------------------------------------------------


async def test_it_is_a_two_way_stream(place: Place) -> None:
    async def make_clogged() -> tuple[Transport, Transport]:
        near, far = await place.pair()
        fill(near)
        fill(far)
        return near, far

    await check_two_way_stream(place.pair, make_clogged)


# --- send_nowait -----------------------------------------------------------------------------


async def test_parts_arrive_in_order(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    parts = [b"one ", bytearray(b"two "), memoryview(b"three"), b""]
    assert near.send_nowait(parts) == 13
    assert await drain(far, 13) == b"one two three"


async def test_many_parts_may_take_several_calls(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    parts = [bytes([i % 256]) for i in range(2000)]
    sent = near.send_nowait(parts)
    assert 0 < sent <= 2000
    assert await drain(far, sent) == b"".join(parts[:sent])


async def test_what_does_not_fit_is_not_sent(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    data = os.urandom(2**16) * (BIG // 2**16)
    sent = near.send_nowait([data])
    assert 0 < sent < BIG
    assert await drain(far, sent) == data[:sent]


async def test_a_full_transport_takes_nothing(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    taken = fill(near)
    assert near.send_nowait([b"x"]) == 0
    assert near.send_nowait([b"x", b"y"]) == 0
    await drain(far, taken)
    await near.wait_send_all_might_not_block()
    assert near.send_nowait([b"x"]) == 1


async def test_a_waiting_receiver_is_woken_by_send_nowait(
    ends: tuple[Transport, Transport],
) -> None:
    near, far = ends
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await far.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        near.send_nowait([b"x"])
    assert got == [b"x"]


async def test_sending_to_a_closed_peer_is_broken(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    await far.aclose()
    with pytest.raises(trio.BrokenResourceError):
        # A kernel may take the first bytes before it has heard of the end.
        while True:
            near.send_nowait([bytes(1000)])
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("parts", [[b"x"], [b"x", b"y"]])
async def test_sending_after_closing_is_closed(
    ends: tuple[Transport, Transport], parts: list[bytes]
) -> None:
    near, _ = ends
    await near.aclose()
    with pytest.raises(trio.ClosedResourceError):
        near.send_nowait(parts)


# --- receiving -------------------------------------------------------------------------------


async def test_bytes_are_received_into_memory(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    await near.send_all(b"hello")
    memory = bytearray(b"." * 10)
    assert await far.receive_into(memoryview(memory)[2:]) == 5
    assert memory == b"..hello..."


async def test_no_more_is_received_than_there_is_room(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    await near.send_all(b"hello")
    memory = bytearray(3)
    with assert_checkpoints():
        assert await far.receive_into(memoryview(memory)) == 3
    assert bytes(memory) == b"hel"
    assert await far.receive_some() == b"lo"


async def test_the_end_of_the_stream_is_zero_bytes(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    await near.send_all(b"x")
    await near.aclose()
    memory = memoryview(bytearray(10))
    assert await far.receive_into(memory) == 1
    assert await far.receive_into(memory) == 0
    assert await far.receive_some() == b""


async def test_receiving_after_closing_is_closed(ends: tuple[Transport, Transport]) -> None:
    near, _ = ends
    await near.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_into(memoryview(bytearray(1)))


async def test_closing_wakes_who_receives(ends: tuple[Transport, Transport]) -> None:
    near, _ = ends

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_into(memoryview(bytearray(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await near.aclose()


async def test_a_cancelled_receive_loses_nothing(ends: tuple[Transport, Transport]) -> None:
    near, far = ends
    memory = memoryview(bytearray(5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.receive_into, memory)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await near.send_all(b"hello")
    assert await far.receive_into(memory) == 5
    assert bytes(memory) == b"hello"


@pytest.mark.parametrize("count", [0, -1])
async def test_receiving_less_than_a_byte_is_a_mistake(
    ends: tuple[Transport, Transport], count: int
) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await ends[0].receive_some(count)


async def test_much_data_passes_both_ways_at_once(ends: tuple[Transport, Transport]) -> None:
    data = os.urandom(2**20)
    got: list[bytes] = []

    async def receive(transport: Transport) -> None:
        got.append(await drain(transport, len(data)))

    async with trio.open_nursery() as nursery:
        for transport in ends:
            nursery.start_soon(transport.send_all, data)
            nursery.start_soon(receive, transport)
    assert got == [data, data]


async def test_a_repr_says_whether_it_is_open(ends: tuple[Transport, Transport]) -> None:
    near, _ = ends
    before = repr(near)
    await near.aclose()
    assert "Transport" in before
    assert repr(near) != before


# --- listeners -------------------------------------------------------------------------------


async def test_each_connection_is_its_own(place: Place) -> None:
    first_near, first_far = await place.pair()
    second_near, second_far = await place.pair()
    await first_near.send_all(b"first")
    await second_far.send_all(b"second")
    assert await first_far.receive_some() == b"first"
    assert await second_near.receive_some() == b"second"
    for transport in (first_near, first_far, second_near, second_far):
        await transport.aclose()


async def test_accepting_waits_for_a_connection(place: Place) -> None:
    accepted: list[Transport] = []

    async def accept() -> None:
        accepted.append(await place.listener.accept())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        assert not accepted
        near = await place.connect()
    for transport in (near, *accepted):
        await transport.aclose()


async def test_a_connection_outlives_its_listener(place: Place) -> None:
    near, far = await place.pair()
    await place.listener.aclose()
    await near.send_all(b"still here")
    assert await far.receive_some() == b"still here"
    await near.aclose()
    await far.aclose()


async def test_accepting_at_a_closed_listener_is_closed(place: Place) -> None:
    await place.listener.aclose()
    await place.listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await place.listener.accept()


async def test_closing_a_listener_wakes_who_accepts(place: Place) -> None:
    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await place.listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        await place.listener.aclose()


async def test_nobody_connects_to_a_closed_listener(place: Place) -> None:
    await place.listener.aclose()
    with pytest.raises((OSError, trio.ClosedResourceError, trio.BrokenResourceError)):
        await place.connect()


async def test_a_peer_that_was_never_accepted_learns_of_the_end(place: Place) -> None:
    near = await place.connect()
    await place.listener.aclose()
    end: bytes | None = None
    with trio.move_on_after(1):
        try:
            end = await near.receive_some()
        except trio.BrokenResourceError:
            end = b""
    await near.aclose()
    assert end == b""


# --- addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_an_address_names_its_scheme(scheme: str) -> None:
    listener = await listen(scheme, 10)
    assert listener.address.startswith(f"{scheme}:")
    assert listener.address in repr(listener)
    await listener.aclose()


async def test_tcp_listens_on_loopback_only() -> None:
    listener = await listen("tcp", 10)
    assert listener.address.startswith("tcp:127.0.0.1:")
    await listener.aclose()


async def test_tcp_does_not_wait_to_gather_small_writes() -> None:
    listener = await listen("tcp", 10)
    near = await connect(listener.address)
    far = await listener.accept()
    for transport in (near, far):
        sock = transport._socket  # type: ignore[attr-defined]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for closing in (near, far, listener):
        await closing.aclose()


@pytest.mark.parametrize("scheme", ["udp", "", "TCP", "memory"])
async def test_an_unknown_scheme_is_named(scheme: str) -> None:
    with pytest.raises(ValueError, match="unknown transport"):
        await listen(scheme, 10)
    with pytest.raises(ValueError, match="unknown transport"):
        await connect(f"{scheme}:somewhere")


@pytest.mark.parametrize("address", ["tcp:", "tcp:localhost", "tcp:127.0.0.1:x"])
async def test_an_address_that_is_none_is_a_value_error(address: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|address"):
        await connect(address)


@pytest.mark.parametrize("port", [65536, -1])
async def test_a_port_that_is_none_is_a_value_error(port: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        await connect(f"tcp:127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["unix:@nobody-here", "unix:/no/such/folder/socket"])
async def test_connecting_to_nobody_is_an_os_error(address: str) -> None:
    with pytest.raises(OSError, match=r"refused|No such"):
        await connect(address)


async def test_a_unix_socket_leaves_no_file(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    listener = await listen("unix", 10)
    await listener.aclose()
    assert list(tmp_path.iterdir()) == []


# --- memory ----------------------------------------------------------------------------------


async def test_memory_takes_its_capacity_and_no_more() -> None:
    near, far = memory_transport_pair(capacity=10)
    assert near.send_nowait([b"123456", b"7890ab"]) == 10
    assert await far.receive_some() == b"1234567890"
    assert near.send_nowait([b"ab"]) == 2


async def test_one_end_of_memory_may_be_closed_while_the_other_sends() -> None:
    near, far = memory_transport_pair(capacity=10)

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(bytes(100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await far.aclose()
