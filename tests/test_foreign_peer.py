"""docs/protocol.md suffices to write a peer: one that was written from it talks to the package."""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import foreign_peer
import pytest
import trio
from foreign_peer import ForeignPeer, LinkError, Refused

import actorsys
from actorsys import Limits
from actorsys.actor import Actor, Expected, make_channel, open_runtime
from actorsys.channel import Channel, Exposure
from actorsys.spawn import LocalHost

PARENT = ("root", "r-1")
CHILD = ("foreign", "f-1")
KEY = bytes(range(32))
HERE = __name__
SMALL_WINDOW = 1024

# --- what the package offers ----------------------------------------------------------------


async def add(a: int, b: int) -> int:
    return a + b


async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


async def stuck(at: str) -> AsyncIterator[int]:
    """Yield an item, then wait for credit or for something else."""
    try:
        yield 0
        while at == "credit":
            yield 0
        await trio.sleep_forever()
    finally:
        _cleaned_up.append(at)


_cleaned_up: list[str] = []


@actorsys.context
async def double(ctx: actorsys.Context, start: int) -> int:
    await ctx.started(start)
    total = 0
    async with ctx.open_stream() as stream:
        async for number in stream:
            total += number
            await stream.send(number * 2)
    return total


@actorsys.context
async def deaf(ctx: actorsys.Context) -> None:
    await ctx.started()
    await trio.sleep_forever()


async def wait() -> None:
    await trio.sleep_forever()


async def fail(colour: str) -> None:
    raise ValueError(f"no such colour: {colour}")


async def zeros(size: int) -> bytes:
    return bytes(size)


async def echo(value: Any) -> Any:
    return value


# --- the two ends ---------------------------------------------------------------------------

Script = Callable[[ForeignPeer], Any]
Parent = Callable[[Channel], Awaitable[None]]


async def talk(
    script: Script,
    *,
    parent: Parent | None = None,
    limits: Limits = Limits(),  # noqa: B008
    key: bytes = KEY,
    window: int = 262_144,
) -> Any:
    """Run *script* in a thread, as a child of an actor that offers this module."""
    async with open_runtime(PARENT, None, limits, LocalHost(), "tcp") as actor:
        port = int((await actor.reception.address()).rpartition(":")[2])

        def connect_and_run() -> Any:
            with ForeignPeer.connect(port, CHILD, key, window) as peer:
                return script(peer)

        with actor.reception.expect(CHILD, KEY) as expected:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(_serve, actor, expected, parent)
                result = await trio.to_thread.run_sync(connect_and_run)
                tasks.cancel_scope.cancel()
    return result


async def _serve(actor: Actor, expected: Expected, parent: Parent | None) -> None:
    await expected.arrived.wait()
    assert expected.connection is not None
    channel = make_channel(actor, expected.connection, Exposure([sys.modules[HERE]]))
    async with trio.open_nursery() as tasks:
        tasks.start_soon(actor.run_channel, channel)
        if parent is not None:
            await parent(channel)


def call(name: str) -> str:
    return f"{HERE}:{name}"


# --- the foreign peer calls -----------------------------------------------------------------


def test_the_foreign_peer_is_foreign() -> None:
    tree = ast.parse(pathlib.Path(foreign_peer.__file__).read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else _names(node))
    }
    assert imported - sys.stdlib_module_names == {"msgpack"}


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]


async def test_it_calls_functions() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        by_name = peer.call(call("add"), a=2, b=3)
        by_position = peer.call(call("add"), 4, 5, extras={"deadline": 60.0, "unknown": 1})
        assert peer.result_of(by_position) == 9
        assert peer.result_of(by_name) == 5

    await talk(script)


async def test_values_survive_the_way_there_and_back() -> None:
    value = {"list": [1, -(2**63), 2.5, None, True], "tuple": (1, ("ä", b"\0")), 7: {}}

    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        assert peer.result_of(peer.call(call("echo"), value)) == value

    await talk(script)


async def test_it_takes_large_results() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        assert peer.result_of(peer.call(call("zeros"), 200_000)) == bytes(200_000)

    await talk(script)


async def test_it_reads_a_stream_and_grants_credit() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        cid = peer.call(call("count"), to=300)
        assert peer.receive_for(cid)["functype"] == "asyncgen"
        items, ungranted, was_stuck = [], 0, False
        while "stop" not in (message := peer.receive_for(cid)):
            items.append(message["yield"])
            ungranted += message["size"]
            if ungranted >= peer.window:
                # The sender has used its window up: only other calls can be heard now.
                other = peer.call(call("add"), a=1, b=1)
                assert peer.receive()["cid"] == other
                assert peer.receive()["return"] == 2
                peer.send({"credit": ungranted, "cid": cid})
                ungranted, was_stuck = 0, True
        assert items == list(range(300))
        assert was_stuck

    await talk(script, window=SMALL_WINDOW)


