"""Algorithms and a bus for tests of carriers; the algorithms run in other processes too."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from actorsys import ActorDied, register_type
from actorsys.carriers import Bus, BusCarrier


class Recorder:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.senders: list[Any] = []

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        self.received.append(content)
        self.senders.append(meta["sender"])


class Doing(Recorder):
    """Does with each message what a function says, after it has kept it."""

    def __init__(self, function: Callable[[Any, Any, dict[str, Any]], Awaitable[Any]]) -> None:
        super().__init__()
        self._function = function

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await super().on_exchange_message(carrier, content, meta)
        await self._function(carrier, content, meta)


class Answering(Recorder):
    """Answers a request with twice its content."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await super().on_exchange_message(carrier, content, meta)
        carrier.reply_to_other(content * 2, meta)


class PingPong(Recorder):
    """Answers one-way messages with the next number, up to ten."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await super().on_exchange_message(carrier, content, meta)
        if content < 10:
            carrier.reply_to_other(content + 1, meta)


class Failing:
    """Raises whatever comes."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        raise ZeroDivisionError(f"cannot handle {content}")


@asynccontextmanager
async def open_bus(*algorithms: Any, **options: Any) -> AsyncIterator[tuple[Bus, list[BusCarrier]]]:
    """Open a bus with a carrier for each of *algorithms*; None is one that keeps what comes."""
    bus = Bus(**options)
    carriers = [BusCarrier(aid, bus, algorithm) for aid, algorithm in enumerate(algorithms, 1)]
    try:
        yield bus, carriers
    finally:
        await bus.aclose()


def on_asyncio(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run an async test in an asyncio loop of its own."""

    def run() -> None:
        async def bounded() -> None:
            await asyncio.wait_for(test(), 20)

        asyncio.run(bounded())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def pid_of(algorithm: Any) -> int:
    return os.getpid()


def received(algorithm: Any) -> list[Any]:
    return list(algorithm.received)


class Asking:
    """Leads by asking everybody; its result is what they answer."""

    async def start_optimization(self, carrier: Any, content: Any, meta: dict[str, Any]) -> Any:
        return await asyncio.gather(
            *[carrier.send_awaitable(content, other) for other in carrier.others("coordinator")]
        )


class Flooding:
    """Sends numbered messages to the first participant, with or without waiting."""

    async def start_optimization(self, carrier: Any, count: int, meta: dict[str, Any]) -> None:
        for number in range(count):
            carrier.send_to_other(number, 1)


class Noting:
    """Waits for ever, and notes in a file how that ended."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await self._wait(asyncio.sleep(60))

    async def start_optimization(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await self._wait(carrier.send_awaitable("?", 1))

    async def _wait(self, awaitable: Any) -> None:
        try:
            await awaitable
        except BaseException as error:
            with open(self._path, "a") as file:
                died = isinstance(error, ActorDied)
                file.write("ActorDied\n" if died else f"{type(error).__name__}\n")
            raise


class Blocking:
    """Blocks the asyncio loop in C."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        time.sleep(content)


class Branching:
    """Sends on to several others, down to a depth, sometimes after a while."""

    def __init__(self, seed: int) -> None:
        self.handled = 0
        self._chance = random.Random(seed)

    async def on_exchange_message(self, carrier: Any, content: int, meta: dict[str, Any]) -> None:
        if self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.random() / 1000)
        for _ in range(self._chance.randrange(3) if content else 0):
            carrier.send_to_other(content - 1, self._chance.choice(carrier.others("")))
        self.handled += 1


class Threads(Recorder):
    """On a message, sends from eight threads to the next one."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        if content != "go":
            await super().on_exchange_message(carrier, content, meta)
            return

        def send(thread: int) -> None:
            for number in range(500):
                carrier.send_to_other((thread, number), 1)

        await asyncio.gather(*[asyncio.to_thread(send, thread) for thread in range(8)])


def failing_factory(number: int) -> Any:
    raise LookupError(f"no algorithm number {number}")


def handled(algorithm: Any) -> int:
    return int(algorithm.handled)


async def handled_later(algorithm: Any) -> int:
    await asyncio.sleep(0)
    return handled(algorithm)


class Endless:
    """Answers one-way messages for ever."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        carrier.reply_to_other(content + 1, meta)


def make_secretive() -> Any:
    """Return a coordinator whose result only its own process knows."""

    @register_type
    @dataclasses.dataclass
    class Secret:
        value: int

    class Secretive:
        async def start_optimization(self, carrier: Any, content: Any, meta: Any) -> Any:
            return Secret(content)

    return Secretive()


def blocking_factory() -> None:
    time.sleep(60)


class DyingSoon:
    """Ends its process soon after it was made."""

    def __init__(self) -> None:
        asyncio.get_running_loop().call_later(0.1, os._exit, 3)


class Drowning:
    """Sends much to slow others, and raises while it is still on its way."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        if content != "go":
            time.sleep(0.02)
            return
        for _ in range(10):
            for receiver in carrier.others(""):
                carrier.send_to_other(bytes(2 << 20), receiver)
        await asyncio.sleep(self._delay)
        raise ValueError("drowned")


class Numbered:
    """Has a number."""

    def __init__(self, number: int) -> None:
        self.number = number


def read_unless_first(algorithm: Any) -> Any:
    if algorithm.number == 0:
        raise ValueError("number 0 does not like to be read")
    return asyncio.sleep(60)


def read_never(algorithm: Any) -> Any:
    return asyncio.get_running_loop().create_future()


class Scheduling:
    """Schedules something that fails."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        def fail() -> None:
            raise ValueError("scheduled to fail")

        carrier.schedule_using(fail, 0)


class Exiting:
    """Exits."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        sys.exit(content)


class Filling:
    """Adds its address to each element of a buffer, and has the next one do the same."""

    async def on_exchange_message(self, carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        content["buffer"].array()[:] += carrier.get_address()
        if carrier.get_address() < max(carrier.others("")):
            carrier.send_to_other(content, carrier.get_address() + 1)

    async def start_optimization(self, carrier: Any, content: Any, meta: dict[str, Any]) -> Any:
        content["buffer"].array()[:] += 1
        return content
