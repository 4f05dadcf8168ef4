"""Faults happen when and where they were asked for, and a connection without them is sound."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actorsys.channel import Channel, Exposure, Service
from actorsys.channel.dispatch import NextJob
from actorsys.limits import Limits
from actorsys.testing import Direction, Faults, FaultyTransport
from actorsys.testing.conformance import TRANSPORT_CHECKS, Subject
from actorsys.transport import Transport, connect, listen, memory_transport_pair
from actorsys.wire import Session

Ends = tuple[FaultyTransport, Transport, Faults]


@asynccontextmanager
async def open_ends(chance: random.Random, *, capacity: int = 65536) -> AsyncIterator[Ends]:
    """Open a connection whose near end is faulty."""
    inner, far = memory_transport_pair(capacity)
    faults = Faults(chance)
    near = FaultyTransport(inner, faults)
    yield near, far, faults
    await trio.aclose_forcefully(near)
    await trio.aclose_forcefully(far)


async def receive(transport: Transport, count: int) -> bytes:
    """Receive exactly *count* bytes."""
    data = b""
    while len(data) < count:
        part = await transport.receive_some(count - len(data))
        assert part, f"the stream ended after {data!r}"
        data += part
    return data


async def receives_nothing(transport: Transport) -> bool:
    """Tell whether a receiver waits in vain."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.receive_some)
            await wait_all_tasks_blocked()
            scope.cancel()
    return scope.cancelled_caught


# --- sound, and in pieces --------------------------------------------------------------------


async def make_pair(kind: str) -> tuple[Transport, Transport]:
    if kind == "memory":
        return memory_transport_pair()
    listener = await listen(kind, 10)
    near = await connect(listener.address)
    far = await listener.accept()
    await listener.aclose()
    return near, far


@pytest.mark.parametrize("name", TRANSPORT_CHECKS)
@pytest.mark.parametrize("is_split", [False, True])
@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_it_is_a_transport(
    kind: str, is_split: bool, name: str, chance: random.Random
) -> None:
    async def wrap(ends: tuple[Transport, Transport]) -> tuple[Transport, Transport]:
        faults = Faults(chance)
        if is_split:
            faults.split()
        return FaultyTransport(ends[0], faults), FaultyTransport(ends[1], faults)

    async def make() -> tuple[Transport, Transport]:
        return await wrap(await make_pair(kind))

    async def make_clogged() -> tuple[Transport, Transport]:
        ends = await make_pair(kind)
        for end in ends:
            while end.send_nowait([bytes(65536)]):
                pass
        return await wrap(ends)

    await TRANSPORT_CHECKS[name](Subject(make, make_clogged, in_pieces=is_split))


async def test_split_bytes_come_in_small_pieces_of_every_length(chance: random.Random) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.incoming.split()
        lengths = []
        for _ in range(100):
            await far.send_all(bytes(5000))
            left = 5000
            while left:
                lengths.append(len(await near.receive_some()))
                left -= lengths[-1]
        assert min(lengths) == 1
        assert max(lengths) > 1000
        faults.outgoing.split()
        taken = [near.send_nowait([b"a", bytes(5000)]) for _ in range(10)]
        assert min(taken) >= 1
        assert sum(taken) < 50010
        faults.heal()
        assert near.send_nowait([bytes(5000)]) == 5000


async def test_the_same_seed_makes_the_same_pieces() -> None:
    found = []
    for _ in range(2):
        async with open_ends(random.Random(7)) as (near, _, faults):
            faults.split()
            found.append([near.send_nowait([bytes(100)]) for _ in range(50)])
    assert found[0] == found[1]
    assert len(set(found[0])) > 5


# --- cut -------------------------------------------------------------------------------------


async def test_a_cut_is_broken_here_and_the_end_over_there(chance: random.Random) -> None:
    async with open_ends(chance) as (near, far, faults):

        async def wait_for_the_cut() -> None:
            with pytest.raises(trio.BrokenResourceError, match="cut"):
                await near.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_the_cut)
            await wait_all_tasks_blocked()
            faults.cut()
        assert await far.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            near.send_nowait([b"x"])
        with pytest.raises(trio.BrokenResourceError):
            await far.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await near.wait_send_all_might_not_block()
        await near.aclose()
        with pytest.raises(trio.ClosedResourceError):
            near.send_nowait([b"x"])


async def test_a_cut_wakes_who_sends(chance: random.Random) -> None:
    async with open_ends(chance, capacity=10) as (near, _, faults):

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError, match="cut"):
                await near.send_all(bytes(100))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            faults.cut()


