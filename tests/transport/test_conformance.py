"""What every transport and listener must do, asked of each of them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from test_tls import make_tls
from trio.testing import wait_all_tasks_blocked

from actorsys.testing.conformance import LISTENER_CHECKS, TRANSPORT_CHECKS, Place, Subject
from actorsys.transport import (
    MemoryListener,
    Transport,
    connect,
    listen,
    memory_transport_pair,
)
from actorsys.transport.interface import checked_count
from actorsys.transport.tls import TlsTransport, connect_tls, listen_tls

KINDS = ["tcp", "unix", "memory", "tls"]


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


@pytest.mark.parametrize("name", TRANSPORT_CHECKS)
async def test_of_a_transport(place: Place, name: str) -> None:
    await TRANSPORT_CHECKS[name](Subject(place.pair))


@pytest.mark.parametrize("name", LISTENER_CHECKS)
async def test_of_a_listener(place: Place, name: str) -> None:
    await LISTENER_CHECKS[name](place)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_that_is_none_says_what_is_one(count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        checked_count(count)


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
