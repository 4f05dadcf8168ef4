"""Two channels: calls of every kind, their ends, and the end of the link."""

from __future__ import annotations

import numpy as np
import pytest
import trio
from channel_helpers import (
    BOB,
    LIMITS,
    NS,
    RawPeer,
    a_service,
    a_session,
    ask,
    open_pair,
    open_raw,
    start,
)
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Channel
from actorsys.errors import (
    ActorUnavailable,
    ChannelBroken,
    ChannelClosed,
    ContextCancelled,
    EncodeError,
    LimitExceeded,
    LocalProtocolError,
    NotExposed,
    RemoteActorError,
)
from actorsys.limits import Limits
from actorsys.transport import memory_transport_pair


async def test_a_call_returns_what_the_function_returns() -> None:
    async with open_pair() as (alice, bob):
        assert await ask(alice, "echo", (1, {"a": {2}})) == (1, {"a": {2}})
        assert await ask(bob, "echo", value=5) == 5


async def test_both_ends_call_at_once() -> None:
    async with open_pair() as (alice, bob):
        calls = [await start(end, "echo", i) for i in range(50) for end in (alice, bob)]
        assert [await call.result() for call in calls] == [i for i in range(50) for _ in "ab"]


async def test_an_error_arrives_as_one() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(ValueError, match="no good") as caught:
            await ask(alice, "fail", "no good")
        assert isinstance(caught.value, RemoteActorError)
        assert caught.value.src_uid == BOB


async def test_a_function_that_is_missing_is_not_exposed() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(NotExposed, match="no function 'missing'"):
            await ask(alice, "missing")
        assert await ask(alice, "echo", 1) == 1


async def test_wrong_arguments_are_a_type_error() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(TypeError, match="no_such_argument"):
            await ask(alice, "echo", no_such_argument=1)


async def test_a_result_that_cannot_travel_is_an_error_and_not_silence() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(EncodeError, match="object cannot travel"):
            await ask(alice, "unencodable")


async def test_an_argument_that_cannot_travel_is_named() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(EncodeError, match=rf"argument 2 of {NS}:echo"):
            await ask(alice, "echo", 1, object())
        with pytest.raises(EncodeError, match="argument 'value'"):
            await ask(alice, "echo", value=[object()])
        assert alice.statistics().calls_in_flight == 0
        assert await ask(alice, "echo", 1) == 1


async def test_a_message_over_the_limit_of_the_peer_is_not_sent() -> None:
    limits = Limits(max_message_bytes=10_000)
    async with open_pair(limits) as (alice, _):
        with pytest.raises(LimitExceeded):
            await ask(alice, "echo", "x" * 10_000)
        with pytest.raises(LimitExceeded):
            await ask(alice, "make_bytes", 10_000)
        assert await ask(alice, "echo", 1) == 1


async def test_large_values_pass_a_narrow_transport() -> None:
    array = np.arange(200_000)
    async with open_pair(capacity=1000) as (alice, _):
        assert await ask(alice, "make_bytes", 300_000) == bytes(300_000)
        assert np.array_equal(await ask(alice, "echo", array), array)
        assert await ask(alice, "echo", b"x" * 300_000, 1) == [b"x" * 300_000, 1]


async def test_a_function_of_another_kind_is_a_mistake_of_the_caller() -> None:
    async with open_pair() as (alice, _):
        with pytest.raises(LocalProtocolError, match=r"is called with portal\.open_stream_from"):
            await ask(alice, "count", 3)
        call = await start(alice, "echo", 1, kind="asyncgen")
        with pytest.raises(LocalProtocolError, match=r"is called with portal\.run"):
            await call.wait_started()
        assert await ask(alice, "echo", 1) == 1


# --- cancelling ------------------------------------------------------------------------------


async def test_cancelling_a_call_cancels_its_function() -> None:
    async with open_pair() as (alice, bob):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, alice, "never")
            await wait_all_tasks_blocked()
            assert bob.statistics().calls_in_flight == 1
            nursery.cancel_scope.cancel()
        assert bob.statistics().calls_in_flight == 0
        assert await ask(alice, "echo", 1) == 1


async def test_a_call_cancelled_by_somebody_else_says_by_whom() -> None:
    async with open_pair() as (alice, bob):
        call = await start(alice, "never")
        await wait_all_tasks_blocked()
        bob.cancel_incoming(("carol", "c-1"), "enough")
        with pytest.raises(ContextCancelled, match="enough") as caught:
            await call.result()
        assert caught.value.canceller == ("carol", "c-1")