@pytest.mark.parametrize("count", [1, 5, 100])
async def test_a_cut_after_so_many_bytes_lets_as_many_through(
    count: int, chance: random.Random
) -> None:
    sent = bytes(range(200))
    async with open_ends(chance) as (near, far, faults):
        faults.outgoing.cut(after=count)
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(sent)
        assert await receive(far, count) == sent[:count]
        assert await far.receive_some() == b""
    async with open_ends(chance) as (near, far, faults):
        faults.incoming.cut(after=count)
        await far.send_all(sent)
        assert await receive(near, count) == sent[:count]
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()


class BeforeSleep(trio.abc.Instrument):
    """Does something between two passes of the scheduler, when all tasks wait."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self._deed = deed

    def before_io_wait(self, timeout: float) -> None:
        if timeout:
            trio.lowlevel.remove_instrument(self)
            self._deed()


async def test_faults_can_come_and_go_between_two_passes_of_the_scheduler(
    chance: random.Random,
) -> None:
    async with open_ends(chance) as (near, far, faults):
        with trio.fail_after(2):
            faults.stall()
            await far.send_all(b"x")
            trio.lowlevel.add_instrument(BeforeSleep(faults.heal))
            assert await near.receive_some() == b"x"
            trio.lowlevel.add_instrument(BeforeSleep(faults.cut))
            with pytest.raises(trio.BrokenResourceError, match="cut"):
                await near.receive_some()
            assert await far.receive_some() == b""


# --- delay -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["outgoing", "incoming"])
async def test_delayed_bytes_take_so_long_each(
    way: str, chance: random.Random, autojump_clock: MockClock
) -> None:
    async with open_ends(chance) as (near, far, faults):
        direction: Direction = getattr(faults, way)
        direction.delay(10)
        sender, receiver = (near, far) if way == "outgoing" else (far, near)
        began = trio.current_time()
        arrivals = []

        async def read() -> None:
            for expected in (b"a", b"b", b"c"):
                assert await receive(receiver, 1) == expected
                arrivals.append(round(trio.current_time() - began, 3))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for part in (b"a", b"b", b"c"):
                await sender.send_all(part)
                await trio.sleep(2)
        assert arrivals == [10, 12, 14]


async def test_random_delays_keep_the_order(
    chance: random.Random, autojump_clock: MockClock
) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.delay(0, 5)
        data = chance.randbytes(300)

        async def send(transport: Transport) -> None:
            for i in range(300):
                await transport.send_all(data[i : i + 1])
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, near)
            nursery.start_soon(send, far)
            assert await receive(far, 300) == data
            assert await receive(near, 300) == data


async def test_what_was_sent_before_closing_still_arrives_after_its_delay(
    chance: random.Random, autojump_clock: MockClock
) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.outgoing.delay(3)
        await near.send_all(b"last words")
        await near.aclose()
        began = trio.current_time()
        assert await receive(far, 10) == b"last words"
        assert await far.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(3)


async def test_the_end_is_delayed_too(chance: random.Random, autojump_clock: MockClock) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.incoming.delay(3)
        await far.aclose()
        began = trio.current_time()
        assert await near.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(3)


async def test_a_delay_has_only_so_much_under_way(
    chance: random.Random, autojump_clock: MockClock
) -> None:
    data = chance.randbytes(2**20)
    async with open_ends(chance, capacity=2**21) as (near, far, faults):
        faults.delay(1)
        sent = near.send_nowait([data])
        assert 0 < sent < 2**19
        assert near.send_nowait([b"x"]) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, data[sent:])
            assert await receive(far, len(data)) == data


async def test_a_cut_loses_what_is_under_way(
    chance: random.Random, autojump_clock: MockClock
) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.outgoing.delay(3)
        await near.send_all(b"lost")
        await trio.sleep(1)
        faults.cut()
        assert await far.receive_some() == b""


async def test_when_a_delay_ends_the_order_is_kept(
    chance: random.Random, autojump_clock: MockClock
) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.outgoing.delay(3)
        await near.send_all(b"slow ")
        faults.heal()
        await near.send_all(b"fast")
        assert await receive(far, 9) == b"slow fast"


# --- stall and swallow -----------------------------------------------------------------------


async def test_a_stalled_direction_takes_nothing_and_loses_nothing(chance: random.Random) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.stall()
        await far.send_all(b"kept")
        assert near.send_nowait([b"x"]) == 0
        assert await receives_nothing(near)

        async def write() -> None:
            await near.wait_send_all_might_not_block()
            await near.send_all(b"written")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            faults.heal()
            assert await receive(near, 4) == b"kept"
            assert await receive(far, 7) == b"written"


async def test_a_stall_holds_up_who_receives_already(chance: random.Random) -> None:
    async with open_ends(chance) as (near, far, faults):
        got: list[bytes] = []

        async def read() -> None:
            got.append(await near.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            faults.incoming.stall()
            await far.send_all(b"kept")
            await wait_all_tasks_blocked()
            assert got == []
            faults.heal()
        assert got == [b"kept"]


async def test_a_stall_keeps_what_has_come_already(chance: random.Random) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.split()
        await far.send_all(b"0123456789")
        await near.receive_some(1)
        faults.stall()
        assert await receives_nothing(near)
        faults.heal()
        assert await receive(near, 9) == b"123456789"


async def test_a_black_hole_that_is_healed_leaves_a_gap(chance: random.Random) -> None:
    async with open_ends(chance) as (near, far, faults):
        faults.swallow()
        for sender, receiver in ((near, far), (far, near)):
            await sender.send_all(b"lost")
            assert await receives_nothing(receiver)
        faults.heal()
        for sender, receiver in ((near, far), (far, near)):
            await sender.send_all(b"found")
            assert await receive(receiver, 5) == b"found"


async def test_a_black_hole_takes_all_and_says_nothing(chance: random.Random) -> None:
    async with open_ends(chance, capacity=10) as (near, far, faults):
        faults.swallow()
        await near.send_all(bytes(1000))
        assert near.send_nowait([b"12", b"3"]) == 3
        await near.wait_send_all_might_not_block()
        assert await receives_nothing(far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.receive_some)
            await far.send_all(bytes(1000))
            await far.aclose()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await near.send_all(b"the peer is gone, and nobody says so")


# --- under a link ----------------------------------------------------------------------------


async def refuse(next_job: NextJob) -> None:
    assert await next_job() is None, "nobody calls anything here"


async def test_a_link_over_a_black_hole_is_given_up(
    chance: random.Random, autojump_clock: MockClock
) -> None:
    limits = Limits()
    async with open_ends(chance) as (near, far, faults):
        links = []
        async with trio.open_nursery() as nursery:
            for transport, own, peer in ((near, "ann", "bob"), (far, "bob", "ann")):
                own_uid, peer_uid = (own, f"{own}-1"), (peer, f"{peer}-1")
                session = Session(
                    own_uid,
                    peer_uid,
                    own == "ann",
                    limits.max_message_bytes,
                    limits.stream_window_bytes,
                    frozenset(),
                )
                service = Service(Exposure(), refuse, {})
                links.append(Channel(transport, session, service, limits, is_remote=True))
                nursery.start_soon(links[-1].run)
            await trio.sleep(60)
            assert [link.is_open for link in links] == [True, True]
            faults.swallow()
            began = trio.current_time()
            for link in links:
                await link.lost.wait()
            assert 4 <= trio.current_time() - began <= 6
            assert "silent" in str(links[0].reason)
            nursery.cancel_scope.cancel()


# --- steering --------------------------------------------------------------------------------


MISTAKES: list[Callable[[Faults], object]] = [
    lambda faults: faults.outgoing.cut(after=-1),
    lambda faults: faults.delay(-1),
    lambda faults: faults.delay(2, 1),
    lambda faults: faults.delay(0, float("inf")),
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_makes_no_sense_is_a_value_error(mistake: Callable[[Faults], object]) -> None:
    with pytest.raises(ValueError, match=r"is from|comes after"):
        mistake(Faults(random.Random(0)))


async def test_several_connections_can_fail_together(chance: random.Random) -> None:
    faults = Faults(chance)
    pairs = [memory_transport_pair() for _ in range(3)]
    near = [FaultyTransport(inner, faults) for inner, _ in pairs]
    faults.cut()
    for _, far in pairs:
        assert await far.receive_some() == b""
    for transport in near:
        with pytest.raises(trio.BrokenResourceError):
            await transport.receive_some()


def test_a_repr_says_what_is_wrong(chance: random.Random) -> None:
    faults = Faults(chance)
    assert "sound" in repr(faults)
    faults.outgoing.stall()
    faults.incoming.delay(1)
    faults.incoming.cut(after=7)
    assert "stalled" in repr(faults.outgoing)
    assert "delayed by 1 to 1 s" in repr(faults.incoming)
    assert "7 bytes" in repr(faults)
