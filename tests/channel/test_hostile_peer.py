"""A peer that is who it says it is, and does all the wrong things.

The link may close, and a call may fail. Nothing is raised, nothing else is disturbed, and no more
memory is taken than the limits say.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
import trio
from channel_helpers import NS, RawPeer, ask, cids_of, open_raw, start
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actorsys.channel import Channel
from actorsys.errors import (
    ChannelBroken,
    EncodeError,
    LimitExceeded,
    LocalProtocolError,
    RemoteActorError,
    RemoteProtocolError,
)
from actorsys.limits import KIB, MIB, Limits
from actorsys.wire import Codec


async def is_closed_after(peer: RawPeer, channel: Channel, *messages: dict[str, Any]) -> str:
    """Send *messages*; check that the peer is told and the link closed; return what was said."""
    await peer.send(*messages)
    answers = await peer.receive_all()
    assert "cid" not in answers[-1]
    assert isinstance(channel.reason, (RemoteProtocolError, LimitExceeded))
    assert answers[-1]["error"]["message"] == str(channel.reason)
    return str(channel.reason)


# --- cids ------------------------------------------------------------------------------------


async def test_a_reused_cid_closes_the_link() -> None:
    async with open_raw() as (peer, channel):
        assert await peer.is_served()
        reason = await is_closed_after(peer, channel, peer.call("echo", cid="1"))
        assert "used twice" in reason


async def test_a_cid_below_the_last_one_closes_the_link() -> None:
    async with open_raw() as (peer, channel):
        await peer.answers(peer.call("echo", cid="9"))
        await is_closed_after(peer, channel, peer.call("echo", cid="7"))


async def test_a_cid_in_use_closes_the_link() -> None:
    async with open_raw() as (peer, channel):
        call = peer.call("never")
        await is_closed_after(peer, channel, call, call)


@pytest.mark.parametrize("cid", ["2", "0", "10"])
async def test_a_cid_of_the_wrong_parity_closes_the_link(cid: str) -> None:
    async with open_raw() as (peer, channel):
        await is_closed_after(peer, channel, peer.call("echo", cid=cid))


async def test_the_accepting_end_has_the_even_cids() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        assert await peer.is_served()
        await is_closed_after(peer, channel, peer.call("echo", cid="5"))


@pytest.mark.parametrize("cid", ["01", "0x1", "1_1", " 1", "A", "-1", "x", "+1", "\u0663"])
async def test_a_cid_in_another_spelling_closes_the_link(cid: str) -> None:
    async with open_raw() as (peer, channel):
        await is_closed_after(peer, channel, peer.call("echo", cid=cid))


@pytest.mark.parametrize("cid", ["1", "2", "0", "-1", "-2", "ffff"])
@pytest.mark.parametrize("client", [True, False])
async def test_a_cid_that_was_never_used_closes_the_link(cid: str, client: bool) -> None:
    async with open_raw(channel_is_client=client) as (peer, channel):
        await is_closed_after(peer, channel, {"return": 1, "cid": cid})


async def test_a_late_message_of_an_ended_call_is_dropped() -> None:
    async with open_raw() as (peer, _):
        await peer.answers(peer.call("echo", cid="1"))
        await peer.send({"credit": 5, "cid": "1"}, {"stop": True, "cid": "1"})
        assert await peer.answers(peer.call("echo", cid="3"))


# --- calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [["alice", "a-2"], ["bob", "b-1"], ["", ""]])
async def test_a_call_under_another_uid_closes_the_link(uid: list[str]) -> None:
    async with open_raw() as (peer, channel):
        reason = await is_closed_after(peer, channel, peer.call("echo", uid=uid))
        assert "uid" in reason


@pytest.mark.parametrize("func", ["missing", "__class__", "send", "cancel.x", ""])
async def test_an_unknown_function_of_the_runtime_is_not_exposed(func: str) -> None:
    async with open_raw() as (peer, _):
        (answer,) = await peer.answers(peer.call(func, ns="self"))
        assert answer["error"]["type_str"] == "actorsys.errors:NotExposed"
        assert await peer.is_served()


@pytest.mark.parametrize("ns", ["os", "actorsys", "builtins", "", "SELF", NS + ".echo"])
async def test_a_module_that_is_not_exposed_is_refused(ns: str) -> None:
    async with open_raw() as (peer, _):
        (answer,) = await peer.answers(peer.call("echo", ns=ns))
        assert answer["error"]["type_str"] == "actorsys.errors:NotExposed"
        assert await peer.is_served()


async def test_undecodable_arguments_fail_their_call_only() -> None:
    strange = msgpack.ExtType(99, b"?")
    body = msgpack.packb({"cmd": [NS, "echo", {}, ["alice", "a-1"], "1"], "args": [strange]})
    async with open_raw() as (peer, _):
        await peer.send_bytes(len(body).to_bytes(4, "little") + body)
        answer = await peer.receive()
        assert answer is not None
        assert answer["cid"] == "1"
        assert answer["error"]["type_str"] == "actorsys.errors:EncodeError"
        assert await peer.answers(peer.call("echo", cid="3"))


async def test_arguments_that_do_not_fit_fail_their_call_only() -> None:
    async with open_raw() as (peer, _):
        (answer,) = await peer.answers(peer.call("echo", kwargs={"no": 1, "self": 2}))
        assert answer["error"]["type_str"] == "TypeError"
        assert await peer.is_served()


@pytest.mark.parametrize("deadline", [1e308, float("inf"), 2**63])
async def test_a_deadline_in_the_far_future_is_none(deadline: float) -> None:
    async with open_raw() as (peer, _):
        answers = await peer.answers(peer.call("echo", args=[1], deadline=deadline))
        assert answers[-1]["return"] == 1


async def test_a_deadline_that_is_no_float_closes_the_link() -> None:
    async with open_raw() as (peer, channel):
        await is_closed_after(peer, channel, peer.call("echo", deadline=10**400))


async def test_too_many_calls_are_refused_one_by_one() -> None:
    async with open_raw(Limits(max_calls_per_link=5)) as (peer, channel):
        await peer.send(*[peer.call("never") for _ in range(5)])
        (answer,) = await peer.answers(peer.call("never"))
        assert answer["error"]["type_str"] == "actorsys.errors:LimitExceeded"
        await peer.answers(peer.call("cancel", ns="self", kwargs={"cid": "1"}))
        await wait_all_tasks_blocked()
        assert channel.statistics().calls_in_flight == 4
        assert await peer.is_served()


# --- cancelling ------------------------------------------------------------------------------


@pytest.mark.parametrize("cid", [None, 1, "99", "", [], {}, b"1", 2**20_000, "x" * 99], ids=type)
async def test_cancelling_what_is_no_call_is_harmless(cid: Any) -> None:
    async with open_raw() as (peer, _):
        answers = await peer.answers(peer.call("cancel", ns="self", kwargs={"cid": cid}))
        assert answers[-1]["return"] is None
        assert (await peer.answers(peer.call("cancel", ns="self")))[-1]["return"] is None
        assert await peer.is_served()


async def test_a_peer_cannot_cancel_a_call_that_we_made() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "echo")
        await peer.receive()
        await peer.answers(peer.call("cancel", ns="self", kwargs={"cid": call.cid}))
        assert not call.has_ended


async def test_cancelling_twice_ends_a_call_once() -> None:
    async with open_raw() as (peer, _):
        cancels = [peer.call("cancel", ns="self", cid=c, kwargs={"cid": "1"}) for c in "35"]
        answers = await peer.answers(peer.call("never", cid="1"), *cancels)
        await wait_all_tasks_blocked()
        answers += await peer.answers(peer.call("echo", cid="7"))
        assert cids_of(answers, "error") == ["1"]


# --- messages that may not come --------------------------------------------------------------


@pytest.mark.parametrize("message", [{}, {"cid": "1"}, {"hello": 1}, {"CMD": []}], ids=str)
async def test_an_unknown_message_is_told_and_closes_the_link(message: dict[str, Any]) -> None:
    async with open_raw() as (peer, channel):
        assert "no known kind" in await is_closed_after(peer, channel, message)


@pytest.mark.parametrize(
    "message",
    [{"functype": "asyncfunc"}, {"return": 1}, {"started": 1}, {"error": {}}, {"yield": 1}],
    ids=str,
)
async def test_a_caller_cannot_answer_its_own_call(message: dict[str, Any]) -> None:
    async with open_raw(peer_window_bytes=100) as (peer, channel):
        await peer.send(peer.call("count", args=[10**6], cid="1"))
        await wait_all_tasks_blocked()
        await is_closed_after(peer, channel, {**message, "cid": "1"})


@pytest.mark.parametrize("message", [{"yield": 1}, {"credit": 1}, {"stop": True}], ids=str)
async def test_a_plain_call_has_no_stream(message: dict[str, Any]) -> None:
    async with open_raw() as (peer, channel):
        await is_closed_after(peer, channel, peer.call("never", cid="1"), {**message, "cid": "1"})


@pytest.mark.parametrize(
    "messages",
    [
        [{"return": 1}],
        [{"started": 1}],
        [{"yield": 1}],
        [{"credit": 1}],
        [{"functype": "asyncfunc"}, {"functype": "asyncfunc"}],
        [{"functype": "asyncfunc"}, {"yield": 1}],
        [{"functype": "asyncfunc"}, {"stop": True}],
    ],
    ids=str,
)
async def test_an_answer_out_of_turn_closes_the_link(messages: list[dict[str, Any]]) -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "echo")
        await peer.receive()
        await is_closed_after(peer, channel, *[{**m, "cid": call.cid} for m in messages])
        assert not call.has_ended


ENDED = [{"return": 1}, {"error": {}}]


@pytest.mark.parametrize("last", [*ENDED, {"yield": 1}, {"functype": "asyncfunc"}], ids=str)
@pytest.mark.parametrize("first", ENDED, ids=str)
async def test_what_comes_right_behind_the_end_of_a_call_is_dropped(
    first: dict[str, Any], last: dict[str, Any]
) -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "echo")
        await peer.receive()
        answers = [{"functype": "asyncfunc"}, first, last]
        await peer.send(*[{**message, "cid": call.cid} for message in answers])
        await wait_all_tasks_blocked()
        assert call.has_ended
        assert (call.value == 1) == ("return" in first)
        assert channel.is_open
        call.forget()


async def test_a_result_that_comes_with_the_wrong_kind_is_dropped() -> None:
    """The two leave in one write, so this happens to the most honest of peers."""
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "echo", kind="asyncgen")
        await peer.receive()
        functype = {"functype": "asyncfunc", "cid": call.cid}
        await peer.send(functype, {"return": 1, "cid": call.cid})
        with pytest.raises(LocalProtocolError):
            await call.wait_started()
        assert channel.is_open


async def test_a_result_that_cannot_be_decoded_fails_its_call_only() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "echo")
        await peer.receive()
        for message in [
            {"functype": "asyncfunc", "cid": call.cid},
            {"return": msgpack.ExtType(99, b""), "cid": call.cid},
        ]:
            body = msgpack.packb(message)
            await peer.send_bytes(len(body).to_bytes(4, "little") + body)
        with pytest.raises(EncodeError, match="an answer of"):
            await call.result()
        assert channel.is_open


# --- streams ---------------------------------------------------------------------------------

NARROW = Limits(stream_window_bytes=KIB)


async def test_items_beyond_the_credit_close_the_link() -> None:
    async with open_raw(NARROW) as (peer, channel):
        items = [{"yield": b"x" * 300, "cid": "1"} for _ in range(5)]
        reason = await is_closed_after(peer, channel, peer.call("deaf", cid="1"), *items)
        assert "more than it was granted" in reason


async def test_items_of_a_callee_beyond_the_credit_close_the_link() -> None:
    async with open_raw(NARROW, channel_is_client=True) as (peer, channel):
        call = await start(channel, "count", 5, kind="asyncgen")
        await peer.receive()
        items = [{"yield": b"x" * 300, "cid": call.cid} for _ in range(5)]
        await is_closed_after(peer, channel, {"functype": "asyncgen", "cid": call.cid}, *items)


async def test_a_second_stop_closes_the_link() -> None:
    async with open_raw() as (peer, channel):
        stop = {"stop": True, "cid": "1"}
        await is_closed_after(peer, channel, peer.call("deaf", cid="1"), stop, stop)


async def test_an_item_that_cannot_be_decoded_fails_its_stream_only() -> None:
    async with open_raw() as (peer, _):
        await peer.send(peer.call("parrot"))
        body = msgpack.packb({"yield": msgpack.ExtType(99, b""), "cid": "1"})
        await peer.send_bytes(len(body).to_bytes(4, "little") + body)
        await wait_all_tasks_blocked()
        answers = await peer.answers(peer.call("echo", cid="3"))
        errors = [m["error"]["type_str"] for m in answers if "error" in m and m["cid"] == "1"]
        assert errors == ["actorsys.errors:EncodeError"]


async def test_an_enormous_grant_is_no_harm() -> None:
    async with open_raw() as (peer, channel):
        grants = [{"credit": 2**47, "cid": "1"}] * 100
        await peer.send(peer.call("count", args=[3], cid="1"), *grants)
        assert await peer.answers(peer.call("echo", cid="3"))
        assert channel.is_open


# --- frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", bytes(4), b"\x01\x00\x00\x00\xc1", b"GET / HTTP/1.1\r\n\r\n"],
    ids=ascii,
)
async def test_bytes_that_are_no_frame_close_the_link(data: bytes) -> None:
    async with open_raw() as (peer, channel):
        await peer.send_bytes(data)
        answers = await peer.receive_all()
        assert answers[-1]["error"]["message"] == str(channel.reason)
        assert isinstance(channel.reason, (RemoteProtocolError, LimitExceeded))


async def test_what_came_before_garbage_is_still_told() -> None:
    async with open_raw() as (peer, channel):
        await peer.send_bytes(peer.frame(peer.call("missing", ns="self")) + bytes(4))
        answers = await peer.receive_all()
        assert cids_of(answers[:-1], "error") == ["1"]
        assert not channel.is_open


# --- a peer that does not read ---------------------------------------------------------------

TIGHT = Limits(
    outbox_high_water_bytes=16 * KIB,
    outbox_overflow_bytes=64 * KIB,
    max_message_bytes=64 * KIB,
)


async def flood(peer: RawPeer, message: Any) -> None:
    """Write the same kind of message for as long as somebody takes it."""
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await peer.send(*[message(peer) for _ in range(100)])


@pytest.mark.parametrize(
    "message",
    [
        lambda peer: peer.call("cancel", ns="self", kwargs={"cid": "1"}),
        lambda peer: peer.call("missing", ns="self"),
        lambda peer: peer.call("missing"),
    ],
    ids=["cancel", "no runtime function", "no function"],
)
async def test_a_flood_of_cheap_calls_that_reads_nothing_is_cut(message: Any) -> None:
    async with open_raw(TIGHT, capacity=16 * KIB) as (peer, channel):
        tracemalloc.start()
        try:
            await flood(peer, message)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await channel.lost.wait()
        assert isinstance(channel.reason, ChannelBroken)
        assert channel.outbox.size <= 256 * KIB
        assert peak < 8 * MIB


async def test_a_peer_that_was_cut_is_lost_even_if_it_falls_silent() -> None:
    async with open_raw(TIGHT, capacity=16 * KIB) as (peer, channel):
        while channel.outbox.broken is None:
            await peer.send(peer.call("missing", ns="self"))
            await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await channel.lost.wait()


async def test_results_for_a_peer_that_does_not_read_wait_without_piling_up() -> None:
    async with open_raw(TIGHT, capacity=16 * KIB) as (peer, channel):
        for _ in range(50):
            await peer.send(peer.call("make_bytes", args=[30 * KIB]))
        await wait_all_tasks_blocked()
        assert channel.outbox.size <= TIGHT.outbox_high_water_bytes + 2 * 31 * KIB
        assert channel.is_open
        answers = []
        while len(cids_of(answers, "return")) < 50:
            answer = await peer.receive()
            assert answer is not None
            answers.append(answer)


@pytest.mark.parametrize("call", ["missing", "fail"])
async def test_a_peer_that_takes_only_tiny_messages_gets_tiny_errors(call: str) -> None:
    """The least that a handshake allows is 1 KiB; most tracebacks are longer."""
    async with open_raw(peer_max_frame_bytes=KIB) as (peer, channel):
        text = "x" * 4000
        await peer.send(peer.call(call, args=[text]))
        answers = [await peer.receive()]
        assert answers[-1] is not None
        assert "error" in answers[-1]
        assert await peer.is_served()
        assert channel.is_open


async def test_a_peer_that_takes_only_tiny_messages_is_told_why_it_is_cut() -> None:
    async with open_raw(peer_max_frame_bytes=KIB) as (peer, channel):
        await peer.send({"what": "is this"})
        assert await peer.receive_all() != []
        assert isinstance(channel.reason, RemoteProtocolError)


# --- errors of the link ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        {},
        {"type_str": "ValueError", "message": "bye"},
        {"type_str": 5, "message": [], "args": {}, "notes": 1, "cause": [], "group": "x"},
        {"type_str": "UnicodeDecodeError", "args": ["utf-8", b"x", 0, 1, "r"]},
        {
            "type_str": "UnicodeDecodeError",
            "args": ["utf-8", b"x", 0, 1, "r"],
            "state": {"object": 5},
        },
        {"type_str": "SyntaxError", "args": ["x"], "state": {"text": 5, "lineno": []}},
        {"type_str": "ValueError", "args": ["\x1b[2J"]},
        {"type_str": "KeyError", "args": ["\x1b[2J"], "message": ""},
    ],
    ids=lambda error: ascii(error)[:50],
)
async def test_the_peers_last_words_cannot_hurt(error: dict[str, Any]) -> None:
    async with open_raw() as (peer, channel):
        await peer.send({"error": error})
        await channel.lost.wait()
        assert isinstance(channel.reason, (ChannelBroken, RemoteProtocolError))
        assert str(channel.reason).isprintable()


async def test_an_error_of_nonsense_is_still_an_error_of_its_call() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        call = await start(channel, "echo")
        await peer.receive()
        await peer.send({"error": {"type_str": [], "group": {}, "cause": 1}, "cid": call.cid})
        with pytest.raises(RemoteActorError):
            await call.result()
        assert channel.is_open


async def test_a_runtime_function_that_fails_fails_its_call_only() -> None:
    def broken(channel: Channel, kwargs: dict[str, Any]) -> Any:
        return kwargs["grace"]

    async with open_raw(functions={"broken": broken}) as (peer, _):
        answers = await peer.answers(peer.call("broken", ns="self"))
        assert answers[-1]["error"]["type_str"] == "KeyError"
        answers = await peer.answers(peer.call("broken", ns="self", kwargs={"grace": 1}))
        assert answers[-1]["return"] == 1
        assert await peer.is_served()


# --- anything --------------------------------------------------------------------------------

CIDS = st.sampled_from(["1", "2", "3", "4", "5", "7", "9", "0", "-1"])
PLAIN = st.none() | st.integers(-5, 5) | st.text(max_size=5) | st.just(10**400) | st.just(b"x" * 99)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner)
)
KINDS_OF_MESSAGES = (
    st.builds(lambda value, cid: {"return": value, "cid": cid}, VALUES, CIDS)
    | st.builds(lambda value, cid: {"yield": value, "cid": cid}, VALUES, CIDS)
    | st.builds(lambda value, cid: {"started": value, "cid": cid}, VALUES, CIDS)
    | st.builds(lambda cid: {"stop": True, "cid": cid}, CIDS)
    | st.builds(lambda size, cid: {"credit": size, "cid": cid}, st.integers(0, 999), CIDS)
    | st.builds(
        lambda kind, cid: {"functype": kind, "cid": cid},
        st.sampled_from(["asyncfunc", "asyncgen", "context"]),
        CIDS,
    )
    | st.builds(
        lambda error, cid: {"error": error, "cid": cid}, st.dictionaries(st.text(), VALUES), CIDS
    )
    | st.builds(
        lambda ns, func, kwargs, cid: {"cmd": [ns, func, kwargs, ["alice", "a-1"], cid]},
        st.sampled_from([NS, "self", "os"]),
        st.sampled_from(["echo", "count", "parrot", "deaf", "never", "fail", "cancel", "nothing"]),
        st.dictionaries(st.sampled_from(["value", "stop", "cid", "text"]), VALUES, max_size=2),
        CIDS,
    )
)


@settings(max_examples=100, deadline=None, print_blob=True)
@given(st.lists(KINDS_OF_MESSAGES, max_size=10), st.booleans())
def test_no_messages_of_a_peer_raise_anything(messages: list[Any], at_once: bool) -> None:
    codec = Codec()
    frames = [b"".join(map(bytes, codec.encode(message, 10**6))) for message in messages]

    async def main() -> None:
        async with open_raw() as (peer, channel):
            calls = [await start(channel, "echo"), await start(channel, "parrot", kind="context")]
            try:
                for data in [b"".join(frames)] if at_once else frames:
                    await peer.send_bytes(data)
                    await wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass
            await peer.transport.aclose()
            await channel.lost.wait()
            channel.fail_calls(lambda ran: ChannelBroken("gone"))
            assert all(call.has_ended for call in calls)
            await channel.table.wait_idle()

    trio.run(main)


async def test_a_closed_link_ends_our_calls_once_somebody_says_so() -> None:
    async with open_raw(channel_is_client=True) as (peer, channel):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(ChannelBroken):
                    await ask(channel, "echo")

            nursery.start_soon(call)
            await peer.receive()
            await peer.send({"what": 1})
            await channel.lost.wait()
            assert channel.fail_calls(lambda ran: ChannelBroken("lost")) == 1
