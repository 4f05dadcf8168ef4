"""Memory of a device comes back although nothing else wakes the process that had it."""

from __future__ import annotations

import pytest
import trio
from device_helpers import COUNT, DEVICE, fake_device

import actorsys
from actorsys import current_actor
from actorsys.buffers.layout import Layout
from actorsys.cuda import Gpu


async def test_what_the_last_reference_was_dropped_to_is_given_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synchronize = Gpu.synchronize
    is_settled = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(gpu: Gpu) -> None:
        synchronize(gpu)
        token.run_sync_soon(is_settled.set)

    with fake_device():
        async with actorsys.open_nursery():
            buffer = current_actor().buffers.open(Layout(COUNT, "f4"), DEVICE)
            buffer.array()[:] = 1.0
            monkeypatch.setattr(Gpu, "synchronize", tell)
            del buffer
            with trio.move_on_after(0.2) as patience:
                await is_settled.wait()
        assert not patience.cancelled_caught
