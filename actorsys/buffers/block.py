"""A piece of memory that can be handed over: its bytes, and who uses them.

In front of the bytes stands a page that tells what they are at present. Two rules keep anybody from
seeing bytes that are not meant for him, whatever dies when:

- who opens a block first locks it, together with others, and then reads on the page which buffer
  it is: if it is not the one he was told of, he goes away;
- its owner makes it another buffer only while he has it locked alone.

A lock ends with the process that holds it, so nothing has to be told for that.
"""

from __future__ import annotations

import ctypes
import mmap
import secrets
import struct
from typing import Any, NamedTuple

from ..errors import BufferFault, BufferLost, NotReachable, StaleBuffer
from ..memory import FileAddress, GuestBook, Mapping, SharedFile, is_alive

PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
_GENERATION_BITS = 62
_GENERATION_BIT = 1 << _GENERATION_BITS  # set in all, so that all take as many bytes on the wire
_HEAD = struct.Struct("<QI")  # generation, bytes of what is told about it
_LOCK_POSITION = 0
MAX_ABOUT_BYTES = PAGE_BYTES - _HEAD.size
_MAX_NUMBER = 2**63


_DEVICE_MARK = b"\x94"
"""What is told of a block on a device is a list of four; of another, one of three (`layout`)."""


class BufferAddress(NamedTuple):
    """Which buffer: the file that its block is, and the generation of the block."""

    file: FileAddress
    generation: int

    def __str__(self) -> str:
        return "-".join(f"{number:x}" for number in (*self.file, self.generation))

    @classmethod
    def parse(cls, text: str) -> BufferAddress:
        """Return the address that *text* is.

        Raises:
          ValueError: it is none.
        """
        try:
            return cls.checked([int(part, 16) for part in text.split("-")])
        except ValueError:
            raise ValueError(f"{text!r} is no name of a buffer") from None

    @classmethod
    def checked(cls, numbers: list[Any]) -> BufferAddress:
        """Return the address of four numbers.

        Raises:
          ValueError: they are none.
        """
        if len(numbers) != 4 or not all(type(n) is int and 0 <= n < _MAX_NUMBER for n in numbers):
            raise ValueError("a buffer is named by four numbers")
        return cls(FileAddress(*numbers[:3]), numbers[3])


