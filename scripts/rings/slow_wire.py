"""A connection in memory that takes its time, can be cut, and is listened to."""

from __future__ import annotations

import random
from typing import Any

import trio

from actorsys.limits import Limits
from actorsys.transport import Transport, memory_transport_pair
from actorsys.wire import Codec, FrameReader

CAPACITIES_BYTES = [7, 100, 1000, 65536, 65536]
"""How much an end takes before its sender waits: less than a frame, a few frames, plenty."""

CHUNK_BYTES = 4096
DELAYED_SHARE = 0.2
MOST_DELAY_SECONDS = 0.1


class SlowWire:
    """A wire with the transports of two peers at its ends: ``near`` and ``far``."""

    def __init__(self, chance: random.Random, limits: Limits) -> None:
        capacity = chance.choice(CAPACITIES_BYTES)
        self.near, self._near_end = memory_transport_pair(capacity)
        self.far, self._far_end = memory_transport_pair(capacity)
        self.faults: list[str] = []
        self._chance = chance
        self._limits = limits
        self._carrying = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<SlowWire: {self.near!r} to {self.far!r}>"

    async def run(self) -> None:
        """Carry bytes until it is cut or cancelled, or both peers have closed their ends."""
        with self._carrying:
            async with trio.open_nursery() as carriers:
                carriers.start_soon(self._carry, self._near_end, self._far_end)
                carriers.start_soon(self._carry, self._far_end, self._near_end)
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._near_end)
            await trio.aclose_forcefully(self._far_end)

    def cut(self) -> None:
        """Lose what is on its way, in both directions, and carry nothing more."""
        self._carrying.cancel()

    async def _carry(self, source: Transport, sink: Transport) -> None:
        """Carry bytes in one direction until *source* ends; *sink* ends then."""
        tap = _Tap(self.faults, self._limits)
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                if self._chance.random() < DELAYED_SHARE:
                    await trio.sleep(self._chance.random() * MOST_DELAY_SECONDS)
                tap.take(bytes(data))
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # that peer has closed its end; the other direction learns it by itself
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(sink)


class _Tap:
    """Listens to one direction, and notes what nobody may say: anything after the last message."""

    def __init__(self, faults: list[str], limits: Limits) -> None:
        self._faults = faults
        self._frames = FrameReader(limits.max_message_bytes, limits.segment_bytes)
        self._codec = Codec(limits)
        self._ended: set[str] = set()
        self._stopped: set[str] = set()

    def take(self, data: bytes) -> None:
        self._frames.feed(data)
        for frame in self._frames:
            message, _ = self._codec.decode(frame)
            if "cmd" not in message:
                self._check(message)

    def _check(self, message: dict[str, Any]) -> None:
        cid = message.get("cid")
        if cid is None:
            self._faults.append(f"a peer has closed the link, saying {message}")
        elif cid in self._ended:
            self._faults.append(f"call {cid} has ended, and then came {message}")
        elif cid in self._stopped and {"yield", "stop"} & message.keys():
            self._faults.append(f"the stream of call {cid} has ended, and then came {message}")
        elif {"return", "error"} & message.keys():
            self._ended.add(cid)
        elif "stop" in message:
            self._stopped.add(cid)
