"""Carriers that share one asyncio loop: for tests of algorithms, and to try one out."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from ..errors import CarrierError, RunEnded
from ..limits import DEFAULT_LIMITS, Limits
from .carrier import Meta, find_start
from .content import ContentCodec
from .failure import Failure
from .frames import Item
from .hub import Hub, RunStatistics
from .hub_carrier import HubCarrier
from .lane import Address
from .options import Delivery, check_delivery, check_max_messages
from .outgoing import Outgoing


class Bus:
    """What the carriers of one run have in common. Its methods belong to the asyncio loop.

    Contents are copied and delivered as between processes: what works here works there. In place of
    ``types=[...]``, call `actorsys.register_type` on the dataclasses that travel.
    """

    def __init__(
        self,
        delivery: Delivery = "concurrent",
        limits: Limits = DEFAULT_LIMITS,
        *,
        max_messages: int | None = None,
    ) -> None:
        check_delivery(delivery)
        check_max_messages(max_messages)
        self.limits = limits
        self.carriers: dict[Address, BusCarrier] = {}
        self._hub = Hub(limits, delivery, self._deliver, self._wake, max_messages)
        self._failure = Failure(lambda: None)  # `aclose` raises what nobody was told
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Bus: {len(self.carriers)} carriers, {self.in_flight} under way>"

    @property
    def in_flight(self) -> int:
        """How much was sent and is not handled, or is held open."""
        return self._hub.in_flight

    def statistics(self) -> RunStatistics:
        """Return what has passed so far."""
        return self._hub.statistics()

    async def start(self, content: Any) -> None:
        """Have the first participant send *content* to the second.

        Raises:
          ValueError: there are not two participants.
          Exception: the run has failed.
        """
        self._failure.check()
        if len(self.carriers) < 2:
            count = len(self.carriers)
            raise ValueError(
                f"the first participant starts the second; there {'is' if count else 'are'} {count}"
            )
        first, second, *_ = self.carriers.values()
        first.send_to_other(content, second.get_address())
        await asyncio.sleep(0)

    async def coordinate(self, content: Any, coordinator: BusCarrier) -> Any:
        """Have the algorithm of *coordinator* lead a run that begins with *content*.

        If cancelled, its task is cancelled as well.

        Raises:
          Exception: it has failed, or the run has.
        """
        self._failure.check()
        meta = {"sender": coordinator.get_address(), "message_id": uuid.uuid4()}
        leading = find_start(coordinator.algorithm)(coordinator, content, meta)
        task = asyncio.ensure_future(leading)
        task.add_done_callback(lambda _: self._wake())
        with coordinator.hold():
            try:
                await self._wait(task.done)
            except BaseException:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                raise
        return task.result()

    async def quiescent(self) -> None:
        """Wait until every message is handled and nothing is under way.

        Raises:
          Exception: the first one that a handler of a one-way message has raised.
          BudgetExceeded: the budget is used up.
        """
        await asyncio.sleep(0)  # what was sent in this step of the loop is under way after it
        await self._wait(lambda: not self.in_flight)

    async def _wait(self, is_reached: Callable[[], bool]) -> None:
        with self._failure.waiting():
            while self._failure.error is None and not is_reached():
                self._changed.clear()
                await self._changed.wait()

    async def aclose(self) -> None:
        """Cancel all handlers, and wait for them; nothing can be sent any more.

        Raises:
          Exception: what the run has failed with, if no call has raised it.
        """
        with self._failure.closing(RunEnded("the bus is closed")):
            for carrier in self.carriers.values():
                await carrier.aclose()
        self._wake()

    # --- what carriers do ----------------------------------------------------------------

    def add(self, carrier: BusCarrier) -> None:
        """Take in a carrier.

        Raises:
          ValueError: its address is taken.
        """
        address = carrier.get_address()
        if address in self.carriers:
            raise ValueError(f"the address {address!r} is taken: {self.carriers[address]!r}")
        self.carriers[address] = carrier
        self._hub.add(address)

    def on_item(self, sender: Address, item: Item) -> None:
        """Take an item of a carrier."""
        try:
            self._hub.on_item(sender, item)
        except CarrierError as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Take the error of a handler."""
        if self._failure.record(error):
            self._failure.tell()
        self._wake()

    def _deliver(self, receiver: Address, item: Item) -> None:
        asyncio.get_running_loop().call_soon(self.carriers[receiver].on_item, item)

    def _wake(self) -> None:
        self._changed.set()


class _Recorder:
    """The algorithm of a carrier that has none."""

    def __init__(self) -> None:
        self.received: list[tuple[Any, Meta]] = []

    async def on_exchange_message(self, carrier: Any, content: Any, meta: Meta) -> None:
        self.received.append((content, meta))


class BusCarrier(HubCarrier):
    """The carrier of one participant on a `Bus`; make it inside the asyncio loop.

    Without an *algorithm* it keeps what comes in ``algorithm.received``, as pairs of content and
    meta.
    """

    def __init__(self, aid: Address, bus: Bus, algorithm: Any = None) -> None:
        if not isinstance(bus, Bus):
            raise TypeError(f"the second argument is an actorsys.carriers.Bus, not {bus!r}")
        if type(aid) is not int:
            raise TypeError(f"the address of a carrier is a whole number, not {aid!r}")
        loop = asyncio.get_running_loop()
        self.algorithm: Any = _Recorder() if algorithm is None else algorithm

        def post(drain: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(drain)

        outgoing = Outgoing(bus.limits, post, lambda item: bus.on_item(aid, item))
        codec = ContentCodec(bus.limits, (str(aid), "on a bus"))
        super().__init__(
            aid, bus.carriers.keys(), self.algorithm, codec, bus.limits, outgoing, bus.fail
        )
        bus.add(self)
