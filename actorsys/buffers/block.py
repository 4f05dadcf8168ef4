"""A piece of memory that can be handed over: its bytes, and who uses them.

In front of the bytes stands a page that tells what they are at present. Two rules keep anybody from
seeing bytes that are not meant for him, whatever dies when:

- who opens a block first locks it, together with others, and then reads on the page which buffer
  it is: if it is not the one he was told of, he goes away;
- its owner makes it another buffer only while he has it locked alone.

A lock ends with the process that holds it, so nothing has to be told for that.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any, NamedTuple

from ..errors import BufferFault, BufferLost, NotReachable, StaleBuffer
from ..memory import FileAddress, Mapping, SharedFile

PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
_HEAD = struct.Struct("<QI")  # generation, bytes of what is told about it
_LOCK_POSITION = 0
MAX_ABOUT_BYTES = PAGE_BYTES - _HEAD.size
_MAX_NUMBER = 2**63


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

    @property
    def is_frozen(self) -> bool:
        """Whether nobody can write to it, ever again."""
        return self._file.is_frozen

    def renew(self, about: bytes) -> bool:
        """Make it another buffer, which *about* tells of; False while somebody uses the last one.

        Raises:
          PermissionError: somebody has frozen it.
        """
        if not self._file.take(_LOCK_POSITION):
            return False
        self._write_page(about)
        self._file.let_go(_LOCK_POSITION)
        return True

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
        is_free = self._file.take(_LOCK_POSITION)
        if is_free:
            self._file.let_go(_LOCK_POSITION)
        return is_free

    def _write_page(self, about: bytes) -> None:
        self._generation += 1
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

    The mapping keeps the lock, so that it costs no descriptor.

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
        finally:
            self._file.close()

    def __repr__(self) -> str:
        return f"<BorrowedBlock {self.address}: {self.mapping!r}>"

    def close(self) -> None:
        """Give it back to its owner."""
        self.mapping.close()

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
        fault = StaleBuffer if _is_alive(address.pid) else BufferLost
        raise fault(f"the memory of process {address.pid} is gone: {error}") from None
    except PermissionError as error:
        raise NotReachable(
            f"the memory of process {address.pid} cannot be opened, it belongs to another user or "
            f"is in another container; send a copy: {error}"
        ) from None
    except ValueError as error:
        raise StaleBuffer(str(error)) from None


def _is_alive(pid: int) -> bool:
    """Tell whether there is a process *pid*, and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
