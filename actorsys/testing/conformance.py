"""What every transport and listener must do, for those who write one.

Ask everything at once, or each check by its name, as a test of its own::

    await check_transport(make_pair)
    await check_listener(open_place)

    @pytest.mark.parametrize("name", TRANSPORT_CHECKS)
    async def test_my_transport(name):
        await TRANSPORT_CHECKS[name](Subject(make_pair))

Whatever is not so raises `AssertionError`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio
from trio.testing import assert_checkpoints, check_two_way_stream, wait_all_tasks_blocked

from ..transport import Listener, ReceiveInterrupted, Transport

T = TypeVar("T")
MakePair = Callable[[], Awaitable[tuple[Transport, Transport]]]
"""Makes a connection and returns both ends of it."""

_BIG_BYTES = 16 * 2**20  # more than any transport takes without a reader
_CHUNK_BYTES = 2**16
_END_WITHIN_SECONDS = 1.0
_PATIENCE_SECONDS = 10.0  # a check takes a fraction of a second


@dataclass
class Subject:
    """A transport to be checked.

    *make_clogged* makes a pair of which neither end takes more before the other has read; unless
    given, it is made by sending. With *in_pieces* a transport may take and give less than it could
    at once, but always something.
    """

    make_pair: MakePair
    make_clogged: MakePair | None = None
    in_pieces: bool = False

    async def clogged_pair(self) -> tuple[Transport, Transport]:
        """Return both ends of a connection that takes nothing more."""
        if self.make_clogged is not None:
            return await self.make_clogged()
        near, far = await self.make_pair()
        _fill(near)
        _fill(far)
        return near, far

    @asynccontextmanager
    async def open_pair(
        self, *, is_clogged: bool = False
    ) -> AsyncIterator[tuple[Transport, Transport]]:
        """Open a connection; both ends are closed when the block ends."""
        near, far = await (self.clogged_pair() if is_clogged else self.make_pair())
        try:
            yield near, far
        finally:
            await trio.aclose_forcefully(near)
            await trio.aclose_forcefully(far)

    def is_enough(self, count: int, wanted: int) -> bool:
        """Tell whether *count* is what may be taken or given of *wanted* bytes at once."""
        return 0 < count <= wanted if self.in_pieces else count == wanted


@dataclass
class Place:
    """A listener, and how to connect to it."""

    listener: Listener
    connect: Callable[[], Awaitable[Transport]]

    async def pair(self) -> tuple[Transport, Transport]:
        """Return both ends of a new connection, ready to be used."""
        near = await self.connect()
        return near, await self.listener.accept()


OpenPlace = Callable[[], Awaitable[Place]]
"""Opens a listener that nobody has used yet."""

TransportCheck = Callable[[Subject], Awaitable[None]]
ListenerCheck = Callable[[Place], Awaitable[None]]

TRANSPORT_CHECKS: dict[str, TransportCheck] = {}
"""What is asked of a transport, by name."""

LISTENER_CHECKS: dict[str, ListenerCheck] = {}
"""What is asked of a listener, by name."""


async def check_transport(
    make_pair: MakePair, make_clogged: MakePair | None = None, *, in_pieces: bool = False
) -> None:
    """Check that the ends that *make_pair* returns are those of a proper transport.

    *make_clogged* and *in_pieces* are those of a `Subject`.

    Raises:
      AssertionError: they are not; a note names the check.
    """
    for check in TRANSPORT_CHECKS.values():
        await check(Subject(make_pair, make_clogged, in_pieces))


async def check_listener(open_place: OpenPlace) -> None:
    """Check that what *open_place* opens has a proper listener.

    Raises:
      AssertionError: it has not; a note names the check.
    """
    for check in LISTENER_CHECKS.values():
        place = await open_place()
        try:
            await check(place)
        finally:
            await place.listener.aclose()


def _transport_check(check: TransportCheck) -> TransportCheck:
    TRANSPORT_CHECKS[check.__name__] = _bounded(check)
    return check


def _listener_check(check: ListenerCheck) -> ListenerCheck:
    LISTENER_CHECKS[check.__name__] = _bounded(check)
    return check


def _bounded(check: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
    """Have *check* fail where it would hang, and say its name whenever it fails."""

    @functools.wraps(check)
    async def check_within_bounds(subject: T) -> None:
        try:
            with trio.move_on_after(_PATIENCE_SECONDS) as patience:
                await check(subject)
            assert not patience.cancelled_caught, f"it hangs for {_PATIENCE_SECONDS:g} s"
        except Exception as error:
            error.add_note(f"in the check {check.__name__!r}")
            raise

    return check_within_bounds


@contextmanager
def _raises(*expected: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except expected:
        return
    raise AssertionError(f"not raised: {' or '.join(kind.__name__ for kind in expected)}")


def _fill(transport: Transport) -> None:
    """Send until the transport takes no more."""
    chunk = bytes(_CHUNK_BYTES)
    total = 0
    while sent := transport.send_nowait([chunk]):
        total += sent
        assert total < _BIG_BYTES, f"it has taken {total} bytes, and nobody reads them"


async def _receive_for_ever(transport: Transport) -> None:
    while await transport.receive_some():
        pass


async def _drain(transport: Transport, count: int) -> bytes:
    """Receive exactly *count* bytes."""
    data = bytearray()
    while len(data) < count:
        part = await transport.receive_some(count - len(data))
        assert part, f"the stream ended after {len(data)} bytes instead of {count}"
        data += part
    return bytes(data)


# --- trio's own suite ------------------------------------------------------------------------


@_transport_check
async def it_is_a_two_way_stream(subject: Subject) -> None:
    """Pass `trio.testing.check_two_way_stream`."""
    await check_two_way_stream(subject.make_pair, subject.clogged_pair)


# --- send_nowait -----------------------------------------------------------------------------


@_transport_check
async def parts_arrive_in_order(subject: Subject) -> None:
    """Send several parts at once, of every kind of memory, an empty one included."""
    async with subject.open_pair() as (near, far):
        sent = near.send_nowait([b"one ", bytearray(b"two "), memoryview(b"three"), b""])
        assert subject.is_enough(sent, 13), f"took {sent} of 13 bytes"
        await near.send_all(b"one two three"[sent:])
        assert await _drain(far, 13) == b"one two three"


@_transport_check
async def many_parts_may_take_several_calls(subject: Subject) -> None:
    """Give a transport more parts at once than a kernel takes."""
    async with subject.open_pair() as (near, far):
        parts = [bytes([i % 256]) for i in range(2000)]
        sent = near.send_nowait(parts)
        assert 0 < sent <= 2000
        assert await _drain(far, sent) == b"".join(parts[:sent])


@_transport_check
async def what_does_not_fit_is_not_sent(subject: Subject) -> None:
    """Give a transport more than it can take: what it says it took is what arrives."""
    async with subject.open_pair() as (near, far):
        data = os.urandom(_CHUNK_BYTES) * (_BIG_BYTES // _CHUNK_BYTES)
        sent = near.send_nowait([data])
        assert 0 < sent < _BIG_BYTES
        assert await _drain(far, sent) == data[:sent]


@_transport_check
async def a_full_transport_takes_nothing(subject: Subject) -> None:
    """Fill a transport; it takes more once its peer has read, and says when."""
    async with subject.open_pair(is_clogged=True) as (near, far):
        assert near.send_nowait([b"x"]) == 0
        assert near.send_nowait([b"x", b"y"]) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_receive_for_ever, far)
            await near.wait_send_all_might_not_block()
            assert near.send_nowait([b"x"]) == 1
            nursery.cancel_scope.cancel()


@_transport_check
async def a_waiting_receiver_is_woken_by_send_nowait(subject: Subject) -> None:
    """Wait for bytes first, then send them without waiting."""
    got: list[bytes] = []
    async with subject.open_pair() as (near, far):

        async def receive() -> None:
            got.append(bytes(await far.receive_some()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            near.send_nowait([b"x"])
    assert got == [b"x"]


@_transport_check
async def sending_to_a_closed_peer_is_broken(subject: Subject) -> None:
    """Raise `trio.BrokenResourceError`, sooner or later, once the peer has closed its end."""
    async with subject.open_pair() as (near, far):
        await far.aclose()
        with _raises(trio.BrokenResourceError):
            # A kernel may take the first bytes before it has heard of the end.
            while True:
                near.send_nowait([bytes(1000)])
                await trio.lowlevel.checkpoint()


@_transport_check
async def sending_a_part_after_closing_is_closed(subject: Subject) -> None:
    """Raise `trio.ClosedResourceError` for one part."""
    async with subject.open_pair() as (near, _):
        await near.aclose()
        with _raises(trio.ClosedResourceError):
            near.send_nowait([b"x"])


@_transport_check
async def sending_parts_after_closing_is_closed(subject: Subject) -> None:
    """Raise `trio.ClosedResourceError` for several parts."""
    async with subject.open_pair() as (near, _):
        await near.aclose()
        with _raises(trio.ClosedResourceError):
            near.send_nowait([b"x", b"y"])


# --- receiving -------------------------------------------------------------------------------


@_transport_check
async def bytes_are_received_into_memory(subject: Subject) -> None:
    """Write into the memory that was given, from its start, and touch no more of it."""
    async with subject.open_pair() as (near, far):
        await near.send_all(b"hello")
        memory = bytearray(b"." * 10)
        count = await far.receive_into(memoryview(memory)[2:])
        assert subject.is_enough(count, 5), f"received {count} of 5 bytes"
        assert memory == b".." + b"hello"[:count] + b"." * (8 - count)


@_transport_check
async def no_more_is_received_than_there_is_room(subject: Subject) -> None:
    """Leave the rest for the next call."""
    async with subject.open_pair() as (near, far):
        await near.send_all(b"hello")
        memory = bytearray(3)
        with assert_checkpoints():
            count = await far.receive_into(memoryview(memory))
        assert subject.is_enough(count, 3), f"received {count} of 3 bytes"
        assert memory[:count] == b"hello"[:count]
        assert await _drain(far, 5 - count) == b"hello"[count:]


@_transport_check
async def the_end_of_the_stream_is_zero_bytes(subject: Subject) -> None:
    """Tell of the end after all bytes, and again when asked again."""
    async with subject.open_pair() as (near, far):
        await near.send_all(b"x")
        await near.aclose()
        memory = memoryview(bytearray(10))
        assert await far.receive_into(memory) == 1
        assert await far.receive_into(memory) == 0
        assert await far.receive_some() == b""


@_transport_check
async def receiving_after_closing_is_closed(subject: Subject) -> None:
    """Raise `trio.ClosedResourceError`."""
    async with subject.open_pair() as (near, _):
        await near.aclose()
        with _raises(trio.ClosedResourceError):
            await near.receive_into(memoryview(bytearray(1)))


@_transport_check
async def closing_wakes_who_receives(subject: Subject) -> None:
    """Raise `trio.ClosedResourceError` in a task that was receiving already."""
    async with subject.open_pair() as (near, _):

        async def receive() -> None:
            with _raises(trio.ClosedResourceError):
                await near.receive_into(memoryview(bytearray(1)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await near.aclose()


@_transport_check
async def a_cancelled_receive_loses_nothing(subject: Subject) -> None:
    """Cancel a task that receives; what comes afterwards is whole."""
    async with subject.open_pair() as (near, far):
        memory = memoryview(bytearray(5))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.receive_into, memory)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await near.send_all(b"hello")
        count = await far.receive_into(memory)
        assert subject.is_enough(count, 5), f"received {count} of 5 bytes"
        assert bytes(memory[:count]) + await _drain(far, 5 - count) == b"hello"


@_transport_check
async def an_interrupted_receive_loses_nothing(subject: Subject) -> None:
    """Raise `ReceiveInterrupted` in a task that receives, where that is promised."""
    async with subject.open_pair() as (near, far):
        if not far.can_interrupt:
            return

        async def be_interrupted() -> None:
            with _raises(ReceiveInterrupted):
                await far.receive_into(memoryview(bytearray(5)))

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_interrupted)
                await wait_all_tasks_blocked()
                far.interrupt()
        await near.send_all(b"hello")
        far.interrupt()
        assert await _drain(far, 5) == b"hello", "it is for who receives, and nobody did"


@_transport_check
async def a_cancellation_that_comes_with_the_bytes_goes_first(subject: Subject) -> None:
    """Let the deadline of a task that receives pass when bytes have come and it has not run yet."""
    async with subject.open_pair() as (near, far):
        if not far.can_interrupt:
            return
        with trio.CancelScope() as patience:

            async def send_at_the_deadline() -> None:
                await wait_all_tasks_blocked()
                near.send_nowait([b"x"])
                patience.deadline = trio.current_time()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_at_the_deadline)
                await far.receive_some()
        assert patience.cancelled_caught, "it has taken bytes"
        assert await _drain(far, 1) == b"x"


@_transport_check
async def an_interrupted_receive_does_not_end_a_send(subject: Subject) -> None:
    """Let a task that waits for room go on waiting while a task that receives is interrupted."""
    async with subject.open_pair(is_clogged=True) as (near, far):
        if not near.can_interrupt:
            return
        _fill(far)
        may_send = trio.Event()

        async def wait_for_room() -> None:
            await near.wait_send_all_might_not_block()
            may_send.set()

        async def receive_until_interrupted() -> None:
            with _raises(ReceiveInterrupted):
                await _receive_for_ever(near)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_room)
            nursery.start_soon(receive_until_interrupted)
            await wait_all_tasks_blocked()
            near.interrupt()
            await wait_all_tasks_blocked()
            assert not may_send.is_set(), "there is no room"
            nursery.start_soon(_receive_for_ever, far)
            await may_send.wait()
            nursery.cancel_scope.cancel()


@_transport_check
async def closing_is_no_interruption(subject: Subject) -> None:
    """Raise `trio.ClosedResourceError` though the receiving task was interrupted before."""
    async with subject.open_pair() as (near, _):
        if not near.can_interrupt:
            return

        async def receive() -> None:
            with _raises(trio.ClosedResourceError):
                await near.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            near.interrupt()
            await near.aclose()
            near.interrupt()


@_transport_check
async def receiving_no_byte_is_a_mistake(subject: Subject) -> None:
    """Raise `ValueError`."""
    async with subject.open_pair() as (near, _):
        with _raises(ValueError):
            await near.receive_some(0)


@_transport_check
async def receiving_less_than_nothing_is_a_mistake(subject: Subject) -> None:
    """Raise `ValueError`."""
    async with subject.open_pair() as (near, _):
        with _raises(ValueError):
            await near.receive_some(-1)


@_transport_check
async def much_data_passes_both_ways_at_once(subject: Subject) -> None:
    """Send more than fits in both directions at the same time, and receive it."""
    data = os.urandom(2**20)
    got: list[bytes] = []
    async with subject.open_pair() as ends:

        async def receive(transport: Transport) -> None:
            got.append(await _drain(transport, len(data)))

        async with trio.open_nursery() as nursery:
            for transport in ends:
                nursery.start_soon(transport.send_all, data)
                nursery.start_soon(receive, transport)
    assert got == [data, data]


@_transport_check
async def a_repr_says_whether_it_is_open(subject: Subject) -> None:
    """Name the class, and tell an open transport from a closed one."""
    async with subject.open_pair() as (near, _):
        before = repr(near)
        await near.aclose()
        assert "Transport" in before
        assert repr(near) != before


# --- listeners -------------------------------------------------------------------------------


@_listener_check
async def each_connection_is_its_own(place: Place) -> None:
    """Keep what is sent on two connections apart."""
    first_near, first_far = await place.pair()
    second_near, second_far = await place.pair()
    await first_near.send_all(b"first")
    await second_far.send_all(b"second")
    assert await _drain(first_far, 5) == b"first"
    assert await _drain(second_near, 6) == b"second"
    for transport in (first_near, first_far, second_near, second_far):
        await transport.aclose()


@_listener_check
async def accepting_waits_for_a_connection(place: Place) -> None:
    """Accept before anybody has connected."""
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


@_listener_check
async def a_connection_outlives_its_listener(place: Place) -> None:
    """Go on with a connection after its listener was closed."""
    near, far = await place.pair()
    await place.listener.aclose()
    await near.send_all(b"still here")
    assert await _drain(far, 10) == b"still here"
    await near.aclose()
    await far.aclose()


@_listener_check
async def accepting_at_a_closed_listener_is_closed(place: Place) -> None:
    """Raise `trio.ClosedResourceError`; close it twice before."""
    await place.listener.aclose()
    await place.listener.aclose()
    with _raises(trio.ClosedResourceError):
        await place.listener.accept()


@_listener_check
async def closing_a_listener_wakes_who_accepts(place: Place) -> None:
    """Raise `trio.ClosedResourceError` in a task that was accepting already."""

    async def accept() -> None:
        with _raises(trio.ClosedResourceError):
            await place.listener.accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        await place.listener.aclose()


@_listener_check
async def nobody_connects_to_a_closed_listener(place: Place) -> None:
    """Refuse a connection."""
    await place.listener.aclose()
    with _raises(OSError, trio.ClosedResourceError, trio.BrokenResourceError):
        await place.connect()


@_listener_check
async def a_peer_that_was_never_accepted_learns_of_the_end(place: Place) -> None:
    """End a connection that was still waiting to be accepted."""
    near = await place.connect()
    await place.listener.aclose()
    end: bytes | None = None
    with trio.move_on_after(_END_WITHIN_SECONDS):
        try:
            end = bytes(await near.receive_some())
        except trio.BrokenResourceError:
            end = b""
    await near.aclose()
    assert end == b"", "a peer that was never accepted is still waiting"
