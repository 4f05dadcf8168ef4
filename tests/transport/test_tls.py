"""TLS over other transports: who is believed, what is cut anywhere, what is left behind."""

from __future__ import annotations

import atexit
import functools
import itertools
import random
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Channel, accept_channel, connect_channel
from actorsys.errors import HandshakeError
from actorsys.transport import Transport, connect, listen_tcp, memory_transport_pair
from actorsys.transport.tls import Tls, TlsTransport, connect_tls, listen_tls
from actorsys.wire import Credentials

# pytest puts only the folders it collects from on the path.
sys.path.append(str(Path(__file__).parents[1] / "channel"))
from channel_helpers import ALICE, BOB, LIMITS, a_service, ask, start

HOST = "localhost"
AHEAD_BYTES = 5 * 16384
"""What may be encrypted and not taken, the overhead of TLS included."""

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for what is left behind: the conformance suite does it."""


# --- certificates ----------------------------------------------------------------------------


@functools.cache
def folder() -> Path:
    """Return a folder for the files of this run."""
    path = tempfile.mkdtemp(prefix="actorsys-tls-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


@functools.cache
def make_tls(name: str = "ours", *hosts: str) -> Tls:
    """Return certificates of an authority of this *name*; it is made once."""
    ca = make_authority(name)
    certificate = ca.issue_cert(*(hosts or (HOST, "127.0.0.1", "::1")))
    stem = str(folder() / "-".join([name, *hosts]))
    certificate.cert_chain_pems[0].write_to_path(f"{stem}.pem")
    certificate.private_key_pem.write_to_path(f"{stem}.key")
    return Tls(f"{stem}.pem", f"{stem}.key", folder() / f"{name}.ca")


@functools.cache
def make_authority(name: str) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder() / f"{name}.ca"))
    return ca


@pytest.fixture(scope="session")
def tls() -> Tls:
    return make_tls()


def changed(tls: Tls, **changes: Any) -> Tls:
    fields = {name: getattr(tls, name) for name in ("certificate", "key", "ca", "mutual")}
    return Tls(**{**fields, **changes})


# --- ends ------------------------------------------------------------------------------------


class Narrow(Transport):
    """Brings no more bytes at a time than *size* says, and takes no more unless *takes_all*."""

    def __init__(
        self, beneath: Transport, size: Callable[[], int], *, takes_all: bool = False
    ) -> None:
        self.beneath = beneath
        self.received = 0
        self.arrived = trio.Event()
        self._size = size
        self._takes_all = takes_all

    def send_nowait(self, parts: Sequence[Any]) -> int:
        if self._takes_all:
            return self.beneath.send_nowait(parts)
        return self.beneath.send_nowait([bytes(parts[0])[: self._size()]])

    async def send_all(self, data: Any) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        await self.beneath.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self.beneath.receive_some(min(max_bytes or 1, self._size()))
        self.received += len(data)
        self.arrived.set()
        self.arrived = trio.Event()
        return bytes(data)

    async def receive_into(self, memory: memoryview) -> int:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self.beneath.aclose()


def make_pair(
    tls: Tls, size: Callable[[], int] | None = None, capacity: int = 65536
) -> tuple[TlsTransport, TlsTransport]:
    """Return the end that connects and the end that accepts; they have not shaken hands."""
    near, far = memory_transport_pair(capacity)
    if size is None:
        return TlsTransport(near, tls, hostname=HOST), TlsTransport(far, tls)
    return TlsTransport(Narrow(near, size), tls, hostname=HOST), TlsTransport(
        Narrow(far, size), tls
    )


@asynccontextmanager
async def open_pair(
    tls: Tls, size: Callable[[], int] | None = None, capacity: int = 65536
) -> AsyncIterator[tuple[TlsTransport, TlsTransport]]:
    """Yield both ends of a connection that is up."""
    near, far = make_pair(tls, size, capacity)
    await shake_hands(near, far)
    async with near, far:
        yield near, far


async def shake_hands(*ends: TlsTransport) -> None:
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.do_handshake)


async def first_words(near: Transport, far: Transport) -> dict[str, str]:
    """Let both ends send and receive; return what breaks at which."""
    broken: dict[str, str] = {}

    async def talk(name: str, end: Transport) -> None:
        async with end:
            try:
                await end.send_all(b"hello")
                assert await end.receive_some() == b"hello"
            except trio.BrokenResourceError as error:
                broken[name] = str(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk, "near", near)
        nursery.start_soon(talk, "far", far)
    return broken


async def drain(end: Transport, into: bytearray) -> None:
    """Receive until the end of the stream."""
    while data := await end.receive_some():
        into += data


async def take(end: Transport, count: int) -> bytes:
    """Receive exactly *count* bytes."""
    memory = memoryview(bytearray(count))
    filled = 0
    while filled < count:
        got = await end.receive_into(memory[filled:])
        assert got
        filled += got
    return bytes(memory)


def left_behind(end: TlsTransport) -> int:
    """Return how many bytes of ciphertext *end* holds."""
    return end._outgoing.pending + len(end._rest)


def a_random(seed: int | None = None) -> random.Random:
    seed = random.randrange(2**32) if seed is None else seed
    print("seed", seed)
    return random.Random(seed)


# --- who is believed -------------------------------------------------------------------------


async def test_both_ends_talk(tls: Tls) -> None:
    assert await first_words(*make_pair(tls)) == {}


async def test_an_authority_that_is_not_ours_is_not_believed(tls: Tls) -> None:
    near, far = memory_transport_pair()
    stranger = changed(tls, ca=make_tls("theirs").ca)
    broken = await first_words(TlsTransport(near, stranger, hostname=HOST), TlsTransport(far, tls))
    assert "certificate of the peer is refused" in broken["near"]
    assert "unknown ca" in broken["far"]


async def test_a_client_of_another_authority_is_refused(tls: Tls) -> None:
    near, far = memory_transport_pair()
    stranger = changed(make_tls("theirs"), ca=tls.ca)
    broken = await first_words(TlsTransport(near, stranger, hostname=HOST), TlsTransport(far, tls))
    assert "certificate of the peer is refused" in broken["far"]
    assert "near" in broken


async def test_a_client_without_a_certificate_is_refused(tls: Tls) -> None:
    near, far = memory_transport_pair()
    nobody = Tls(None, None, tls.ca, mutual=False)
    broken = await first_words(TlsTransport(near, nobody, hostname=HOST), TlsTransport(far, tls))
    assert "did not return a certificate" in broken["far"]
    assert "near" in broken


async def test_where_it_is_not_mutual_a_client_needs_no_certificate(tls: Tls) -> None:
    near, far = memory_transport_pair()
    nobody = Tls(None, None, tls.ca, mutual=False)
    lenient = changed(tls, mutual=False)
    ends = TlsTransport(near, nobody, hostname=HOST), TlsTransport(far, lenient)
    assert await first_words(*ends) == {}


@pytest.mark.parametrize("host", ["localhost.example.org", "127.0.0.2", "*"])
async def test_a_certificate_for_another_host_is_refused(tls: Tls, host: str) -> None:
    near, far = memory_transport_pair()
    broken = await first_words(TlsTransport(near, tls, hostname=host), TlsTransport(far, tls))
    assert "mismatch" in broken["near"]
    assert "far" in broken


@pytest.mark.parametrize("tls_accepts", [True, False])
async def test_a_peer_that_speaks_plainly_is_refused(tls: Tls, tls_accepts: bool) -> None:
    near, far = memory_transport_pair()
    end = TlsTransport(far, tls, hostname=None if tls_accepts else HOST)
    await near.send_all(b"\x2a\x00\x00\x00\x82\xa5hello\xa8actorsys")
    if tls_accepts:
        await near.aclose()
    with pytest.raises(trio.BrokenResourceError, match="does not speak TLS"):
        await end.receive_some()
    with pytest.raises(trio.BrokenResourceError, match="does not speak TLS"):
        end.send_nowait([b"x"])
    await end.aclose()


@pytest.mark.parametrize("tls_accepts", [True, False])
async def test_tls_1_2_is_refused(tls: Tls, tls_accepts: bool) -> None:
    near, far = memory_transport_pair()
    peer = a_foreign_end(near, tls, accepts=not tls_accepts, newest=ssl.TLSVersion.TLSv1_2)
    end = TlsTransport(far, tls, hostname=None if tls_accepts else HOST)

    async def shake() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await peer.do_handshake()
        await trio.aclose_forcefully(peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake)
        with pytest.raises(trio.BrokenResourceError):
            await end.receive_some()
        await end.aclose()


def a_foreign_end(
    beneath: Transport, tls: Tls, *, accepts: bool, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> trio.SSLStream[Transport]:
    """Return an end of TLS that is not ours and speaks nothing newer than *newest*."""
    assert tls.certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if accepts else ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = newest
    context.load_cert_chain(tls.certificate, tls.key)
    context.load_verify_locations(tls.ca)
    return trio.SSLStream(
        beneath, context, server_hostname=HOST, server_side=accepts, https_compatible=False
    )


@pytest.mark.parametrize("tls_accepts", [True, False])
async def test_a_foreign_implementation_is_understood(tls: Tls, tls_accepts: bool) -> None:
    near, far = memory_transport_pair()
    peer = a_foreign_end(near, tls, accepts=not tls_accepts)
    end = TlsTransport(far, tls, hostname=None if tls_accepts else HOST)
    data = random.Random(1).randbytes(200_000)
    got, back = bytearray(), bytearray()

    async def echo() -> None:
        async for part in peer:
            got.extend(part)
            if len(got) == len(data):
                await peer.send_all(got)
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        await end.send_all(data)
        back += await take(end, len(data))
        await end.aclose()
    assert got == back == data


# --- strangers -------------------------------------------------------------------------------


async def test_a_silent_peer_does_not_hold_up_the_next_one(tls: Tls) -> None:
    listener = await listen_tls("127.0.0.1:0", tls, 10)
    place = listener.address.removeprefix("tls:")
    silent = await connect_tls(place, tls)
    ignored = await listener.accept()
    near = await connect_tls(place, tls)
    assert await first_words(near, await listener.accept()) == {}
    for closing in (silent, ignored, listener):
        await closing.aclose()


async def test_the_deadline_of_the_link_holds_for_the_handshake(
    tls: Tls, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = memory_transport_pair()
    begin = trio.current_time()
    with pytest.raises(HandshakeError, match="too long"):
        await accept_channel(TlsTransport(far, tls), Credentials(BOB, {}.get), LIMITS)
    assert trio.current_time() - begin == pytest.approx(LIMITS.handshake_timeout_seconds)
    assert await near.receive_some() == b""


async def test_an_endless_hello_is_cut_off(tls: Tls) -> None:
    near, far = memory_transport_pair(capacity=200_000)
    length = 130_000
    hello = b"\x01" + length.to_bytes(3, "big") + bytes(length)
    size = 16384
    sent = 0
    for begin in range(0, len(hello), size):
        part = hello[begin : begin + size]
        sent += near.send_nowait([b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part])
    stranger = Narrow(far, lambda: 200_000)
    end = TlsTransport(stranger, tls)
    with pytest.raises(trio.BrokenResourceError, match="no valid certificate"):
        await end.receive_some()
    assert stranger.received <= 65536 < sent
    await end.aclose()


# --- cut anywhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 23, 1000])
async def test_bytes_may_be_cut_everywhere(tls: Tls, size: int) -> None:
    data = random.Random(size).randbytes(40_000 if size > 20 else 300)
    near, far = make_pair(tls, lambda: size, capacity=3 * size)
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, far, got)
        await near.send_all(data[:100])
        await near.send_all(data[100:])
        await wait_all_tasks_blocked()
        assert got == data
        nursery.cancel_scope.cancel()
    await near.aclose()
    await far.aclose()


async def test_both_ends_send_much_at_once_through_a_narrow_transport(tls: Tls) -> None:
    rng = a_random()
    data = rng.randbytes(300_000)
    near, far = make_pair(tls, lambda: rng.randrange(1, 20_000), capacity=10_000)
    got: list[bytes] = []

    async def receive(end: Transport) -> None:
        got.append(await take(end, len(data)))

    async with trio.open_nursery() as nursery:
        for end in (near, far):
            nursery.start_soon(end.send_all, data)
            nursery.start_soon(receive, end)
    assert got == [data, data]
    await near.aclose()
    await far.aclose()


async def test_what_is_reported_as_sent_arrives_and_nothing_else(tls: Tls) -> None:
    rng = a_random()
    async with open_pair(tls, lambda: rng.randrange(1, 40_000)) as (near, far):
        data = memoryview(rng.randbytes(600_000))
        reported = end = 0
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, far, got)
            while reported < len(data):
                end = min(len(data), end + rng.randrange(1, 30_000))
                middle = rng.randrange(reported, end + 1)
                reported += near.send_nowait([data[reported:middle], data[middle:end]])
                await wait_all_tasks_blocked()
                assert len(got) == reported
                assert left_behind(near) <= (AHEAD_BYTES if reported < end else 0)
            nursery.cancel_scope.cancel()
        assert got == data


async def test_many_small_parts_are_sent_in_one_call(tls: Tls) -> None:
    async with open_pair(tls) as (near, far):
        parts = [bytes([i % 256]) for i in range(1000)]
        assert near.send_nowait(parts) == 1000
        assert await take(far, 1000) == b"".join(parts)


async def test_arrays_are_sent_from_their_own_memory(tls: Tls) -> None:
    array = np.arange(500_000)
    async with open_pair(tls) as (near, far):
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await take(far, array.nbytes))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await near.send_all(array.data)
        assert np.array_equal(np.frombuffer(got[0], array.dtype), array)


async def test_what_came_is_received_in_one_piece(tls: Tls) -> None:
    async with open_pair(tls) as (near, far):
        for _ in range(4):
            near.send_nowait([bytes(10_000)])
        assert len(await far.receive_some(15_000)) == 15_000
        assert await far.receive_into(memoryview(bytearray(15_000))) == 15_000
        assert len(await far.receive_some(15_000)) == 10_000


# --- a peer that does not read ---------------------------------------------------------------


async def test_a_peer_that_does_not_read_stops_the_sender(tls: Tls) -> None:
    rng = a_random(7)
    data = memoryview(rng.randbytes(1_000_000))
    async with open_pair(tls) as (near, far):
        sent = 0
        while count := near.send_nowait([data[sent:]]):
            sent += count
        assert 0 < sent <= 65536
        for _ in range(100):
            assert near.send_nowait([data[sent:]]) == 0
        assert left_behind(near) <= AHEAD_BYTES
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await take(far, len(data)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await near.send_all(data[sent:])
        assert got == [data]


async def test_the_rest_may_be_offered_in_smaller_pieces(tls: Tls) -> None:
    data = memoryview(random.Random(8).randbytes(200_000))
    async with open_pair(tls, capacity=10_000) as (near, far):
        sent = near.send_nowait([data])
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, far, got)
            while sent < len(data):
                await near.send_all(data[sent : sent + 5_000])
                sent += 5_000
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert got[: len(data)] == data
        assert len(got) == len(data)


async def test_waiting_to_send_takes_no_time_where_there_is_room(tls: Tls) -> None:
    async with open_pair(tls) as (near, _):
        with trio.fail_after(1):
            await near.wait_send_all_might_not_block()


async def test_before_the_handshake_nothing_is_sent_without_waiting(tls: Tls) -> None:
    near, far = make_pair(tls)
    assert near.send_nowait([b"early"]) == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.do_handshake)
        await near.wait_send_all_might_not_block()
    assert near.send_nowait([b"early"]) == 5
    assert await far.receive_some() == b"early"
    await near.aclose()
    await far.aclose()


async def test_what_left_before_the_link_broke_is_reported(tls: Tls) -> None:
    async with open_pair(tls, capacity=10**6) as (near, far):
        broken = Breaking(near._beneath, 100_000)
        near._beneath = broken
        data = random.Random(9).randbytes(500_000)
        sent = near.send_nowait([data])
        assert 0 < sent < 100_000
        with pytest.raises(trio.BrokenResourceError, match="broken now"):
            near.send_nowait([data[sent:]])
        assert await take(far, sent) == data[:sent]


class Breaking(Narrow):
    """Takes *limit* bytes and breaks."""

    def __init__(self, beneath: Transport, limit: int) -> None:
        super().__init__(beneath, lambda: 65536)
        self._left = limit

    def send_nowait(self, parts: Sequence[Any]) -> int:
        if len(parts[0]) > self._left:
            raise trio.BrokenResourceError("broken now")
        self._left -= len(parts[0])
        return self.beneath.send_nowait(parts)


async def test_breaking_does_not_send_what_was_not_reported(tls: Tls) -> None:
    near, far = memory_transport_pair(capacity=10_000)
    ends = TlsTransport(near, tls, hostname=HOST), TlsTransport(far, tls)
    await shake_hands(*ends)
    assert ends[0].send_nowait([bytes(50_000)]) == 0
    await far.receive_some(10_000)
    await far.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
        await ends[0].receive_some()
    await ends[0].aclose()
    assert await far.receive_some() == b""
    await ends[1].aclose()


# --- the end of the stream -------------------------------------------------------------------


async def test_a_stream_that_was_cut_is_told_from_one_that_ended(tls: Tls) -> None:
    async with open_pair(tls) as (near, far):
        near.send_nowait([b"all of it"])
        await near._beneath.aclose()
        assert await far.receive_some() == b"all of it"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="before its end was announced"):
                await far.receive_some()
    async with open_pair(tls) as (near, far):
        near.send_nowait([b"all of it"])
        await near.aclose()
        assert await far.receive_some() == b"all of it"
        for _ in range(2):
            assert await far.receive_some() == b""


async def test_closing_with_something_unsent_is_a_cut(tls: Tls) -> None:
    async with open_pair(tls, capacity=20_000) as (near, far):
        sent = near.send_nowait([bytes(100_000)])
        assert left_behind(near)
        await near.aclose()
        assert len(await take(far, sent)) == sent
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


async def test_closing_never_waits(tls: Tls) -> None:
    async with open_pair(tls, capacity=5_000) as (near, far):
        rest = 5_000 - 22  # the overhead of a record
        assert near.send_nowait([bytes(rest)]) == rest
        await near.aclose()
        assert len(await take(far, rest)) == rest
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


async def test_damaged_bytes_break_both_directions(tls: Tls) -> None:
    near, far = memory_transport_pair()
    ends = TlsTransport(near, tls, hostname=HOST), TlsTransport(far, tls)
    await shake_hands(*ends)
    near.send_nowait([b"\x17\x03\x03\x00\x20" + bytes(32)])
    with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
        await ends[1].receive_some()
    with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
        ends[1].send_nowait([b"x"])
    with pytest.raises(trio.BrokenResourceError, match="the peer broke TLS off"):
        await ends[0].receive_some()
    for end in ends:
        assert "broken" in repr(end)
        await end.aclose()


async def test_what_came_before_damaged_bytes_is_received(tls: Tls) -> None:
    near, far = memory_transport_pair()
    ends = TlsTransport(near, tls, hostname=HOST), TlsTransport(far, tls)
    await shake_hands(*ends)
    ends[0].send_nowait([b"good"])
    near.send_nowait([b"\x17\x03\x03\x00\x20" + bytes(32)])
    assert await ends[1].receive_some() == b"good"
    with pytest.raises(trio.BrokenResourceError, match="TLS failed"):
        await ends[1].receive_some()
    for end in ends:
        await end.aclose()


@pytest.mark.parametrize("operation", ["receive_some", "do_handshake"])
async def test_closing_wakes_who_shakes_hands(tls: Tls, operation: str) -> None:
    near, _ = make_pair(tls)

    async def use(use_it: Callable[[], Awaitable[Any]]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await use_it()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, getattr(near, operation))
        nursery.start_soon(use, near.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()
        await near.aclose()


# --- cancelling ------------------------------------------------------------------------------


class CancelAtStep(trio.abc.Instrument):
    """Cancels *scope* right before the current task is run for the *step*-th time from now."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if not self._left:
                self._scope.cancel()


