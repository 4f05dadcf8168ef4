"""What a worker has done last, in memory that outlives its process.

A worker begins its calls in the order in which it is sent them. So one number, written before each,
tells after a crash which may have run and which provably never did. Small results that have not
left yet are here as well: the next call may crash, and shall not take them with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from ..memory import FileAddress, SharedFile, is_supported

logger = logging.getLogger("actorsys.pools")

_SLOT_BYTES = 64  # a line of cache: the number, the length, the result
_HEAD_BYTES = 9
_SLOTS = 511  # more than a worker has at hand; with the head, eight pages of memory
_FILE_BYTES = _SLOT_BYTES * (1 + _SLOTS)
_MAX_RESULT_BYTES = _SLOT_BYTES - _HEAD_BYTES
_KEPT_TYPES = frozenset({type(None), bool, int, float, str, bytes})


class Journal:
    """The number of the call that was begun last, 0 before the first; and small results.

    Owned by the parent, which makes it and reads it; the worker writes.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._mapping = file.map(0, _FILE_BYTES)
        self._bytes = self._mapping.view()
        self._words = self._bytes.cast("Q")

    def __repr__(self) -> str:
        return f"<Journal: {self.last_begun} begun>"

    @classmethod
    @contextmanager
    def created(cls) -> Iterator[Journal | None]:
        """Make a journal for the block; None where there is no shared memory to be had."""
        journal: Journal | None = None
        try:
            journal = cls(SharedFile.create(_FILE_BYTES)) if is_supported() else None
        except OSError as error:
            logger.warning("no journal for a worker, its death costs all calls at hand: %s", error)
        with _closing(journal):
            yield journal

    @classmethod
    @contextmanager
    def opened(cls, address: list[int] | None) -> Iterator[Journal | None]:
        """Map the journal at *address* for the block; None if there is none."""
        journal = None if address is None else cls(SharedFile.open(FileAddress(*address)))
        with _closing(journal):
            yield journal

    @property
    def address(self) -> list[int]:
        """Where the worker opens it."""
        return list(self._file.address)

    @property
    def last_begun(self) -> int:
        """The number of the call that was begun last."""
        return self._words[0]

    def begin(self, number: int) -> None:
        """Take note that call *number* begins."""
        self._words[0] = number

    def keep(self, number: int, value: Any) -> bool:
        """Keep the result of call *number* if it is small and plain; return whether it is."""
        if type(value) not in _KEPT_TYPES:
            return False
        try:
            data = msgpack.packb(value)
        except (OverflowError, ValueError):  # a large integer, half a surrogate pair
            return False
        if len(data) > _MAX_RESULT_BYTES:
            return False
        word = self._word_of(number)
        start = 8 * word + _HEAD_BYTES
        self._words[word] = 0
        self._bytes[start - 1] = len(data)
        self._bytes[start : start + len(data)] = data
        self._words[word] = number  # the last store: until here, nothing is there
        return True

    def find(self, number: int) -> tuple[Any] | None:
        """Return the result of call *number* in a tuple, or None if it was not kept.

        The worker may have written anything here: what `keep` does not write is no result.
        """
        word = self._word_of(number)
        if self._words[word] != number:
            return None
        start = 8 * word + _HEAD_BYTES
        length = self._bytes[start - 1]
        if length > _MAX_RESULT_BYTES:
            return None
        try:
            value = msgpack.unpackb(bytes(self._bytes[start : start + length]))
        except (ValueError, msgpack.UnpackException):
            return None
        return (value,) if type(value) in _KEPT_TYPES else None

    def _word_of(self, number: int) -> int:
        return _SLOT_BYTES // 8 * (1 + number % _SLOTS)

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._bytes.release()
        self._mapping.close()
        self._file.close()


@contextmanager
def _closing(journal: Journal | None) -> Iterator[None]:
    try:
        yield
    finally:
        if journal is not None:
            journal.close()
