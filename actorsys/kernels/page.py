"""Which messages a kernel has taken last, and what it has counted, in memory that outlives it.

What was taken must be known before anything is done with the message, or a crash would have it
given once more. To write it here costs nothing; a frame that says the same follows when there is
nothing better to do, or with the next thing that the kernel has to say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..memory import FileAddress, SharedFile, is_supported
from .tally import TALLY_WORDS, Tally

logger = logging.getLogger("actorsys.kernels")

_SLOTS = 64  # more than a kernel has at hand, but for a flood of urgent ones
_PAGE_BYTES = 8 * (1 + _SLOTS + TALLY_WORDS)


class KernelPage:
    """The numbers of the messages that were taken last, a count and a ring of slots; and a tally.

    Owned by a `Kernel`, which makes it and reads it; its process writes.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._mapping = file.map(0, _PAGE_BYTES)
        self._words = self._mapping.view().cast("Q")
        self._tally_words = self._words[1 + _SLOTS :]
        self.tally = Tally(self._tally_words)

    @classmethod
    def create(cls) -> KernelPage | None:
        """Make a page; None where there is no shared memory to be had."""
        try:
            return cls(SharedFile.create(_PAGE_BYTES)) if is_supported() else None
        except OSError as error:
            logger.warning("no page for a kernel, each message costs more: %s", error)
            return None

    @classmethod
    @contextmanager
    def opened(cls, address: list[int] | None) -> Iterator[KernelPage | None]:
        """Map the page at *address* for the block; None if it cannot be had."""
        page: KernelPage | None = None
        if address is not None:
            try:
                page = cls(SharedFile.open(FileAddress(*address)))
            except (OSError, ValueError) as error:
                logger.warning("the page of a kernel is out of reach: %s", error)
        try:
            yield page
        finally:
            if page is not None:
                page.close()

    def __repr__(self) -> str:
        return f"<KernelPage: {self._words[0]} taken, {self.tally!r}>"

    @property
    def address(self) -> FileAddress:
        """Where its process opens it."""
        return self._file.address

    def note(self, number: int) -> None:
        """Take note of the number of a message; it is known with the last store."""
        count = self._words[0]
        self._words[1 + count % _SLOTS] = number
        self._words[0] = count + 1

    def numbers(self) -> list[int]:
        """Return the numbers taken last."""
        return list(self._words[1 : 1 + min(self._words[0], _SLOTS)])

    def close(self) -> None:
        """Give the memory back."""
        self._tally_words.release()
        self._words.release()
        self._mapping.close()
        self._file.close()
