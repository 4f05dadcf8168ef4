"""The turn to read: it goes to who waits, comes back, and nothing is lost on its way."""

from __future__ import annotations

import contextvars
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from channel_helpers import BOB, LIMITS, a_service, a_session, ask, open_pair, start
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Channel
from actorsys.channel.remote_errors import pack_cancelled
from actorsys.channel.waiters import Waiters
from actorsys.errors import ActorDied, ActorUnavailable
from actorsys.transport import ReceiveInterrupted, SocketTransport, connect, listen

WITHIN_SECONDS = 5


@asynccontextmanager
async def open_eager() -> AsyncIterator[tuple[Channel, Channel]]:
    """Open a link whose near end has just been called often: whoever waits next there reads."""
    async with open_pair() as (alice, bob):
        await make_eager(alice)
        yield alice, bob


async def make_eager(channel: Channel) -> None:
    for _ in range(3):
        await ask(channel, "echo", 1)


def whose(channel: Channel) -> str:
    return repr(channel.reader).partition("the turn is with ")[2].rstrip(">")


OWN, TAKEN = "the link's own task", "a task that waits"


Wait = Callable[[], Awaitable[object]]


@asynccontextmanager
async def reading(channel: Channel, wait: Wait | None = None) -> AsyncIterator[trio.CancelScope]:
    """Have a task read because it waits, for ever unless told for what; cancel it to end that."""
    scope = trio.CancelScope()

    async def read() -> None:
        with scope:
            await make_eager(channel)
            await (wait() if wait is not None else ask(channel, "never"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert whose(channel) == TAKEN
        yield scope
        if wait is None:
            nursery.cancel_scope.cancel()


# --- whose turn it is ------------------------------------------------------------------------


async def test_it_is_with_the_link_until_somebody_comes_back_for_more() -> None:
    async with open_pair() as (alice, _):
        await wait_all_tasks_blocked()
        assert whose(alice) == OWN
        await ask(alice, "echo", 1)
        await wait_all_tasks_blocked()
        assert whose(alice) == OWN


async def test_who_comes_back_at_once_reads() -> None:
    async with open_pair() as (alice, _), reading(alice):
        assert whose(alice) == TAKEN


async def test_it_comes_back_to_the_link_when_nobody_wants_it() -> None:
    async with open_eager() as (alice, bob):
        with trio.fail_after(WITHIN_SECONDS):
            while whose(alice) != OWN:
                await trio.lowlevel.checkpoint()
            assert await ask(bob, "echo", "a call of the peer") == "a call of the peer"


async def test_it_comes_back_though_others_keep_the_scheduler_busy() -> None:
    async def be_busy() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async with open_eager() as (_, bob), trio.open_nursery() as nursery:
        nursery.start_soon(be_busy)
        with trio.fail_after(WITHIN_SECONDS):
            assert await ask(bob, "echo", 1) == 1
        nursery.cancel_scope.cancel()


async def test_who_only_polls_does_not_keep_it() -> None:
    async with open_pair() as (alice, bob), trio.open_nursery() as nursery:
        waiters = Waiters()
        is_polling = trio.Event()

        async def poll() -> None:
            await make_eager(alice)
            is_polling.set()
            while True:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await alice.reader.wait(waiters)

        nursery.start_soon(poll)
        await is_polling.wait()
        with trio.fail_after(WITHIN_SECONDS):
            assert await ask(bob, "echo", 1) == 1
        nursery.cancel_scope.cancel()


async def test_it_comes_back_before_a_clock_jumps(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as (alice, bob), trio.open_nursery() as nursery:
        late = await start(alice, "never")
        late.forget()
        sent = trio.Event()
        cid = ""

        async def wait() -> None:
            nonlocal cid
            await make_eager(alice)
            call = await start(alice, "never")
            cid = call.cid
            sent.set()
            with trio.fail_after(1000):
                assert await call.result() == 5

        nursery.start_soon(wait)
        await sent.wait()
        await wait_all_tasks_blocked()
        bob.send({"functype": "asyncfunc", "cid": late.cid})  # wakes nobody
        await trio.lowlevel.checkpoint()
        bob.send({"functype": "asyncfunc", "cid": cid})
        bob.send({"return": 5, "cid": cid})


async def test_who_reads_for_others_lets_them_read() -> None:
    async with open_pair() as (alice, _), reading(alice):
        for number in range(5):
            with trio.fail_after(WITHIN_SECONDS):
                assert await ask(alice, "echo", number) == number


async def test_a_transport_that_cannot_interrupt_is_read_by_the_link_alone() -> None:
    async with open_pair() as (alice, _):
        alice._transport.can_interrupt = False
        await make_eager(alice)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, alice, "never")
            await wait_all_tasks_blocked()
            assert whose(alice) == OWN, "a turn is never offered"
            nursery.cancel_scope.cancel()


async def test_a_loop_over_a_stream_gets_every_item_whoever_reads() -> None:
    async with open_eager() as (alice, _):
        call = await start(alice, "parrot", kind="context")
        await call.wait_started()
        assert call.flow is not None
        for number in range(50):
            await call.flow.send(number)
            assert await call.flow.receive() == number
        call.flow.stop()
        with trio.fail_after(WITHIN_SECONDS):
            assert await call.result() == 50


# --- what ends the reading -------------------------------------------------------------------


async def test_a_reader_that_is_cancelled_leaves_the_rest_to_others() -> None:
    async with open_pair() as (alice, bob), reading(alice) as scope:
        scope.cancel()
        with trio.fail_after(WITHIN_SECONDS):
            assert await ask(bob, "echo", 1) == 1
            assert await ask(alice, "echo", 2) == 2


async def test_a_reader_is_woken_by_what_happens_here() -> None:
    async with open_pair() as (alice, _):

        async def wait() -> None:
            with pytest.raises(ActorDied):
                await ask(alice, "never")

        with trio.fail_after(WITHIN_SECONDS):
            async with reading(alice, wait):
                alice.fail_calls(lambda _: ActorDied("it has died", uid=("bob", "b-1")))


async def test_a_place_that_is_read_for_is_one_where_somebody_waits() -> None:
    async with open_pair() as (alice, bob):
        waiters = Waiters()
        with trio.fail_after(WITHIN_SECONDS):
            async with reading(alice, partial(alice.reader.wait, waiters)):
                assert waiters
                assert "1" in repr(waiters)
                waiters.wake()
                assert not waiters
            assert await ask(bob, "echo", 1) == 1


async def test_a_place_that_is_read_for_can_be_woken_from_between_two_passes() -> None:
    async with open_pair() as (alice, _):
        waiters = Waiters()
        with trio.fail_after(WITHIN_SECONDS):
            async with reading(alice, partial(alice.reader.wait, waiters)):
                waiters.wake_soon()


async def test_who_is_woken_is_not_cancelled_any_more() -> None:
    async with open_pair() as (alice, _):
        waiters = Waiters()
        has_been_woken = False

        async def wait() -> None:
            nonlocal has_been_woken
            await alice.reader.wait(waiters)
            has_been_woken = True

        async with reading(alice, wait) as scope:
            scope.cancel()
            waiters.wake()
        assert has_been_woken


async def test_who_is_woken_leaves_the_place_to_the_next() -> None:
    async with open_pair() as (one, _), open_pair() as (other, _):
        waiters = Waiters()

        async def wake_and_wait() -> None:
            await make_eager(other)
            waiters.wake()
            await other.reader.wait(waiters)

        with trio.fail_after(WITHIN_SECONDS):
            async with trio.open_nursery() as nursery:
                async with reading(one, partial(one.reader.wait, waiters)):
                    nursery.start_soon(wake_and_wait)
                await wait_all_tasks_blocked()
                waiters.wake()


async def test_a_deadline_goes_before_an_answer_that_comes_with_it() -> None:
    async with open_pair() as (alice, bob), trio.open_nursery() as nursery:

        async def wait() -> None:
            await make_eager(alice)
            call = await start(alice, "never")
            nursery.start_soon(answer_at_the_deadline, call.cid)
            with patience:
                await call.result()

        async def answer_at_the_deadline(cid: str) -> None:
            await wait_all_tasks_blocked()
            assert whose(alice) == TAKEN
            bob.send_error(pack_cancelled(BOB, "too late", BOB, LIMITS, bob.measure), cid)
            patience.deadline = trio.current_time()

        patience = trio.CancelScope()
        await wait()
        assert patience.cancelled_caught


async def test_who_waits_longest_comes_before_who_reads() -> None:
    async with open_pair() as (alice, _), trio.open_nursery() as nursery:
        waiters = Waiters()
        order: list[str] = []

        async def wait(name: str) -> None:
            await alice.reader.wait(waiters)
            order.append(name)

        nursery.start_soon(wait, "parked")
        await wait_all_tasks_blocked()
        async with reading(alice, partial(wait, "reading")):
            waiters.wake_one()
            await wait_all_tasks_blocked()
            assert order == ["parked"]
            waiters.wake_one()
        assert order == ["parked", "reading"]


async def test_one_place_is_read_for_over_one_link_at_a_time() -> None:
    async with open_pair() as (one, _), open_pair() as (other, _):
        waiters = Waiters()

        async def wait_over_the_other() -> None:
            await make_eager(other)
            await other.reader.wait(waiters)

        with trio.fail_after(WITHIN_SECONDS):
            async with (
                trio.open_nursery() as nursery,
                reading(one, partial(one.reader.wait, waiters)),
            ):
                nursery.start_soon(wait_over_the_other)
                await wait_all_tasks_blocked()
                assert whose(other) != TAKEN
                waiters.wake()


async def test_a_link_that_ends_tells_who_reads() -> None:
    async with open_pair() as (alice, bob), trio.open_nursery() as nursery:
        nursery.start_soon(ask_until_lost, alice)
        await make_eager(alice)
        await trio.aclose_forcefully(bob._transport)
        with trio.fail_after(WITHIN_SECONDS):
            await alice.lost.wait()
        alice.fail_calls(lambda _: ActorDied("it has died", uid=("bob", "b-1")))


async def ask_until_lost(channel: Channel) -> None:
    with pytest.raises(ActorUnavailable):
        while True:
            await ask(channel, "echo", 1)


async def test_who_waits_is_not_left_reading_when_the_link_is_closed_here() -> None:
    async with open_pair() as (alice, _):
        async with reading(alice):
            assert alice._tasks is not None
            alice._tasks.cancel_scope.cancel()
            with trio.fail_after(WITHIN_SECONDS):
                await alice.lost.wait()
            await wait_all_tasks_blocked()
            assert whose(alice) == ""  # it has ended


# --- what is read for others -----------------------------------------------------------------

COLOR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOR", default="none")


async def test_what_is_read_for_others_runs_in_no_context_of_who_reads() -> None:
    async with open_pair() as (alice, _):
        call = await start(alice, "parrot", kind="context")
        await call.wait_started()
        assert call.flow is not None
        seen: list[str] = []
        call.flow.divert(lambda _: seen.append(COLOR.get()))
        COLOR.set("of the reader")
        async with reading(alice):
            await call.flow.send("an item that comes back")
            await wait_all_tasks_blocked()
        assert seen == ["none"]


async def test_a_call_of_the_peer_runs_though_who_has_read_it_is_cancelled() -> None:
    async with open_pair() as (alice, bob), reading(alice) as scope:
        call = await start(bob, "parrot", kind="context")
        await call.wait_started()
        scope.cancel()
        assert call.flow is not None
        with trio.fail_after(WITHIN_SECONDS):
            await call.flow.send(1)
            assert await call.flow.receive() == 1


async def test_a_fault_in_the_reading_is_raised_by_the_link() -> None:
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with open_pair() as (alice, bob), reading(alice):

            def fail(_: object) -> None:
                1 / 0

            alice.reader._dispatcher.dispatch = fail  # type: ignore[method-assign]
            with trio.fail_after(WITHIN_SECONDS):
                await ask(bob, "echo")


async def test_a_large_message_is_whole_though_who_read_its_beginning_was_cancelled() -> None:
    size = 3 * 1024 * 1024
    async with open_pair(capacity=4096) as (alice, _):
        async with reading(alice) as scope:
            async with trio.open_nursery() as nursery:

                async def get() -> None:
                    with trio.fail_after(WITHIN_SECONDS):
                        assert await ask(alice, "make_bytes", size) == bytes(size)

                nursery.start_soon(get)
                while alice.reader._frames.buffered_bytes < size // 10:
                    await trio.lowlevel.checkpoint()
                scope.cancel()


# --- with real sockets -----------------------------------------------------------------------


async def test_calls_both_ways_over_sockets_with_cancellations_in_between() -> None:
    async with open_socket_pair() as (alice, bob):

        async def call_often(channel: Channel) -> None:
            for number in range(300):
                with trio.CancelScope() as scope:
                    if number % 7 == 0:
                        scope.cancel()
                    assert await ask(channel, "echo", number) == number

        with trio.fail_after(4 * WITHIN_SECONDS):
            async with trio.open_nursery() as nursery:
                for channel in (alice, bob):
                    for _ in range(3):
                        nursery.start_soon(call_often, channel)


@asynccontextmanager
async def open_socket_pair() -> AsyncIterator[tuple[Channel, Channel]]:
    listener = await listen("tcp", 1)
    near = await connect(listener.address)
    far = await listener.accept()
    await listener.aclose()
    assert isinstance(near, SocketTransport)
    async with trio.open_nursery() as nursery:
        alice = Channel(near, a_session(is_client=True), a_service(), LIMITS)
        bob = Channel(far, a_session(is_client=False), a_service(), LIMITS)
        nursery.start_soon(alice.run)
        nursery.start_soon(bob.run)
        yield alice, bob
        nursery.cancel_scope.cancel()


async def test_an_interruption_is_not_forgotten_when_there_was_nothing_to_read() -> None:
    near, far = socket.socketpair()
    transport = SocketTransport(near)

    class Vanishing:
        """A socket whose bytes are gone, as the need for them is, when somebody comes for them."""

        fileno = near.fileno

        def recv(self, *_: object) -> bytes:
            transport.interrupt()
            raise BlockingIOError

        recv_into = recv

    with trio.fail_after(WITHIN_SECONDS), far:
        far.send(b"x")
        transport._socket = Vanishing()  # type: ignore[assignment]
        with pytest.raises(ReceiveInterrupted):
            await transport.receive_some()
        with pytest.raises(ReceiveInterrupted):
            await transport.receive_into(memoryview(bytearray(1)))
        await transport.aclose()
