"""Messages that cannot travel any more cost themselves, and nothing that their kernel has."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from actorsys import BackpressureStrategy, MailboxOptions
from actorsys.errors import ActorsysError, BufferLost
from actorsys.kernels.delivery import Accepted, Delivery
from actorsys.kernels.packing import Envelope
from actorsys.kernels.wiring import ToKernel

MESSAGES = 1000
SOUND, LOST = b"sound", b"with a lost buffer"


class Loses:
    """The link to the process of a kernel: some messages cannot travel over it."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def send(self, kind: int, *rest: Any) -> None:
        if kind == ToKernel.MESSAGE:
            if rest[2] == LOST:
                raise BufferLost("its owner has died")
            self.given.append(rest[2])


async def fill(delivery: Delivery, *parcels: bytes) -> None:
    for parcel in parcels:
        accepted = Accepted(Envelope(parcel, 128, uuid.uuid4()), 0.0, False)
        await delivery.mailbox.put(accepted, 128)


@pytest.mark.parametrize("backpressure", list(BackpressureStrategy))
async def test_any_number_of_them_is_dropped_at_once(backpressure: BackpressureStrategy) -> None:
    unsendable: list[ActorsysError] = []
    drained: list[bool] = []
    delivery = Delivery(
        MailboxOptions(MESSAGES + 2, backpressure=backpressure),
        lambda _: pytest.fail("there is room"),
        lambda _, error: unsendable.append(error),
        lambda: drained.append(True),
    )
    link = Loses()
    await fill(delivery, *[LOST] * MESSAGES, SOUND)
    delivery.link(link)  # type: ignore[arg-type]
    delivery.set_gate(True)
    if not delivery.is_prefetching:
        assert not link.given
        delivery.on_wanted(1)
    assert link.given == [SOUND]
    assert len(unsendable) == MESSAGES
    assert drained
    assert len(delivery.mailbox) == delivery.mailbox.held == (1 if delivery.is_prefetching else 0)
    await fill(delivery, LOST, SOUND)
    if not delivery.is_prefetching:
        delivery.on_wanted(1)
    assert link.given == [SOUND, SOUND]
    delivery.close()
