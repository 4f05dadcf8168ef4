"""Trees that call each other: endpoints, links, who may come in, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import link_functions as remote
import pytest
import trio
import trustme
from tree_helpers import open_worker, wait_until_async

import actorsys
from actorsys import open_endpoint, open_link

MODULE = "link_functions"
KEY = b"k" * 32
LOOPBACK = "tcp:127.0.0.1:0"


@asynccontextmanager
async def open_linked(
    address: str = LOOPBACK, tls: actorsys.Tls | None = None
) -> AsyncIterator[tuple[actorsys.Portal, actorsys.Endpoint]]:
    """Open a root with an endpoint, and a link of its own to that."""
    async with actorsys.open_nursery(name="server"):
        async with open_endpoint(address, modules=[MODULE], allow={"ann": KEY}, tls=tls) as door:
            async with open_link(door.address, key=KEY, name="ann", tls=tls) as portal:
                yield portal, door


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> actorsys.Tls:
    """Return the files of an end that a CA of these tests has vouched for."""
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(b.bytes() for b in issued.cert_chain_pems))
    return actorsys.Tls(
        certificate=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem"
    )


# --- calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
async def test_calls_streams_and_contexts_go_through_a_link(
    encrypted: bool, tls: actorsys.Tls
) -> None:
    place = ("tls:127.0.0.1:0", tls) if encrypted else (LOOPBACK, None)
    async with open_linked(*place) as (portal, door):
        assert await portal.run(remote.double, 21) == 42
        async with portal.open_stream_from(remote.count, 5) as items:
            assert [item async for item in items] == [0, 1, 2, 3, 4]
        async with portal.open_context(remote.parrot) as (ctx, first):
            assert first == "hello"
            async with ctx.open_stream() as stream:
                await stream.send("a" * 100_000)
                assert await stream.receive() == "a" * 100_000
            assert await ctx.result() == "bye"
        with pytest.raises(ValueError, match="no") as caught:
            await portal.run(remote.fail)
        assert caught.value.src_uid[0] == "server"  # type: ignore[attr-defined]
        assert [name for name, _ in door.peers] == ["ann"]
        assert portal.name == "server"
        assert portal.pid is None
        assert "alive" in repr(portal)


async def test_an_actor_of_another_process_can_connect() -> None:
    async with open_worker(MODULE) as worker:
        async with open_endpoint(LOOPBACK, modules=[MODULE], allow={"a friend": KEY}) as door:
            assert await worker.run(remote.call_back, door.address, KEY) == 42


async def test_only_the_modules_of_the_endpoint_are_offered() -> None:
    async with open_linked() as (portal, _):
        with pytest.raises(actorsys.NotExposed):
            await portal.run("os:getpid")


async def test_a_caller_offers_nothing_to_the_endpoint() -> None:
    async with open_linked() as (portal, door):
        assert await portal.run(remote.double, 1) == 2
        (channel,) = door._channels
        call = await channel.start_call("asyncfunc", (MODULE, "double"), (1,), {})
        with pytest.raises(actorsys.NotExposed):
            await call.result()


# --- who may come in -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "key"), [("ann", b"x" * 32), ("eve", KEY), ("server", KEY)])
async def test_who_is_not_on_the_list_is_turned_away(name: str, key: bytes) -> None:
    async with open_linked() as (_, door):
        with pytest.raises(actorsys.HandshakeError):
            async with open_link(door.address, key=key, name=name):
                pass
        assert len(door.peers) == 1


async def test_one_name_has_only_so_many_links() -> None:
    limits = actorsys.Limits(max_links_per_peer=2)
    async with actorsys.open_nursery(limits=limits), AsyncExitStack() as links:
        allow = {"ann": KEY, "bob": KEY}
        async with open_endpoint(LOOPBACK, modules=[MODULE], allow=allow) as door:
            for name in ("ann", "ann", "bob"):
                link = open_link(door.address, key=KEY, name=name)
                portal = await links.enter_async_context(link)
                assert await portal.run(remote.double, 1) == 2
            async with open_link(door.address, key=KEY, name="ann") as one_too_many:
                with pytest.raises(actorsys.ActorUnavailable):
                    await one_too_many.run(remote.double, 1)
            await links.aclose()
            await wait_until_async(lambda: not door.peers, 1)
            async with open_link(door.address, key=KEY, name="ann") as portal:
                assert await portal.run(remote.double, 1) == 2


@pytest.mark.parametrize("address", ["tcp:0.0.0.0:0", "tcp:192.0.2.1:80", "tcp:example.org:80"])
async def test_what_others_can_reach_needs_tls(address: str) -> None:
    async with actorsys.open_nursery():
        with pytest.raises(ValueError, match="not encrypted"):
            async with open_endpoint(address, modules=[MODULE], allow={"ann": KEY}):
                pass


async def test_doing_without_it_is_logged_loudly(caplog: pytest.LogCaptureFixture) -> None:
    async with actorsys.open_nursery():
        allow = {"ann": KEY}
        with caplog.at_level(logging.WARNING):
            async with open_endpoint(
                "tcp:0.0.0.0:0", modules=[MODULE], allow=allow, insecure=True
            ) as door:
                port = door.address.rpartition(":")[2]
                async with open_link(f"tcp:127.0.0.1:{port}", key=KEY, name="ann") as portal:
                    assert await portal.run(remote.double, 1) == 2
    assert "NOT ENCRYPTED" in caplog.text


BAD: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (open_endpoint, (LOOPBACK,), {"modules": [MODULE], "allow": {}}, "allow"),
    (open_endpoint, (LOOPBACK,), {"modules": [MODULE], "allow": {"ann": b"short"}}, "32"),
    (open_endpoint, (LOOPBACK,), {"modules": ["no_such"], "allow": {"ann": KEY}}, "no_such"),
    (open_endpoint, ("tls:127.0.0.1:0",), {"modules": [MODULE], "allow": {"ann": KEY}}, "Tls"),
    (open_endpoint, ("udp:127.0.0.1:0",), {"modules": [MODULE], "allow": {"ann": KEY}}, "tcp"),
    (open_endpoint, ("tcp:127.0.0.1",), {"modules": [MODULE], "allow": {"ann": KEY}}, "port"),
    (open_link, ("tcp:127.0.0.1:1",), {"key": "text"}, "32"),
    (open_link, ("nonsense",), {"key": KEY}, "tcp"),
]


@pytest.mark.parametrize(("opener", "args", "kwargs", "word"), BAD)
async def test_bad_input_is_refused_where_it_is_given(
    opener: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], word: str
) -> None:
    async with actorsys.open_nursery():
        with pytest.raises(ValueError, match=word):
            async with opener(*args, **kwargs):
                pass


async def test_without_a_runtime_there_are_no_links() -> None:
    with pytest.raises(actorsys.NoRuntime):
        async with open_link(LOOPBACK, key=KEY):
            pass
    with pytest.raises(actorsys.NoRuntime):
        async with open_endpoint(LOOPBACK, modules=[MODULE], allow={"ann": KEY}):
            pass


# --- how it ends -----------------------------------------------------------------------------


async def test_a_portal_of_a_link_cannot_stop_the_actor() -> None:
    async with open_linked() as (portal, _):
        with pytest.raises(actorsys.LocalProtocolError, match="not started here"):
            await portal.cancel_actor()
        with pytest.raises(actorsys.LocalProtocolError, match="not started here"):
            await portal.result()


async def test_closing_an_endpoint_cancels_what_was_called() -> None:
    async with actorsys.open_nursery(name="server"), trio.open_nursery() as tasks:
        closed = trio.Event()

        async def call() -> None:
            async with open_link(address, key=KEY, name="ann") as portal:
                with pytest.raises(actorsys.ContextCancelled) as caught:
                    await portal.run(remote.wait_for_ever)
                assert caught.value.canceller == actorsys.current_actor().uid
                await closed.wait()
                with pytest.raises(actorsys.ActorUnavailable) as refused:
                    await portal.run(remote.double, 1)
                assert not refused.value.may_have_run

        async with open_endpoint(LOOPBACK, modules=[MODULE], allow={"ann": KEY}) as door:
            address = door.address
            tasks.start_soon(call)
            await wait_until_async(lambda: remote.running == 1, 1)
        assert remote.running == 0
        closed.set()


async def test_leaving_a_link_cancels_what_was_called_and_fails_its_callers() -> None:
    async with actorsys.open_nursery(), trio.open_nursery() as tasks:
        async with open_endpoint(LOOPBACK, modules=[MODULE], allow={"ann": KEY}) as door:

            async def call() -> None:
                with pytest.raises(actorsys.ActorUnavailable) as caught:
                    await portal.run(remote.wait_for_ever)
                assert caught.value.may_have_run

            async with open_link(door.address, key=KEY, name="ann") as portal:
                tasks.start_soon(call)
                await wait_until_async(lambda: remote.running == 1, 1)
            await wait_until_async(lambda: remote.running == 0, 1)
            with pytest.raises(actorsys.ActorUnavailable):
                await portal.run(remote.double, 1)


async def test_a_monitor_is_told_once_of_a_lost_link() -> None:
    async with open_linked() as (portal, door):
        assert await portal.run(remote.double, 1) == 2
        async with actorsys.monitor(portal) as events:
            (channel,) = door._channels
            await trio.aclose_forcefully(channel._transport)
            downs = [down async for down in events]
        assert [down.uid for down in downs] == [portal.uid]
        assert isinstance(downs[0].reason, actorsys.ActorUnavailable)
        assert not portal.is_alive
        with pytest.raises(actorsys.ActorUnavailable):
            async with actorsys.monitor(portal):
                pass


async def test_an_error_of_the_body_leaves_as_itself() -> None:
    with pytest.raises(KeyError):
        async with open_linked():
            raise KeyError("mine")
