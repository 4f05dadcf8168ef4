"""A child that was taken over and speaks raw messages harms nobody's topics but its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from foreign_peer import ForeignPeer
from topic_functions import broker

import actorsys
from actorsys import Limits, Topic
from actorsys.actor import make_channel
from actorsys.actor.runtime import open_root
from actorsys.channel import Exposure
from actorsys.limits import DEFAULT_LIMITS
from actorsys.spawn import LocalHost
from actorsys.topics import SERVICE

CHILD = ("foreign", "f-1")
KEY = bytes(range(32))
SERVICE_NAME = SERVICE.__name__
HUGE = 2**60


async def talk(
    script: Callable[[ForeignPeer], Any],
    body: Callable[[], Awaitable[None]] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Run *script* in a thread, as a child of a root; check that topics work afterwards."""
    async with open_root("root", limits, LocalHost(), "tcp", Exposure([SERVICE])) as actor:
        port = int((await actor.reception.address()).rpartition(":")[2])

        def connect_and_run() -> None:
            with ForeignPeer.connect(port, CHILD, KEY) as peer:
                peer.shake_hands()
                script(peer)
                assert peer.result_of(call(peer, "count_subscribers", "sound")) == 1

        async def serve() -> None:
            await expected.arrived.wait()
            assert expected.connection is not None
            await actor.run_channel(make_channel(actor, expected.connection, actor.exposure))

        async with Topic("sound").subscribe(when_full="drop_oldest") as subscription:
            with actor.reception.expect(CHILD, KEY) as expected:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(serve)
                    if body is not None:
                        tasks.start_soon(body)
                    await trio.to_thread.run_sync(connect_and_run)
                    tasks.cancel_scope.cancel()
            assert await Topic("sound").publish("still here") == 1
            await read_until(subscription, "still here")
        assert repr(broker()) == "<Broker of 0 subscribers>"


async def read_until(subscription: actorsys.TopicSubscription, last: Any) -> list[Any]:
    """Read up to *last*; return what stands before it. What means nothing is left out."""
    values: list[Any] = []
    while not values or values[-1] != last:
        with suppress(actorsys.RemoteProtocolError):
            values.append((await subscription.receive()).value)
    return values[:-1]


def call(peer: ForeignPeer, name: str, *args: Any) -> str:
    return peer.call(f"{SERVICE_NAME}:{name}", *args)


def error_of(peer: ForeignPeer, cid: str) -> str:
    """Return the type of the error that a call ends with."""
    while "error" not in (message := peer.receive_for(cid)):
        assert "return" not in message
    error = message["error"]
    while error.get("group"):
        (error,) = error["group"]
    return str(error["type_str"]).rpartition(":")[2]


# --- calls ------------------------------------------------------------------------------------

NO_TOPICS = [
    "",
    ".",
    "a..b",
    "a\n",
    "x" * 300,
    "a*",
    "**.a",
    None,
    5,
    b"a",
    ["a"],
    {"a": 1},
    "é" * 200,
]


async def test_absurd_topics_fail_their_calls() -> None:
    def script(peer: ForeignPeer) -> None:
        for topic in NO_TOPICS:
            for cid in (
                call(peer, "subscribe", topic, 1, "block"),
                call(peer, "publish", topic, b"\x01"),
                call(peer, "publish_all", topic),
                call(peer, "count_subscribers", topic),
            ):
                assert error_of(peer, cid) == "ValueError"
        assert error_of(peer, call(peer, "publish", "a.*", b"\x01")) == "ValueError"

    await talk(script)


async def test_absurd_rules_fail_their_calls() -> None:
    rules = [(n, "block") for n in (0, -1, -HUGE, None, "1", 1.5, True, [1])]
    rules += [(1, rule) for rule in ("", "drop", None, 1, [], {})]

    def script(peer: ForeignPeer) -> None:
        for capacity, when_full in rules:
            assert error_of(peer, call(peer, "subscribe", "a", capacity, when_full)) == "ValueError"

    await talk(script)


async def test_what_is_no_parcel_fails_its_call() -> None:
    def script(peer: ForeignPeer) -> None:
        for parcel in (None, 1, "text", [], [1], [b"\x01", 1], {}, [[b"\x01"]], True):
            assert error_of(peer, call(peer, "publish", "sound", parcel)) == "RemoteProtocolError"
            cid = call(peer, "publish_all", "sound")
            peer.send({"yield": parcel, "cid": cid})
            assert error_of(peer, cid) == "RemoteProtocolError"

    await talk(script)