async def test_a_peer_that_does_not_answer_a_cancel_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_raw(channel_is_client=True) as (_, channel):
        with trio.move_on_after(5) as scope:
            await ask(channel, "never")
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline <= LIMITS.cancel_ack_seconds + 0.01
        assert channel.statistics().calls_in_flight == 0


async def test_a_deadline_ends_the_function_over_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair() as (alice, bob):
        begin = trio.current_time()
        call = await alice.start_call("asyncfunc", (NS, "never"), (), {}, {"deadline": 3.0})
        with pytest.raises(ContextCancelled):
            await call.result()
        assert 3.0 <= trio.current_time() - begin < 3.1
        assert bob.statistics().calls_in_flight == 0


# --- the end of the link ---------------------------------------------------------------------


async def test_a_peer_that_leaves_ends_the_link() -> None:
    async with open_raw() as (peer, channel):
        await peer.transport.aclose()
        await channel.lost.wait()
        assert isinstance(channel.reason, ChannelBroken)
        assert not channel.is_open


async def test_a_peer_that_leaves_in_the_middle_of_a_frame_ends_the_link() -> None:
    async with open_raw() as (peer, channel):
        await peer.send_bytes(peer.frame(peer.call("echo"))[:-3])
        await peer.transport.aclose()
        await channel.lost.wait()
        assert isinstance(channel.reason, ChannelBroken)


async def test_calls_of_a_lost_peer_are_cancelled() -> None:
    async with open_raw() as (peer, channel):
        await peer.send(peer.call("never"), peer.call("count", args=[10**6, 100]))
        await wait_all_tasks_blocked()
        assert channel.statistics().calls_in_flight == 2
        await peer.transport.aclose()
        await channel.table.wait_idle()
        assert channel.statistics().calls_in_flight == 0


async def test_a_link_that_we_close_is_closed_and_not_broken() -> None:
    async with open_pair() as (alice, _):
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
        channel = alice
    assert isinstance(channel.reason, ChannelClosed)


async def test_calls_in_flight_end_once_with_the_reason_that_is_given() -> None:
    async with open_raw(channel_is_client=True) as (_, channel):
        errors: list[ActorUnavailable] = []

        async def wait_for_it() -> None:
            with pytest.raises(ActorUnavailable) as caught:
                await ask(channel, "echo")
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait_for_it)
            await wait_all_tasks_blocked()
            awaited = channel.fail_calls(lambda ran: ActorUnavailable("gone", may_have_run=ran))
            assert awaited == 3
        assert [error.may_have_run for error in errors] == [True, True, True]
        assert channel.statistics().calls_in_flight == 0


async def test_a_call_on_a_lost_link_has_not_run() -> None:
    async with open_raw() as (peer, channel):
        await peer.transport.aclose()
        await channel.lost.wait()
        with pytest.raises(ActorUnavailable) as caught:
            await ask(channel, "echo")
        assert not caught.value.may_have_run


async def test_a_call_of_which_no_byte_has_left_has_not_run() -> None:
    async with open_raw(channel_is_client=True, capacity=100) as (_, channel):
        first = await start(channel, "echo", "x" * 1000)
        second = await start(channel, "echo", 2)
        await wait_all_tasks_blocked()
        assert first.may_have_run
        assert not second.may_have_run


async def test_statistics_count() -> None:
    async with open_pair() as (alice, bob):
        await ask(alice, "echo", 1)
        call = await start(alice, "never")
        await wait_all_tasks_blocked()
        assert alice.statistics().calls_made == 2
        assert bob.statistics().calls_received == 2
        assert alice.statistics().calls_in_flight == bob.statistics().calls_in_flight == 1
        assert alice.statistics().bytes_queued == 0
        assert alice.statistics().bytes_sent > 0
        call.cancel()
        await call.wait_ended()
        call.forget()
        assert alice.statistics().calls_in_flight == 0


async def test_what_came_with_the_handshake_is_read_first() -> None:
    near, far = memory_transport_pair()
    session = a_session(is_client=False)
    peer = RawPeer(near, session.peer_uid, 1)
    leftover = peer.frame(peer.call("echo", args=["early"]))
    async with trio.open_nursery() as nursery:
        channel = Channel(far, session, a_service(), LIMITS, leftover)
        nursery.start_soon(channel.run)
        await peer.receive()
        answer = await peer.receive()
        assert answer == {"return": "early", "cid": "1"}
        nursery.cancel_scope.cancel()
