"""Messages that cannot travel any more cost themselves, and nothing that their kernel has."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
import trio

from actorsys import BackpressureStrategy, MailboxOptions
from actorsys.errors import ActorsysError, BufferLost, MailboxFull
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
        await delivery.put(accepted)


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


def open_delivery(size: int, backpressure: BackpressureStrategy) -> tuple[Delivery, Loses]:
    """Return a delivery whose gate is open, and its link; whatever is dropped may be."""
    options = MailboxOptions(size, backpressure=backpressure)
    delivery = Delivery(options, lambda _: None, lambda *_: None, lambda: None)
    link = Loses()
    delivery.link(link)  # type: ignore[arg-type]
    delivery.set_gate(True)
    return delivery, link


async def test_a_message_goes_past_an_empty_mailbox() -> None:
    delivery, link = open_delivery(2, BackpressureStrategy.REJECT)
    await fill(delivery, SOUND, LOST, SOUND)
    assert link.given == [SOUND, SOUND]
    assert len(delivery.mailbox) == delivery.mailbox.held == 2
    with pytest.raises(MailboxFull):
        await fill(delivery, SOUND)
    delivery.close()


async def test_a_closed_gate_keeps_it_in_the_mailbox() -> None:
    delivery, link = open_delivery(2, BackpressureStrategy.REJECT)
    delivery.set_gate(False)
    await fill(delivery, SOUND)
    assert not link.given
    delivery.set_gate(True)
    assert link.given == [SOUND]
    delivery.close()


async def test_whoever_is_cancelled_before_it_has_sent_nothing() -> None:
    delivery, link = open_delivery(2, BackpressureStrategy.BLOCK)
    with trio.CancelScope() as scope:
        scope.cancel()
        await fill(delivery, SOUND)
    assert scope.cancelled_caught
    assert not link.given
    assert not len(delivery.mailbox)
    delivery.close()


@pytest.mark.parametrize("count", [0, -1, True, 1.0, math.inf, math.nan, "1", None])
async def test_what_is_no_number_of_messages_is_not_wanted(count: Any) -> None:
    delivery, _ = open_delivery(2, BackpressureStrategy.DROP_OLDEST)
    with pytest.raises(ValueError, match="wants"):
        delivery.on_wanted(count)
    delivery.close()


async def test_a_process_with_messages_at_hand_wants_none() -> None:
    delivery, _ = open_delivery(2, BackpressureStrategy.BLOCK)
    with pytest.raises(ValueError, match="wants"):
        delivery.on_wanted(1)
    delivery.close()


async def test_a_process_gets_no_more_than_the_mailbox_holds_whatever_it_wants() -> None:
    delivery, link = open_delivery(2, BackpressureStrategy.DROP_OLDEST)
    for _ in range(3):
        delivery.on_wanted(10**9)
    await fill(delivery, *[SOUND] * 5)
    assert len(link.given) == len(delivery.mailbox) == 2
    delivery.close()


@pytest.mark.timeout(10)  # it took 12 s where each was compared with all at hand
async def test_a_flood_of_better_messages_takes_as_long_for_each() -> None:
    delivery, link = open_delivery(100_000, BackpressureStrategy.BLOCK)
    await fill(delivery, *[SOUND] * 16)
    for _ in range(20_000):
        accepted = Accepted(Envelope(SOUND, 200, uuid.uuid4()), 0.0, False)
        await delivery.put(accepted)
    assert len(link.given) == 20_016
    delivery.close()