class Block:
    """A block that this process owns. Its pool gives it to one buffer after the other."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._file = SharedFile.create(PAGE_BYTES + capacity)
        try:
            self.mapping = self._file.map(PAGE_BYTES, capacity)
        except BaseException:
            self._file.close()
            raise
        self._generation = 0

    def __repr__(self) -> str:
        return f"<Block: {self.capacity} bytes, generation {self._generation}, {self._file!r}>"

    @property
    def address(self) -> BufferAddress:
        """The buffer that it is at present."""
        return BufferAddress(self._file.address, self._generation)

    is_on_device = False
    """Whether its bytes are on a device, and its file only tells where."""

    @property
    def is_frozen(self) -> bool:
        """Whether nobody can write to it, ever again."""
        return self._file.is_frozen

    def renew(self, about: bytes) -> bool:
        """Make it another buffer, which *about* tells of; False while somebody uses the last one.

        Raises:
          PermissionError: somebody has frozen it.
        """
        if not self._take_alone():
            return False
        self._write_page(about)
        self._let_go()
        return True

    def clear(self, begin: int = 0) -> None:
        """Fill its bytes with zeros, from *begin* on."""
        ctypes.memset(self.mapping.address + begin, 0, self.capacity - begin)

    def retire(self) -> bool:
        """Let it be no buffer any more; return whether nobody uses the last one.

        Who does can go on, and nobody can begin.

        Raises:
          PermissionError: somebody has frozen it.
        """
        self._write_page(b"")
        return self.is_free

    @property
    def is_free(self) -> bool:
        """Whether no other process has it open."""
        is_free = self._take_alone()
        if is_free:
            self._let_go()
        return is_free

    def _take_alone(self) -> bool:
        """Lock it alone; return whether that was possible."""
        return self._file.take(_LOCK_POSITION)

    def _let_go(self) -> None:
        self._file.let_go(_LOCK_POSITION)

    def _write_page(self, about: bytes) -> None:
        # Nobody guesses it: who can name a buffer was told of it by somebody who had it.
        self._generation = _GENERATION_BIT | secrets.randbits(_GENERATION_BITS)
        self._file.write(0, _HEAD.pack(self._generation, len(about)) + about)

    def freeze(self) -> None:
        """Let nobody write to it any more.

        Raises:
          BlockingIOError: another process has it mapped to write to it.
        """
        self._file.freeze(self.mapping)

    def close(self) -> None:
        """Give it up; the memory is gone when the last process has done so."""
        self.mapping.close()
        self._file.close()


class BorrowedBlock:
    """A block of another process, locked for as long as this is open.

    The mapping keeps the lock, so that it costs no descriptor. Who borrows one whose bytes are on a
    device enters its `GuestBook` as well.

    Raises:
      StaleBuffer, BufferLost, NotReachable: it is not to be had.
      BufferFault: there is no room for it in this process.
    """

    def __init__(self, address: BufferAddress) -> None:
        self.address = address
        self._file = _open(address.file)
        try:
            self.about = self._lock(address.generation)
            self.is_frozen = self._file.is_frozen
            self.capacity = self._file.size - PAGE_BYTES
            self.mapping = self._map()
            self._line = self._enter() if self.is_on_device else None
        finally:
            self._file.close()

    def __repr__(self) -> str:
        return f"<BorrowedBlock {self.address}: {self.mapping!r}>"

    @property
    def is_on_device(self) -> bool:
        """Whether its bytes are on a device, and its file only tells where."""
        return self.about.startswith(_DEVICE_MARK)

    def close(self) -> None:
        """Give it back to its owner."""
        if self._line is not None:
            self._book.leave(self._line)
        self.mapping.close()

    def _enter(self) -> int:
        """Write this process into the book of who uses the device memory; return the line."""
        try:
            if self.is_frozen or self.capacity < GuestBook.SIZE_BYTES:
                raise StaleBuffer(f"buffer {self.address} has no book of who uses it")
            self._book = GuestBook(self._file, self.mapping)
            return self._book.enter()
        except BaseException as error:
            self.mapping.close()
            if isinstance(error, BlockingIOError):
                raise BufferFault(f"buffer {self.address}: {error}") from None
            raise

    def _map(self) -> Mapping:
        try:
            return self._file.map(PAGE_BYTES, self.capacity, is_writable=not self.is_frozen)
        except OSError as error:
            raise BufferFault(f"buffer {self.address} cannot be mapped: {error}") from error

    def _lock(self, generation: int) -> bytes:
        """Keep it from becoming another buffer; return what is told about it."""
        # While its owner makes it another one it is locked: it is stale then as well.
        if self._file.size > PAGE_BYTES and self._file.hold(_LOCK_POSITION):
            found, length = _HEAD.unpack(self._file.read(0, _HEAD.size))
            if found == generation and 0 < length <= MAX_ABOUT_BYTES:
                return self._file.read(_HEAD.size, length)
        raise StaleBuffer(f"buffer {self.address} was given back to its owner")


def _open(address: FileAddress) -> SharedFile:
    """Open the file of a block.

    What is frozen can only be opened to be read.
    """
    try:
        try:
            return SharedFile.open(address)
        except PermissionError:
            return SharedFile.open(address, is_writable=False)
    except FileNotFoundError as error:
        fault = StaleBuffer if is_alive(address.pid) else BufferLost
        raise fault(f"the memory of process {address.pid} is gone: {error}") from None
    except PermissionError as error:
        raise NotReachable(
            f"the memory of process {address.pid} cannot be opened, it belongs to another user or "
            f"is in another container; send a copy: {error}"
        ) from None
    except ValueError as error:
        raise StaleBuffer(str(error)) from None
