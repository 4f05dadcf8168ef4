"""The buffers of one actor that are on devices: pools of its own, and what it has borrowed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import trio

from ..cuda import Gpu, find_gpu, find_runtime
from ..errors import NotShareable
from ..limits import Limits
from ..wire import Codec
from .block import Block, BorrowedBlock
from .block_pool import BlockPool
from .device_block import DeviceBlock, unpack_about
from .device_holding import DeviceHolding
from .holding import Holding
from .janitor import Janitor
from .layout import Layout
from .settling import RunBlocking, Settling

FOREIGN_ARRAY = 63
"""Extension code of arrays that are on a device, and in no buffer. It is never sent."""


class DeviceStore:
    """Owned by the `BufferStore` of an actor; made when there is something on a device.

    *codecs* returns those of its links.
    """

    def __init__(
        self,
        limits: Limits,
        services: trio.Nursery,
        run_blocking: RunBlocking,
        janitor: Janitor,
        codecs: Callable[[], Iterable[Codec]],
    ) -> None:
        self._limits = limits
        self._services = services
        self._run_blocking = run_blocking
        self._janitor = janitor
        self._pools: dict[str, BlockPool] = {}
        self._settlings: dict[Gpu, Settling] = {}
        self._codecs = codecs
        self._is_used = False
        self._is_closed = False
        self._refusing: WeakSet[Codec] = WeakSet()

    def __repr__(self) -> str:
        return f"<DeviceStore: {self._pools!r}>"

    @property
    def size(self) -> int:
        """The bytes of its own on all devices, what rests included."""
        return sum(pool.size for pool in self._pools.values())

    def pool(self, device: str) -> BlockPool:
        """Return the pool of a device.

        Raises:
          DeviceUnavailable: there is none.
        """
        gpu = find_gpu(device)
        self._settling(gpu)
        self.refuse_arrays()
        if gpu.name not in self._pools:
            limits = self._limits
            make = functools.partial(DeviceBlock, gpu)
            self._pools[gpu.name] = BlockPool(
                limits.max_buffer_bytes, limits.max_resting_buffer_bytes, make
            )
        return self._pools[gpu.name]

    def own(self, block: Block, layout: Layout, on_unused: Callable[[Holding], None]) -> Holding:
        """Return what this process has of a buffer of its own, in a block of one of the pools."""
        assert isinstance(block, DeviceBlock)
        return self._hold(block, layout, on_unused, block.range_address)

    def borrow(self, block: BorrowedBlock, on_unused: Callable[[Holding], None]) -> DeviceHolding:
        """Return what this process has of a buffer of another one.

        Raises:
          StaleBuffer: what is told of it makes no sense.
        """
        layout, where = unpack_about(block)
        return self._hold(block, layout, on_unused, where)

    def _hold(
        self,
        block: Block | BorrowedBlock,
        layout: Layout,
        on_unused: Callable[[Holding], None],
        where: Any,
    ) -> DeviceHolding:
        def settle(holding: Holding) -> None:
            """Give the holding back when all work on it is done."""
            assert isinstance(holding, DeviceHolding)
            gpu = holding.used_on
            if gpu is None:
                on_unused(holding)
                self._tidy_from_now_on()
                return
            holding.ends += 1
            give_back = functools.partial(_give_back, holding, holding.ends, on_unused)
            self._settling(gpu).do_when_done(give_back)

        return DeviceHolding(
            block, layout, self._janitor, settle, where, self.refuse_arrays, self.wait_settled
        )

    def _tidy_from_now_on(self) -> None:
        for settling in self._settlings.values():
            settling.tidy_from_now_on()

    def _settling(self, gpu: Gpu) -> Settling:
        if gpu not in self._settlings:
            grace = self._limits.stop_grace_seconds
            self._settlings[gpu] = Settling(gpu, self._services, self._run_blocking, grace)
            if self._is_closed:
                self._settlings[gpu].close()
        return self._settlings[gpu]

    async def wait_settled(self, gpu: Gpu | None) -> None:
        """Wait until the work on what was let go on *gpu* by now is done."""
        await trio.lowlevel.checkpoint()
        if gpu in self._settlings:
            await self._settlings[gpu].wait_settled()

    def on_new_link(self) -> None:
        """Treat a new link as those before."""
        if self._is_used:
            self.refuse_arrays()

    def refuse_arrays(self) -> None:
        """Have arrays on devices, passed as they are, refused with advice; there is CUDA here."""
        self._is_used = True
        for codec in self._codecs():
            if codec not in self._refusing:
                self._refusing.add(codec)
                codec.add_extension(FOREIGN_ARRAY, find_runtime().array_type(), _refuse, _refuse)

    # --- copies --------------------------------------------------------------------------

    def find_array(self, value: Any) -> tuple[Any, str]:
        """Return *value*, of whatever library, as an array of the runtime, and its device."""
        runtime = find_runtime()
        array = runtime.as_array(value)
        return array, f"cuda:{runtime.device_of(array)}"

    def fill(self, target: Any, source: Any, device: str) -> None:
        """Queue a copy of *source* to *target*, arrays on *device*."""
        gpu = find_gpu(device)
        with gpu.runtime.on(gpu.number):
            gpu.runtime.copy(target, source)

    def close(self) -> None:
        """Give all memory back that is not in use here; the rest follows when it is not."""
        self._is_closed = True
        for pool in self._pools.values():
            pool.close()
        for settling in self._settlings.values():
            settling.close()


def _give_back(holding: DeviceHolding, end: int, on_unused: Callable[[Holding], None]) -> None:
    """Give back what nobody uses, unless it has come again since."""
    if not holding.users and holding.ends == end:
        holding.unmap()
        on_unused(holding)


def _refuse(array: Any) -> Any:
    raise NotShareable(
        "an array on a GPU travels in a buffer: copy it into one with actorsys.adopt(array), or "
        "have it made in one, with open_buffer(shape, dtype, device='cuda:0')"
    )