async def attempt(step: int, operation: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    """Run *operation*, cancelled at its checkpoint *step*; return whether it ended, and how."""
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            return True, await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return False, None


async def test_receiving_may_be_cancelled_at_every_checkpoint(tls: Tls) -> None:
    data = random.Random(3).randbytes(3000)
    near, far = make_pair(tls, lambda: 37, capacity=100)
    got = bytearray()
    cancelled = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, data)
        for step in itertools.count(1):
            done, part = await attempt(1 + step % 7, lambda: far.receive_some(100))
            cancelled += not done
            got += part or b""
            if len(got) >= len(data):
                break
    assert got == data
    assert cancelled > 20
    await near.aclose()
    await far.aclose()


async def test_sending_may_be_cancelled_at_every_checkpoint(tls: Tls) -> None:
    near, far = make_pair(tls, lambda: 997, capacity=997)
    size = 20_000
    got = bytearray()
    whole: dict[int, bool] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain, far, got)
        for step in range(1, 200):
            block = bytes([step]) * size
            whole[step], _ = await attempt(step, functools.partial(near.send_all, block))
            if whole[step]:
                break
        await near.send_all(b"\0")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    counts = {step: got.count(step) for step in whole}
    assert got == b"".join(bytes([step]) * counts[step] for step in sorted(counts)) + b"\0"
    assert all(counts[step] == size for step in whole if whole[step])
    assert any(counts.values())
    assert len(whole) > 20
    await near.aclose()
    await far.aclose()