@pytest.mark.parametrize("at", ["credit", "something else"])
async def test_it_leaves_a_stream_early(at: str) -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        cid = peer.call(call("stuck"), at=at)
        assert peer.receive_for(cid)["functype"] == "asyncgen"
        assert peer.receive_for(cid)["yield"] == 0
        peer.send({"stop": True, "cid": cid})
        while "yield" in (message := peer.receive_for(cid)):
            pass
        assert "stop" in message
        assert _cleaned_up.pop() == at

    await talk(script, window=SMALL_WINDOW)


async def test_it_opens_a_context_and_sends_items() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        cid = peer.call(call("double"), start=7)
        assert peer.receive_for(cid)["functype"] == "context"
        assert peer.receive_for(cid)["started"] == 7
        assert peer.peer_window == SMALL_WINDOW
        account, credits, doubled = peer.peer_window, 0, []

        def take(message: dict[str, Any]) -> int:
            if "credit" in message:
                return message["credit"]
            doubled.append(message["yield"])
            peer.send({"credit": message["size"], "cid": cid})
            return 0

        for number in range(200):
            while account <= 0:
                granted = take(peer.receive_for(cid))
                account += granted
                credits += granted > 0
            account -= peer.send({"yield": number, "cid": cid})
        while len(doubled) < 200:
            take(peer.receive_for(cid))
        peer.send({"stop": True, "cid": cid})
        while "return" not in (message := peer.receive_for(cid)):
            assert "credit" in message or "stop" in message
        assert message["return"] == sum(range(200))
        assert doubled == [number * 2 for number in range(200)]
        assert credits > 1

    await talk(script, limits=Limits(stream_window_bytes=SMALL_WINDOW))


async def test_it_cancels_a_call() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        cid = peer.call(call("wait"))
        cancel = peer.call("self:cancel", cid=cid)
        assert peer.result_of(cancel) is None
        error = peer.receive_for(cid)["error"]
        assert error["cancelled"] is True
        assert tuple(error["state"]["canceller"]) == CHILD

    await talk(script)


async def test_its_deadline_is_enforced() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        cid = peer.call(call("wait"), extras={"deadline": 0.01})
        error = peer.receive_for(cid)["error"]
        assert error["cancelled"] is True
        assert tuple(error["state"]["canceller"]) == CHILD

    await talk(script)


async def test_it_receives_an_error() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        error = peer.receive_for(peer.call(call("fail"), colour="plaid"))["error"]
        assert error["type_str"] == "ValueError"
        assert error["message"] == "no such colour: plaid"
        assert error["args"] == ["no such colour: plaid"]
        assert "in fail" in error["tb_str"]
        assert tuple(error["src_uid"]) == PARENT
        assert "cancelled" not in error

    await talk(script)


@pytest.mark.parametrize("name", [call("_serve"), call("nothing"), "os:getpid", "self:stop"])
async def test_what_is_not_offered_is_an_error(name: str) -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        error = peer.receive_for(peer.call(name))["error"]
        assert error["type_str"] == "actorsys.errors:NotExposed"
        assert peer.result_of(peer.call(call("add"), a=1, b=1)) == 2

    await talk(script)


async def test_what_cannot_be_decoded_fails_its_call_only() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        unknown = foreign_peer.msgpack.ExtType(100, b"")
        error = peer.receive_for(peer.call(call("echo"), unknown))["error"]
        assert error["type_str"] == "actorsys.errors:EncodeError"
        assert peer.result_of(peer.call(call("add"), a=1, b=1)) == 2

    await talk(script)


async def test_a_late_message_is_dropped() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        cid = peer.call(call("count"), to=1)
        while "stop" not in peer.receive_for(cid):
            pass
        peer.send({"stop": True, "cid": cid})
        peer.send({"credit": 1, "cid": cid})
        assert peer.result_of(peer.call(call("add"), a=1, b=1)) == 2

    await talk(script)


# --- the foreign peer is called -------------------------------------------------------------


