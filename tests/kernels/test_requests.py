"""What a kernel has asked for is answered, whatever becomes of the answer."""

from __future__ import annotations

from typing import Any

import trio

from actorsys.actor.parcels import Parcel
from actorsys.errors import BufferLost
from actorsys.kernels.requests import IncomingRequests
from actorsys.kernels.wiring import ToKernel

REQUEST = [7, "ask", "other", [b"", 128, bytes(16)], None]


class Loses:
    """The link to a kernel: a buffer in any answer is lost by the time it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, kind: int, number: int, error: list[str] | None, answer: Parcel | None) -> None:
        if answer is not None:
            raise BufferLost("its owner has died")
        self.sent.append((kind, number, error))


async def test_an_answer_that_cannot_travel_any_more_is_told_as_an_error() -> None:
    async def ask(*_: Any) -> Parcel:
        return b"with a buffer"

    link = Loses()
    async with trio.open_nursery() as tasks:
        IncomingRequests(ask, 1000).start(tasks, link, REQUEST)  # type: ignore[arg-type]
    assert link.sent == [(ToKernel.ANSWER, 7, ["BufferLost", "its owner has died"])]