# --- messages of TLS itself ------------------------------------------------------------------


@asynccontextmanager
async def open_command(*arguments: str) -> AsyncIterator[trio.Process]:
    """Run an openssl command; end it with the block."""
    process = await trio.lowlevel.open_process(
        ["openssl", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.aclose()
            await process.stdout.aclose()


def files_of(tls: Tls) -> list[str]:
    return ["-cert", str(tls.certificate), "-key", str(tls.key), "-CAfile", str(tls.ca), "-tls1_3"]


async def read_until(process: trio.Process, end: str) -> str:
    """Return what *process* says, up to where *end* matches."""
    assert process.stdout is not None
    said = ""
    while not re.search(end, said):
        data = await process.stdout.receive_some()
        assert data, said
        said += data.decode(errors="replace")
    return said


@needs_openssl
async def test_the_peer_may_change_its_keys(tls: Tls) -> None:
    listener = await listen_tcp(10)
    where = listener.address.removeprefix("tcp:")
    async with open_command("s_client", "-connect", where, *files_of(tls)) as process:
        assert process.stdin is not None
        inner = Narrow(await listener.accept(), lambda: 65536)
        async with TlsTransport(inner, tls) as end:
            for i in range(3):
                await process.stdin.send_all(b"ping %d\n" % i)
                assert await end.receive_some() == b"ping %d\n" % i
                arrived = inner.arrived
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take, end, 6)
                    await process.stdin.send_all(b"K\n")
                    await arrived.wait()
                    await process.stdin.send_all(b"after\n")
                assert end.send_nowait([b"pong %d\n" % i]) == 7
                await read_until(process, f"pong {i}\n")
    await listener.aclose()


@asynccontextmanager
async def open_ticket_sender(tls: Tls) -> AsyncIterator[tuple[TlsTransport, Narrow]]:
    """Connect to a peer that sends tickets in several records and lines of text backwards.

    They arrive byte for byte.
    """
    options = ["-max_send_frag", "512", "-Verify", "1", "-rev", "-accept", "127.0.0.1:0"]
    async with open_command("s_server", *files_of(tls), *options) as process:
        port = (await read_until(process, r"ACCEPT .*:\d+\n")).strip().rpartition(":")[2]
        tcp = await connect(f"tcp:127.0.0.1:{port}")
        narrow = Narrow(tcp, lambda: 1, takes_all=True)
        async with TlsTransport(narrow, tls, hostname=HOST) as end:
            await end.do_handshake()
            yield end, narrow


async def send_line(end: Transport, line: bytes) -> None:
    """Send as the outbox does."""
    while line:
        sent = end.send_nowait([line])
        line = line[sent:]
        if not sent:
            await end.wait_send_all_might_not_block()


async def read_until_line(end: Transport, line: bytes) -> None:
    got = b""
    while not got.endswith(line):
        part = await end.receive_some()
        assert part
        got += part


@needs_openssl
async def test_sending_waits_for_the_rest_of_a_ticket(tls: Tls) -> None:
    async with open_ticket_sender(tls) as (end, narrow), trio.open_nursery() as nursery:
        nursery.start_soon(read_until_line, end, b"fed\n")
        while end.send_nowait([b"abc\n"]):
            await narrow.arrived.wait()
        await send_line(end, b"def\n")


@needs_openssl
async def test_sending_receives_the_rest_of_a_ticket_where_nobody_else_does(tls: Tls) -> None:
    async with open_ticket_sender(tls) as (end, _):
        while end.send_nowait([b"abc\n"]):
            await attempt(2, end.receive_some)
        await send_line(end, b"def\n")
        await read_until_line(end, b"fed\n")


# --- a whole link ----------------------------------------------------------------------------


@asynccontextmanager
async def open_link(tls: Tls) -> AsyncIterator[tuple[Channel, Channel]]:
    """Open a link over TCP and TLS with all handshakes; yield both of its ends."""
    key = b"k" * 32
    listener = await listen_tls("127.0.0.1:0", tls, 10)
    ends: dict[str, Channel] = {}

    async def accept(nursery: trio.Nursery) -> None:
        transport = await listener.accept()
        session, rest = await accept_channel(transport, Credentials(BOB, {ALICE: key}.get), LIMITS)
        ends["bob"] = Channel(transport, session, a_service(), LIMITS, rest)
        nursery.start_soon(ends["bob"].run)

    async with listener, trio.open_nursery() as nursery:
        async with trio.open_nursery() as opening:
            opening.start_soon(accept, nursery)
            near = await connect_tls(listener.address.removeprefix("tls:"), tls)
            credentials = Credentials(ALICE, {BOB: key}.get)
            session, rest = await connect_channel(near, credentials, LIMITS)
        alice = Channel(near, session, a_service(), LIMITS, rest)
        nursery.start_soon(alice.run)
        yield alice, ends["bob"]
        nursery.cancel_scope.cancel()


async def test_a_link_calls_over_tls(tls: Tls) -> None:
    array = np.arange(400_000)
    async with open_link(tls) as (alice, bob):
        assert await ask(alice, "echo", (1, {"a": {2}})) == (1, {"a": {2}})
        assert await ask(bob, "echo", value=5) == 5
        assert np.array_equal(await ask(alice, "echo", array), array)
        assert await ask(bob, "make_bytes", 3_000_000) == bytes(3_000_000)
        with pytest.raises(ValueError, match="no good"):
            await ask(alice, "fail", "no good")
        calls = [await start(end, "echo", bytes(i)) for i in range(200) for end in (alice, bob)]
        assert [len(await call.result()) for call in calls] == [i for i in range(200) for _ in "ab"]


async def test_a_link_streams_over_tls(tls: Tls) -> None:
    async with open_link(tls) as (alice, bob):
        sums = [0, 0]

        async def read(place: int, channel: Channel) -> None:
            call = await start(channel, "count", 300, 5_000, kind="asyncgen")
            await call.wait_started()
            assert call.flow is not None
            for expected in range(300):
                number, filling = await call.flow.receive()
                assert (number, len(filling)) == (expected, 5_000)
                sums[place] += number

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, 0, alice)
            nursery.start_soon(read, 1, bob)
        assert sums == [sum(range(300))] * 2