async def test_it_answers_calls_and_a_stop() -> None:
    async def parent(channel: Channel) -> None:
        plain = await channel.start_call("asyncfunc", ("app", "add"), (2,), {"b": 3})
        assert await plain.result() == 5
        stream = await channel.start_call("asyncgen", ("app", "count"), (), {})
        await stream.wait_started()
        assert stream.flow is not None
        assert [await stream.flow.receive() for _ in range(2)] == [1, 2]
        with pytest.raises(trio.EndOfChannel):
            await stream.flow.receive()
        failing = await channel.start_call("asyncfunc", ("app", "fail"), (), {})
        with pytest.raises(KeyError) as raised:
            await failing.result()
        assert isinstance(raised.value, actorsys.RemoteActorError)
        channel.send_runtime_call("stop", {"grace": 1.0})
        await channel.lost.wait()
        ended.append("lost")

    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        ns, func, kwargs, uid, cid = (first := peer.receive())["cmd"]
        assert (ns, func, kwargs, tuple(uid), cid) == ("app", "add", {"b": 3}, PARENT, "2")
        assert first["args"] == [2]
        peer.send({"functype": "asyncfunc", "cid": cid})
        peer.send({"return": 5, "cid": cid})

        *_, cid = peer.receive()["cmd"]
        peer.send({"functype": "asyncgen", "cid": cid})
        for number in (1, 2):
            peer.send({"yield": number, "cid": cid})
        peer.send({"stop": True, "cid": cid})

        *_, cid = peer.receive()["cmd"]
        peer.send({"error": {"type_str": "KeyError", "message": "no"}, "cid": cid})

        ns, func, kwargs, _, cid = peer.receive()["cmd"]
        assert (ns, func, kwargs) == ("self", "stop", {"grace": 1.0})
        peer.send({"functype": "asyncfunc", "cid": cid})
        peer.send({"return": None, "cid": cid})

    ended: list[str] = []
    await talk(script, parent=parent)


# --- the handshake, and breaking the rules --------------------------------------------------


async def test_a_server_with_another_key_is_refused() -> None:
    def script(peer: ForeignPeer) -> None:
        with pytest.raises(Refused, match="does not hold the key"):
            peer.shake_hands()

    await talk(script, key=b"x" * 32)


async def test_a_wrong_proof_ends_the_stream() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.hello()
        peer.receive_frame()
        peer.receive_frame()
        peer.send_frame(foreign_peer.msgpack.packb({"proof": bytes(32)}))
        assert peer.is_at_end()

    await talk(script)


async def test_another_version_is_told_so() -> None:
    def script(peer: ForeignPeer) -> None:
        peer.hello(version=2)
        refusal = foreign_peer.msgpack.unpackb(peer.receive_frame())
        assert refusal == {"error": {"type_str": "VersionMismatch", "version": 1}}
        assert peer.is_at_end()

    await talk(script)


def _call_as_somebody_else(peer: ForeignPeer) -> None:
    peer.send({"cmd": [HERE, "add", {}, list(PARENT), "1"]})


def _reuse_a_cid(peer: ForeignPeer) -> None:
    for _ in range(2):
        peer.send({"cmd": [HERE, "wait", {}, list(CHILD), "1"]})


def _take_the_other_ends_cid(peer: ForeignPeer) -> None:
    peer.send({"cmd": [HERE, "add", {}, list(CHILD), "2"]})


def _send_an_item_to_a_plain_function(peer: ForeignPeer) -> None:
    peer.send({"yield": 1, "cid": peer.call(call("wait"))})


def _answer_what_was_never_asked(peer: ForeignPeer) -> None:
    peer.send({"return": 1, "cid": "2"})


def _send_an_empty_frame(peer: ForeignPeer) -> None:
    peer.send_frame(b"")


def _say_nothing_known(peer: ForeignPeer) -> None:
    peer.send({"hello": "again"})


def _exceed_the_window(peer: ForeignPeer) -> None:
    cid = peer.call(call("deaf"))
    peer.receive_for(cid)
    for _ in range(2):
        peer.send({"yield": bytes(SMALL_WINDOW), "cid": cid})


@pytest.mark.parametrize(
    "misbehave",
    [
        _call_as_somebody_else,
        _reuse_a_cid,
        _take_the_other_ends_cid,
        _send_an_item_to_a_plain_function,
        _answer_what_was_never_asked,
        _send_an_empty_frame,
        _say_nothing_known,
        _exceed_the_window,
    ],
)
async def test_who_breaks_the_rules_is_told_and_cut_off(
    misbehave: Callable[[ForeignPeer], None],
) -> None:
    def script(peer: ForeignPeer) -> None:
        peer.shake_hands()
        misbehave(peer)
        with pytest.raises(LinkError, match="RemoteProtocolError"):
            while True:
                peer.receive()
        assert peer.is_at_end()

    await talk(script, limits=Limits(stream_window_bytes=SMALL_WINDOW))
