"""Links made by hand: two channels, or a channel and a peer that writes its own frames.

The functions that the links expose are defined here as well.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import trio

from actorsys.channel import Channel, Exposure, IncomingCall, OutgoingCall, Target, context
from actorsys.channel.dispatch import NextJob, RuntimeFunction, Service
from actorsys.channel.remote_errors import pack_cancelled
from actorsys.limits import Limits
from actorsys.transport import Transport, memory_transport_pair
from actorsys.wire import Call, Codec, FrameReader, Kind, Session

NS = __name__
ALICE = ("alice", "a-1")
BOB = ("bob", "b-1")
LIMITS = Limits()
MAX_BYTES = LIMITS.max_message_bytes
_PATIENCE_SECONDS = 1.0  # all is in one process: what has not come by then never will


# --- what peers may call ---------------------------------------------------------------------


async def echo(value: Any = None, *more: Any) -> Any:
    return [value, *more] if more else value


async def fail(text: str = "it failed") -> None:
    raise ValueError(text)


async def never() -> None:
    await trio.sleep_forever()


async def unencodable() -> object:
    return object()


async def make_bytes(size: int) -> bytes:
    return bytes(size)


async def count(stop: int, size: int = 0) -> AsyncIterator[Any]:
    for i in range(stop):
        yield (i, b"x" * size) if size else i


async def count_and_fail(stop: int) -> AsyncIterator[int]:
    for i in range(stop):
        yield i
    raise ValueError("out of numbers")


@context
async def parrot(call: IncomingCall, greeting: Any = "hello") -> int:
    """Send every item back; return how many there were."""
    await call.send_started(greeting)
    assert call.flow is not None
    seen = 0
    while True:
        try:
            item = await call.flow.receive()
        except trio.EndOfChannel:
            return seen
        seen += 1
        await call.flow.send(item)


@context
async def deaf(call: IncomingCall) -> None:
    """Start, and never read."""
    await call.send_started(None)
    await trio.sleep_forever()


# --- how they are run ------------------------------------------------------------------------


async def run_call(next_job: NextJob) -> None:
    """Run the call that is to come; its caller is told once how it ended."""
    job = await next_job()
    if job is None:
        return
    call, message, target = job
    channel = call.channel
    try:
        with trio.CancelScope() as scope:
            call.enter(scope)
            await _run(call, message, target)
            return
        fields = pack_cancelled(
            call.canceller or BOB, call.cancel_reason, BOB, channel.limits, channel.measure
        )
        call.send_error(fields)
    except Exception as error:
        call.send_error(channel.pack_error(error))
    finally:
        channel.table.forget(call.cid)


async def _run(call: IncomingCall, message: Call, target: Target) -> None:
    if target.kind == "context":
        call.send_functype()
        await call.send_return(await target.fn(call, *message.args, **message.kwargs))
    elif target.kind == "asyncgen":
        call.send_functype()
        assert call.flow is not None
        async with aclosing(target.fn(*message.args, **message.kwargs)) as items:
            async for item in items:
                await call.flow.send(item)
        call.send_stop()
    else:
        await call.send_return(await target.fn(*message.args, **message.kwargs))


def a_service(functions: dict[str, RuntimeFunction] | None = None) -> Service:
    return Service(Exposure([sys.modules[__name__]]), run_call, functions or {})


def a_session(
    *,
    is_client: bool,
    peer_max_frame_bytes: int = MAX_BYTES,
    peer_window_bytes: int = LIMITS.stream_window_bytes,
) -> Session:
    """Return the session of Alice, who connected, or of Bob."""
    own, peer = (ALICE, BOB) if is_client else (BOB, ALICE)
    return Session(own, peer, is_client, peer_max_frame_bytes, peer_window_bytes, frozenset())


# --- two channels ----------------------------------------------------------------------------


@asynccontextmanager
async def open_pair(
    limits: Limits = LIMITS, capacity: int = 65536
) -> AsyncIterator[tuple[Channel, Channel]]:
    """Open a link between Alice and Bob; yield her end and his."""
    near, far = memory_transport_pair(capacity)
    window = limits.stream_window_bytes
    most = limits.max_message_bytes
    alice_session = a_session(is_client=True, peer_window_bytes=window, peer_max_frame_bytes=most)
    bob_session = a_session(is_client=False, peer_window_bytes=window, peer_max_frame_bytes=most)
    async with trio.open_nursery() as nursery:
        alice = Channel(near, alice_session, a_service(), limits)
        bob = Channel(far, bob_session, a_service(), limits)
        nursery.start_soon(alice.run)
        nursery.start_soon(bob.run)
        yield alice, bob
        nursery.cancel_scope.cancel()


async def start(
    channel: Channel, func: str, *args: Any, kind: Kind = "asyncfunc", **kwargs: Any
) -> OutgoingCall:
    """Start a call of one of the functions above."""
    return await channel.start_call(kind, (NS, func), args, kwargs)


async def ask(channel: Channel, func: str, *args: Any, **kwargs: Any) -> Any:
    """Call one of the functions above and return its result."""
    return await (await start(channel, func, *args, **kwargs)).result()


# --- a channel and a raw peer ----------------------------------------------------------------


class RawPeer:
    """An authenticated peer that writes whatever it likes."""

    def __init__(self, transport: Transport, uid: tuple[str, str], first_cid: int) -> None:
        self.transport = transport
        self.uid = uid
        self._next_cid = first_cid
        self._codec = Codec()
        self._frames = FrameReader(2**31, LIMITS.segment_bytes)
        self._ready: list[dict[Any, Any]] = []

    async def send(self, *messages: dict[str, Any]) -> None:
        """Send messages in one write."""
        await self.send_bytes(b"".join(map(self.frame, messages)))

    async def send_bytes(self, data: bytes) -> None:
        await self.transport.send_all(data)

    def frame(self, message: dict[str, Any]) -> bytes:
        return b"".join(bytes(part) for part in self._codec.encode(message, 2**31))

    def call(self, func: str, *, ns: str = NS, **changes: Any) -> dict[str, Any]:
        """Return a sound call, with the next cid unless another is given."""
        cid = changes.pop("cid", None)
        if cid is None:
            cid = f"{self._next_cid:x}"
            self._next_cid += 2
        uid, kwargs = changes.pop("uid", list(self.uid)), changes.pop("kwargs", {})
        return {"cmd": [ns, func, kwargs, uid, cid], **changes}

    async def receive(self) -> dict[Any, Any] | None:
        """Return the next message, or None at the end of the link; fail where neither comes."""
        while not self._ready:
            try:
                with trio.fail_after(_PATIENCE_SECONDS):
                    data = await self.transport.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._frames.feed(data)
            self._ready += [self._codec.decode(frame)[0] for frame in self._frames]
        return self._ready.pop(0)

    async def take(self, count: int) -> None:
        """Receive *count* bytes and keep them for the next messages."""
        while count:
            data = await self.transport.receive_some(count)
            assert data
            count -= len(data)
            self._frames.feed(data)
            self._ready += [self._codec.decode(frame)[0] for frame in self._frames]

    async def receive_all(self) -> list[dict[Any, Any]]:
        """Return every message up to the end of the link."""
        found = []
        while (message := await self.receive()) is not None:
            found.append(message)
        return found

    async def answers(self, *messages: dict[str, Any]) -> list[dict[Any, Any]]:
        """Send calls; return all messages up to the end of the last of them."""
        await self.send(*messages)
        last, found = messages[-1]["cmd"][4], []
        while (message := await self.receive()) is not None:
            found.append(message)
            if message.get("cid") == last and {"return", "error", "stop"} & message.keys():
                return found
        raise AssertionError(f"the link was closed: {found}")

    async def is_served(self) -> bool:
        """Tell whether the link still answers a call."""
        try:
            return (await self.answers(self.call("echo", args=["ping"])))[-1]["return"] == "ping"
        except (AssertionError, trio.BrokenResourceError):
            return False


@asynccontextmanager
async def open_raw(
    limits: Limits = LIMITS,
    *,
    functions: dict[str, RuntimeFunction] | None = None,
    channel_is_client: bool = False,
    capacity: int = 65536,
    **session: Any,
) -> AsyncIterator[tuple[RawPeer, Channel]]:
    """Open a link whose one end is a raw peer; yield that and the channel."""
    near, far = memory_transport_pair(capacity)
    async with trio.open_nursery() as nursery:
        own = a_session(is_client=channel_is_client, **session)
        channel = Channel(far, own, a_service(functions), limits)
        nursery.start_soon(channel.run)
        yield RawPeer(near, own.peer_uid, 2 if channel_is_client else 1), channel
        nursery.cancel_scope.cancel()
    await near.aclose()


def cids_of(messages: Iterable[dict[Any, Any]], key: str) -> list[str]:
    """Return the cids of the messages of one kind."""
    return [message["cid"] for message in messages if key in message]
