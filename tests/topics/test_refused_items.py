"""An item that the root cannot pass on is told to who listens, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from actorsys.actor.parcels import Parcel, unpack
from actorsys.errors import BufferFault, BufferLost, DeviceUnavailable, RemoteProtocolError
from actorsys.topics.service import _send_at_once
from actorsys.topics.subscriber import Delivery

DATA = b"\xa4text"


class Refuses:
    """The stream to one who listens: what comes with a buffer cannot be lent."""

    def __init__(self, fault: BufferFault) -> None:
        self.sent: list[Parcel] = []
        self._fault = fault

    def encode(self, item: list[Any]) -> list[bytes]:
        if isinstance(item[1], list):
            raise self._fault
        self.sent.append(item[1])
        return [b"frame"]

    def send_frame_nowait(self, _: list[bytes]) -> bool:
        return True


def send(fault: BufferFault) -> Parcel:
    flow = Refuses(fault)
    assert _send_at_once(flow, Delivery("a", [DATA, "a buffer"], 0))  # type: ignore[arg-type]
    (sent,) = flow.sent
    return sent


def test_of_a_lost_buffer_its_name_is_told() -> None:
    assert send(BufferLost("its owner has died")) == DATA


def test_what_could_come_too_early_is_not_told_by_its_name() -> None:
    with pytest.raises(RemoteProtocolError):
        unpack(send(DeviceUnavailable("the device does not answer")))
