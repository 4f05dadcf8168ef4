"""The suite for implementers refuses what is no proper transport or listener."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio
from trio.testing import MockClock

from actorsys.testing import Place, check_listener, check_transport
from actorsys.transport import MemoryListener, Transport, memory_transport_pair
from actorsys.transport.interface import Buffer

Wrap = Callable[[Transport], Transport]


class Wrapped(Transport):
    """A transport that does what another does."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return repr(self.inner)

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        return self.inner.send_nowait(parts)

    async def send_all(self, data: Buffer) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self.inner.receive_some(max_bytes))

    async def receive_into(self, memory: memoryview) -> int:
        return await self.inner.receive_into(memory)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Boastful(Wrapped):
    """Says that it took everything."""

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        self.inner.send_nowait(parts)
        return sum(map(len, parts))


class Disorderly(Wrapped):
    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        return self.inner.send_nowait(parts[::-1])


class Stingy(Wrapped):
    """Takes a byte at a time."""

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        return self.inner.send_nowait([bytes(memoryview(part)[:1]) for part in parts if part][:1])


class Spilling(Wrapped):
    """Writes beyond what it has received."""

    async def receive_into(self, memory: memoryview) -> int:
        count = await self.inner.receive_into(memory)
        if count < len(memory):
            memory[count:] = bytes(len(memory) - count)
        return count


class Undying(Wrapped):
    """Can be used after it was closed."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def pair_of(wrap: Wrap) -> tuple[Transport, Transport]:
    near, far = memory_transport_pair(capacity=1000)
    return wrap(near), wrap(far)


async def test_a_proper_transport_passes() -> None:
    await check_transport(lambda: pair_of(Wrapped))


async def test_one_that_takes_little_passes_where_it_says_so() -> None:
    await check_transport(lambda: pair_of(Stingy), in_pieces=True)
    with pytest.raises(AssertionError, match="took 1 of 13 bytes") as caught:
        await check_transport(lambda: pair_of(Stingy))
    assert caught.value.__notes__ == ["in the check 'parts_arrive_in_order'"]


REFUSED = {
    Boastful: "nobody reads them",
    Disorderly: "one two three",
    Spilling: r"\.\.hello",
    Undying: "it hangs for 10 s",
}


@pytest.mark.parametrize("wrap", REFUSED)
async def test_a_transport_that_is_none_is_refused(wrap: Wrap, autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match=REFUSED[wrap]):
        await check_transport(lambda: pair_of(wrap))


class Deserted(MemoryListener):
    """A listener that lets whoever waits in vain wait for ever."""

    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()


async def open_place_of(kind: type[MemoryListener]) -> Place:
    listener = kind()
    return Place(listener, listener.connect)


async def test_a_proper_listener_passes() -> None:
    await check_listener(lambda: open_place_of(MemoryListener))


async def test_a_listener_that_is_none_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match="it hangs for 10 s") as caught:
        await check_listener(lambda: open_place_of(Deserted))
    assert "closing_a_listener_wakes_who_accepts" in caught.value.__notes__[0]