async def test_a_link_over_tls_ends_in_good_order(tls: Tls) -> None:
    async with open_link(tls) as (alice, bob):
        alice.outbox.close()
        await bob.lost.wait()
        assert str(bob.reason) == "the peer closed the link"


# --- the files -------------------------------------------------------------------------------


def test_a_certificate_and_its_key_belong_together(tls: Tls) -> None:
    with pytest.raises(ValueError, match="give both, or neither"):
        Tls(tls.certificate, None, tls.ca)
    with pytest.raises(ValueError, match="give both, or neither"):
        Tls(None, tls.key, tls.ca)


FILES = ["certificate", "key", "ca"]


async def test_a_file_that_is_missing_is_named(tls: Tls) -> None:
    for what in FILES:
        wrong = changed(tls, **{what: "/no/such/file"})
        expected = rf"'/no/such/file'; Tls\({what}=...\) takes"
        with pytest.raises(FileNotFoundError, match=expected):
            await listen_tls("127.0.0.1:0", wrong, 10)
        with pytest.raises(FileNotFoundError, match=expected):
            await connect_tls("127.0.0.1:1", wrong)


@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\n\xff", b"hello\n"])
def test_a_file_that_is_no_pem_is_named(tls: Tls, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(content)
    for what in FILES:
        with pytest.raises(ValueError, match=rf"wrong' is no PEM file for Tls\({what}=...\)"):
            changed(tls, **{what: path}).server_context


def test_a_damaged_file_is_named(tls: Tls, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    for what in FILES:
        lines = Path(getattr(tls, what)).read_bytes().splitlines()
        path.write_bytes(b"\n".join([lines[0], b"!" + lines[1][1:], *lines[2:]]))
        with pytest.raises(ValueError, match=r"cannot use the .*damaged'"):
            changed(tls, **{what: path}).server_context


def test_a_key_of_another_certificate_is_refused(tls: Tls) -> None:
    wrong = changed(tls, key=make_tls("theirs").key)
    with pytest.raises(ValueError, match=r"cannot use the certificate .*theirs\.key.*mismatch"):
        wrong.client_context


@needs_openssl
def test_a_key_with_a_passphrase_is_refused_without_asking(tls: Tls, tmp_path: Path) -> None:
    path = tmp_path / "locked"
    subprocess.run(
        ["openssl", "pkey", "-in", str(tls.key), "-out", path, "-aes256", "-passout", "pass:abcd"],
        check=True,
    )
    with pytest.raises(ValueError, match="has a passphrase"):
        changed(tls, key=path).server_context


def test_listening_takes_a_certificate(tls: Tls) -> None:
    with pytest.raises(ValueError, match="listening takes a certificate and its key"):
        Tls(None, None, tls.ca, mutual=False).server_context
    with pytest.raises(ValueError, match="connecting with mutual=True takes a certificate"):
        Tls(None, None, tls.ca).client_context


def test_contexts_are_made_once_and_verify(tls: Tls) -> None:
    assert tls.server_context is tls.server_context
    assert tls.client_context is tls.client_context
    for context in (tls.server_context, tls.client_context):
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert len(context.get_ca_certs()) == 1
    assert tls.server_context.num_tickets == 0
    assert tls.client_context.check_hostname


def test_a_repr_shows_no_key(tls: Tls) -> None:
    _ = tls.server_context
    assert str(tls.certificate) in repr(tls)
    assert "key" not in repr(tls)


# --- places ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_each_kind_of_host_can_be_listened_at(tls: Tls, host: str) -> None:
    listener = await listen_tls(f"{host}:0", tls, 10)
    assert re.fullmatch(rf"tls:{re.escape(host)}:[1-9]\d*", listener.address)
    assert listener.address in repr(listener)
    near = await connect_tls(listener.address.removeprefix("tls:"), tls)
    assert await first_words(near, await listener.accept()) == {}
    await listener.aclose()


async def test_a_server_can_come_back_to_its_port(tls: Tls) -> None:
    first = await listen_tls("127.0.0.1:0", tls, 10)
    place = first.address.removeprefix("tls:")
    near = await connect_tls(place, tls)
    far = await first.accept()
    await first.aclose()
    await far.aclose()
    await near.aclose()
    second = await listen_tls(place, tls, 10)
    with pytest.raises(OSError, match="in use"):
        await listen_tls(place, tls, 10)
    await second.aclose()


async def test_a_place_that_is_none_is_a_value_error(tls: Tls) -> None:
    places = ["", ":1", "localhost", "localhost:", "localhost:x", "::1:80", "[::1]", "[h]:1"]
    for place in [*places, "h:-1", "h:65536"]:
        with pytest.raises(ValueError, match=r"is no place: write host:port"):
            await listen_tls(place, tls, 10)
        with pytest.raises(ValueError, match=r"is no place: write host:port"):
            await connect_tls(place, tls)


async def test_connecting_to_nobody_is_an_os_error(tls: Tls) -> None:
    listener = await listen_tls("127.0.0.1:0", tls, 10)
    await listener.aclose()
    with pytest.raises(OSError, match="refused"):
        await connect_tls(listener.address.removeprefix("tls:"), tls)
    with pytest.raises(ValueError, match="0 is no port"):
        await connect_tls("127.0.0.1:0", tls)