async def test_a_parcel_that_would_not_fit_onto_the_way_to_others_fails_its_call() -> None:
    def script(peer: ForeignPeer) -> None:
        parcel = bytes(16 * 1024 - 400)
        cid = call(peer, "publish_all", "sound")
        peer.send({"yield": parcel, "cid": cid})
        assert error_of(peer, cid) == "LimitExceeded"

    await talk(script, limits=Limits(max_message_bytes=16 * 1024))


async def test_only_the_service_can_be_called() -> None:
    def script(peer: ForeignPeer) -> None:
        for name in ("Broker", "_checked", "context", "check_topic", "current_actor", "trio"):
            assert error_of(peer, call(peer, name)) == "NotExposed"

    await talk(script)


# --- counts of what was read ------------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, -HUGE, None, "1", 1.5, True, [1], b"1"], ids=repr)
async def test_an_absurd_count_fails_its_subscription(count: Any) -> None:
    def script(peer: ForeignPeer) -> None:
        cid = call(peer, "subscribe", "a", 1, "block")
        peer.send({"yield": count, "cid": cid})
        assert error_of(peer, cid) == "RemoteProtocolError"

    await talk(script)


async def test_enormous_counts_and_capacities_get_no_more_than_there_is() -> None:
    def script(peer: ForeignPeer) -> None:
        cid = call(peer, "subscribe", "a", HUGE, "block")
        for count in (HUGE, 0, HUGE):
            peer.send({"yield": count, "cid": cid})
        assert "started" in started(peer, cid)
        for number in range(5):
            assert peer.result_of(call(peer, "publish", "a", bytes([number]))) == 1
            assert peer.receive_for(cid)["yield"] == ["a", bytes([number]), 0]

    await talk(script)


async def test_one_who_grants_nothing_is_kept_only_so_much() -> None:
    """What waits is bounded in bytes, whatever capacity was claimed."""

    def script(peer: ForeignPeer) -> None:
        cid = call(peer, "subscribe", "a", HUGE, "drop_new")
        started(peer, cid)
        parcel = b"\xc4\xff" + bytes(255)
        for _ in range(30):
            cids = [call(peer, "publish", "a", parcel) for _ in range(100)]
            assert {peer.result_of(cid) for cid in cids} == {1}
        assert 1000 < seen[0].dropped < 3000

    seen: list[Any] = []

    async def look() -> None:
        async with Topic("a").open_publisher() as publisher:
            await publisher.wait_subscribers()
            seen.extend(broker().find("a"))

    await talk(script, look, Limits(max_subscriber_bytes=64 * 1024))


def started(peer: ForeignPeer, cid: str) -> dict[str, Any]:
    assert peer.receive_for(cid)["functype"] == "context"
    return peer.receive_for(cid)


# --- many -------------------------------------------------------------------------------------


async def test_thousands_of_subscriptions_end_with_their_link() -> None:
    def script(peer: ForeignPeer) -> None:
        cids = [call(peer, "subscribe", f"a.{n}.*", HUGE, "drop_new") for n in range(2000)]
        assert "started" in started(peer, cids[-1])

    await talk(script)


async def test_more_subscriptions_than_there_may_be_are_refused() -> None:
    def script(peer: ForeignPeer) -> None:
        kept = [call(peer, "subscribe", "a", 1, "block") for _ in range(9)]
        assert "started" in started(peer, kept[-1])
        assert error_of(peer, call(peer, "subscribe", "a", 1, "block")) == "LimitExceeded"

    await talk(script, limits=Limits(max_subscribers=10))


async def test_topics_without_end_leave_little_in_the_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actorsys.topics.broker._MAX_REMEMBERED", 100)

    def script(peer: ForeignPeer) -> None:
        cids = [call(peer, "publish", f"t.{n}", b"\x01") for n in range(500)]
        assert {peer.result_of(cid) for cid in cids} == {0}
        assert len(found[0]) <= 100

    found: list[Any] = []

    async def look() -> None:
        found.append(broker()._found)

    await talk(script, look)


async def test_rubbish_for_others_fails_for_each_item_alone() -> None:
    def script(peer: ForeignPeer) -> None:
        for parcel in (b"\xc1", b"\x81\x90\x01", b"", b"\x91" * 1000):
            assert peer.result_of(call(peer, "publish", "sound", parcel)) == 1

    await talk(script)
