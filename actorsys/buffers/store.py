"""The buffers of one actor: its own memory, and what it has borrowed."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import trio

from ..channel import Channel
from ..errors import BufferFault, BufferLost, DeviceUnavailable, NotReachable, StaleBuffer
from ..limits import Limits
from ..memory import is_supported
from ..wire.extensions import NUMPY_ARRAY
from .block import Block, BorrowedBlock, BufferAddress
from .block_pool import BlockPool
from .buffer import Buffer
from .codes import BUFFER, SHARED_ARRAY
from .holding import Holding
from .janitor import Janitor
from .layout import Layout
from .leases import Lease, LeaseState, Ledger

if TYPE_CHECKING:
    from .device_store import DeviceStore
    from .settling import RunBlocking

T = TypeVar("T")

_HOST = "cpu"
_MAX_LEASE = 2**63
_SHARE_OF_DESCRIPTORS = 4


class BufferStatistics(NamedTuple):
    """What the buffers of an actor are doing right now, and what they have done so far.

    Attributes:
      own, borrowed: buffers and arrays that it has in its own memory, and in that of others.
      pending, accepted: leases of those that it has handed over, by how far they are.
      bytes: memory of its own, what rests in the pool included.
      handed_over: buffers and arrays handed over so far.
      copied: arrays that were large enough, and were copied all the same: for want of room.
      device_bytes: as ``bytes``, on all devices.
    """

    own: int
    borrowed: int
    pending: int
    accepted: int
    bytes: int
    handed_over: int
    copied: int
    device_bytes: int


class BufferStore:
    """The buffers of one actor. Owned by the actor; tasks run in *services*."""

    def __init__(self, limits: Limits, services: trio.Nursery, run_blocking: RunBlocking) -> None:
        self._limits = limits
        self._services = services
        self._run_blocking = run_blocking
        self._janitor = Janitor()
        self.pool = BlockPool(limits.max_buffer_bytes, limits.max_resting_buffer_bytes)
        self._array_pool = BlockPool(limits.max_array_bytes, limits.max_array_bytes)
        self._device_store: DeviceStore | None = None
        self._holdings: dict[BufferAddress, Holding] = {}
        self._dues: dict[BufferAddress, list[tuple[Ledger, int]]] = {}
        self._watches: dict[int, trio.CancelScope] = {}
        self._ledgers: dict[Channel, Ledger] = {}
        self._handed_over = 0
        self._copied = 0

    def __repr__(self) -> str:
        return f"<BufferStore: {len(self._holdings)} buffers, {self.pool!r}>"

    def statistics(self) -> BufferStatistics:
        """Return what they are doing right now."""
        return self._janitor.run(self._count)

    def _count(self) -> BufferStatistics:
        self._janitor.end_tick()
        own = sum(holding.is_own for holding in self._holdings.values())
        states = [state for ledger in self._ledgers.values() for state in ledger.states()]
        return BufferStatistics(
            own=own,
            borrowed=len(self._holdings) - own,
            pending=states.count(LeaseState.PENDING),
            accepted=states.count(LeaseState.ACCEPTED),
            bytes=self.pool.size + self._array_pool.size,
            handed_over=self._handed_over,
            copied=self._copied,
            device_bytes=self._device_store.size if self._device_store is not None else 0,
        )

    # --- its own -------------------------------------------------------------------------

    def open(self, layout: Layout, device: str = _HOST) -> Buffer:
        """Return a new buffer of zeros.

        Raises:
          BufferPoolFull, DeviceOutOfMemory: there is no room.
          NotShareable: the dtype means nothing on the device.
          DeviceUnavailable: this system has no memory to share, or there is no such device.
        """
        pool = self._pool_for(layout, device)
        return self._janitor.run(functools.partial(self._open, layout, pool))

    def _open(self, layout: Layout, pool: BlockPool) -> Buffer:
        self._janitor.end_tick()  # what is left to be done may be the very memory that is needed
        return Buffer(self._own(pool.take(layout.nbytes, layout.pack()), layout, pool))

    async def open_when_free(self, layout: Layout, device: str = _HOST) -> Buffer:
        """As `open`, but wait for room.

        Raises:
          BufferPoolFull: there never will be: it is larger than the pool.
        """
        pool = self._pool_for(layout, device)
        self._janitor.end_tick()
        block = await pool.take_when_free(layout.nbytes, layout.pack())
        return Buffer(self._own(block, layout, pool))

    def _pool_for(self, layout: Layout, device: str) -> BlockPool:
        _check_supported()
        if device == _HOST:
            return self.pool
        layout.check_for_device()
        return self.devices.pool(device)

    @property
    def devices(self) -> DeviceStore:
        """Its buffers on devices; loaded when the first is needed."""
        if self._device_store is None:
            from .device_store import DeviceStore

            self._device_store = DeviceStore(
                self._limits,
                self._services,
                self._run_blocking,
                self._janitor,
                lambda: [channel.codec for channel in list(self._ledgers)],
            )
        return self._device_store

    def _own(self, block: Block, layout: Layout, pool: BlockPool) -> Holding:
        on_unused = functools.partial(self._put_back, pool)
        make = self.devices.own if block.is_on_device else self._own_on_host
        holding = make(block, layout, on_unused)
        self._holdings[holding.address] = holding
        return holding

    def _own_on_host(
        self, block: Block, layout: Layout, on_unused: Callable[[Holding], None]
    ) -> Holding:
        return Holding(block, layout, self._janitor, on_unused)

    async def adopt(self, array: Any) -> Buffer:
        """Return a new buffer with a copy of *array*, on the device that it is on.

        Raises: as `open_when_free`.
        """
        if hasattr(array, "__cuda_array_interface__"):
            return await self._adopt(*self.devices.find_array(array))
        import numpy

        return await self._adopt(numpy.asarray(array), _HOST)

    async def _adopt(self, array: Any, device: str) -> Buffer:
        buffer = await self.open_when_free(Layout.of(array), device)
        if device == _HOST:
            buffer.array()[...] = array
        else:
            self.devices.fill(buffer.array(), array, device)
        return buffer

    def _put_back(self, pool: BlockPool, holding: Holding) -> None:
        del self._holdings[holding.address]
        assert isinstance(holding.block, Block)
        pool.give_back(holding.block)

    # --- of others -----------------------------------------------------------------------

    def resolve(self, buffer_id: str) -> Buffer:
        """Return the buffer that is named *buffer_id*.

        Raises:
          ValueError: that names none.
          StaleBuffer, BufferLost, NotReachable: it is not to be had.
        """
        address = BufferAddress.parse(buffer_id)

        def find() -> Buffer:
            holding = self._find(address)
            return self._used(holding, lambda _: self._handle(holding.checked()))

        return self._janitor.run(find)

    def _find(self, address: BufferAddress) -> Holding:
        """Return what is at *address*, counted as used."""
        holding = self._holdings.get(address)
        if holding is not None:
            holding.grab()
            return holding
        block = BorrowedBlock(address)
        try:
            holding = self._borrow(block)
        except BaseException:
            block.close()
            raise
        self._holdings[address] = holding
        self._watch(address.file.pid)
        holding.grab()
        return holding

    def _borrow(self, block: BorrowedBlock) -> Holding:
        if block.is_on_device:
            return self.devices.borrow(block, self._return)
        layout = Layout.unpack(block.about, block.capacity)
        return Holding(block, layout, self._janitor, self._return)

    def _used(self, holding: Holding, make: Callable[[Holding], T]) -> T:
        """Return what *make* makes of a holding that was found; it is let go if that fails."""
        try:
            return make(holding)
        finally:
            holding.drop()

    def _return(self, holding: Holding) -> None:
        """Give a borrowed buffer back."""
        del self._holdings[holding.address]
        holding.block.close()
        for ledger, number in self._dues.pop(holding.address, ()):
            ledger.give_back(number)

    def _borrowed_from(self, pid: int) -> list[Holding]:
        found = self._holdings.values()
        return [h for h in found if h.address.file.pid == pid and not h.is_own]

    # --- the ends of others --------------------------------------------------------------

    def _watch(self, pid: int) -> None:
        """Have what belongs to a process declared lost once it has ended."""
        if pid in self._watches or pid == os.getpid():
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # it has ended, or was never one
            self._lose_all_of(pid)
            return
        scope = self._watches[pid] = trio.CancelScope()
        self._services.start_soon(self._wait_end, pid, pidfd, scope)

    async def _wait_end(self, pid: int, pidfd: int, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.lowlevel.wait_readable(pidfd)
            if self._watches.get(pid) is scope:
                del self._watches[pid]
            if not scope.cancelled_caught:
                self._lose_all_of(pid)
        finally:
            os.close(pidfd)

    def _lose_all_of(self, pid: int) -> None:
        self._lose(self._borrowed_from(pid), f"process {pid}, to which it belongs, has ended")

    def _lose(self, holdings: list[Holding], why: str) -> None:
        for holding in holdings:
            if holding.fault is None:
                holding.fault = BufferLost(f"buffer {holding.address} is lost: {why}")

    # --- on the links --------------------------------------------------------------------

    def attach(self, channel: Channel) -> None:
        """Let buffers travel over *channel*."""
        ledger = self._ledgers[channel] = Ledger(channel, self._janitor.end_tick)
        codec = channel.codec
        unpack = _refuse if channel.is_remote else codec.unpack_nested
        codec.add_extension(
            BUFFER,
            Buffer,
            lambda buffer: codec.pack_nested(self._pack(ledger, buffer.to_send())),
            lambda data: self._used(self._unpack(ledger, unpack(data)), self._handle),
        )
        codec.add_extension(
            SHARED_ARRAY,
            None,
            None,
            lambda data: self._used(self._unpack(ledger, unpack(data)), Holding.array),
        )
        if not channel.is_remote and is_supported():
            codec.divert(NUMPY_ARRAY, SHARED_ARRAY, functools.partial(self._pack_array, ledger))
        if self._device_store is not None:
            self._device_store.on_new_link()

    def on_note(self, channel: Channel, note: dict[str, Any]) -> None:
        """Take note of what the peer does with what it was lent.

        Raises:
          RemoteProtocolError: it was not lent that.
        """
        self._ledgers[channel].on_note(note)

    def detach(self, channel: Channel) -> None:
        """Revoke what was lent over *channel*, which is lost."""
        ledger = self._ledgers.pop(channel)
        ledger.close()
        for address, dues in self._dues.items():
            left = [due for due in dues if due[0] is not ledger]
            # Of an actor inside this process, nothing but its link tells of its end.
            if dues and not left and address.file.pid == os.getpid():
                self._lose([self._holdings[address]], "the link to its actor has ended")
            dues[:] = left
        # One link more or less: which processes are still of interest is found anew.
        for pid in [pid for pid in self._watches if not self._borrowed_from(pid)]:
            self._watches.pop(pid).cancel()

    def _handle(self, holding: Holding) -> Buffer:
        """Return a handle; what comes home is the one that it was here."""
        handle = holding.handle() if holding.is_own and holding.handle is not None else None
        return handle if isinstance(handle, Buffer) and not handle.is_released else Buffer(holding)

    def _pack(self, ledger: Ledger, holding: Holding) -> list[Any]:
        """Lend a buffer to the peer; the frame that is being encoded tells it."""
        channel = ledger.channel
        if channel.is_remote:
            raise NotReachable(
                f"a buffer does not reach actor {channel.session.peer_uid[0]!r}, which may be on "
                f"another machine; send a copy: buffer.array()"
            )
        lease = ledger.lend(holding)
        self._handed_over += 1
        channel.codec.undo_with(functools.partial(self._take_back, ledger, lease))
        address = holding.address
        return [lease.number, *address.file, address.generation, *holding.order()]

    def _take_back(self, ledger: Ledger, lease: Lease) -> None:
        self._handed_over -= 1
        ledger.take_back(lease)

    def pack_array(self, channel: Channel, array: Any) -> bytes | None:
        """Return how a large array goes over *channel*; None if it goes as it is."""
        return self._pack_array(self._ledgers[channel], array) if is_supported() else None

    def _pack_array(self, ledger: Ledger, array: Any) -> bytes | None:
        """Put a copy of a large array where the peer finds it; None where that does not pay."""
        if array.nbytes < self._limits.shared_array_bytes or array.dtype.hasobject:
            return None
        try:
            layout = Layout.of(array)
            # NumPy copies the fields of a record, and leaves what is between them.
            is_zeroed = array.dtype.fields is not None
            self._array_pool.max_blocks = _most_array_blocks()
            block = self._array_pool.take(layout.nbytes, layout.pack(), is_zeroed=is_zeroed)
        except (BufferFault, ValueError, TypeError):
            self._copied += 1
            return None
        holding = self._own(block, layout, self._array_pool)
        layout.fill(block.mapping.view(), array)
        return ledger.channel.codec.pack_nested(self._pack(ledger, holding))

    def _unpack(self, ledger: Ledger, told: list[Any]) -> Holding:
        """Return what the peer has lent us."""
        number, numbers, order = told[0], told[1:5], told[5:]
        if type(number) is not int or not 0 <= number < _MAX_LEASE:
            raise ValueError("a lease is a number")
        try:
            address = BufferAddress.checked(numbers)
            is_known = address in self._holdings
            holding = self._find(address)
        except BaseException:
            ledger.give_back(number)
            raise
        try:
            holding.put_after(order)
        except BaseException:
            ledger.give_back(number)
            holding.drop()
            raise
        if holding.is_own and not self._is_lent(holding):
            ledger.give_back(number)
            holding.drop()
            raise StaleBuffer(f"buffer {address} was handed to nobody who could hand it back")
        if is_known:
            # One lease is enough, and two that lend each other the same would wait for each other.
            ledger.give_back(number)
        else:
            ledger.accept(number)
            self._dues.setdefault(holding.address, []).append((ledger, number))
        return holding

    def _is_lent(self, holding: Holding) -> bool:
        """Tell whether anybody has it from here; who hands it back may have it from them."""
        return any(ledger.has_lent(holding) for ledger in self._ledgers.values())

    async def wait_accepted(self) -> None:
        """Wait until all that was handed over is open there: it outlives this process then."""
        for ledger in list(self._ledgers.values()):
            await ledger.wait_accepted()

    def close(self) -> None:
        """Give all memory back that is not in use here; the rest follows when it is not."""
        self._janitor.close()
        self.pool.close()
        self._array_pool.close()
        if self._device_store is not None:
            self._device_store.close()


def _most_array_blocks() -> float:
    """Return how many arrays may be under way: each takes a descriptor of this process."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // _SHARE_OF_DESCRIPTORS) if soft > 0 else math.inf


def _refuse(data: bytes) -> Any:
    raise NotReachable("memory is not shared with another tree")


def _check_supported() -> None:
    if not is_supported():
        raise DeviceUnavailable(
            "buffers need memory files and /proc, which only Linux has; send arrays, which are "
            "copied"
        )
