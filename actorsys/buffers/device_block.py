"""A block whose bytes are on a device: its file tells where, and who uses it.

All that is said of a block is so for this one as well. Its page tells, beside what array it is,
where the bytes are; behind the page stands the `GuestBook` of those who use them. To be free, a
block needs its lock, and nobody in the book: a process that dies loses its locks at once, and what
it had queued on the device goes on until it has ended entirely.
"""

from __future__ import annotations

from ..cuda import Gpu, RangeAddress
from ..errors import StaleBuffer
from ..memory import GuestBook
from ..wire import Codec
from .block import PAGE_BYTES, Block, BorrowedBlock
from .layout import MAX_BYTES, Layout

_codec = Codec()


class DeviceBlock(Block):
    """A block of this process on *gpu*, of *capacity* bytes, all zeros.

    Raises:
      DeviceOutOfMemory: there is no room.
      OSError: there are too many open files.
    """

    is_on_device = True

    def __init__(self, gpu: Gpu, capacity: int) -> None:
        super().__init__(max(PAGE_BYTES, GuestBook.SIZE_BYTES))
        self.gpu = gpu
        self.capacity = capacity
        self._book = GuestBook(self._file, self.mapping)
        try:
            self._range = gpu.take(capacity)
        except BaseException:
            super().close()
            raise
        try:
            self.clear()
        except BaseException:
            self.close()
            raise

    @property
    def range_address(self) -> RangeAddress:
        """Where its bytes are."""
        return self.gpu.address(self._range)

    def renew(self, about: bytes) -> bool:
        """Make it another buffer, which *about* and the place of its bytes tell of."""
        return super().renew(pack_about(about, self.range_address))

    def clear(self, begin: int = 0) -> None:
        """Fill its bytes with zeros, all of them; return when they are."""
        self.gpu.zero(self._range, self.capacity)

    def _take_alone(self) -> bool:
        if not super()._take_alone():
            return False
        if self._book.is_empty():
            return True
        self._let_go()
        return False

    def close(self) -> None:
        """Give it up: now, or as soon as nobody uses it any more."""
        self.gpu.do_when_possible(self._close_if_free)

    def _close_if_free(self) -> bool:
        if not self.is_free:
            return False
        super().close()
        self.gpu.give_back(self._range)
        return True


def pack_about(layout: bytes, address: RangeAddress) -> bytes:
    """Return what the page of a block says: a packed layout, and where the bytes are."""
    return _codec.pack_nested([*_codec.unpack_alone(layout), address.pack()])


def unpack_about(block: BorrowedBlock) -> tuple[Layout, RangeAddress]:
    """Return what the page of a block on a device says.

    Raises:
      StaleBuffer: it makes no sense.
    """
    try:
        *layout, told = _codec.unpack_alone(block.about)
        described = Layout.unpack(_codec.pack_nested(layout), MAX_BYTES)
        described.check_for_device()
        address = RangeAddress.checked(told, described.nbytes)
    except StaleBuffer:
        raise
    except Exception as error:
        # Whoever has written it, it is not to be used.
        raise StaleBuffer(f"a buffer on a device is not what it says: {error}") from error
    if address.control.pid != block.address.file.pid:
        raise StaleBuffer("a buffer on a device is told to be in two processes")
    return described, address
