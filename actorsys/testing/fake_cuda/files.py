"""Files that processes with a fake device share, and short locks on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...memory import FileAddress, Mapping, SharedFile

_SPIN_SECONDS = 0.0002
_MUTEX = 1
"""The byte of a file that is locked while something in it is changed."""


@contextmanager
def locked(file: SharedFile) -> Iterator[None]:
    """Keep other processes from changing what is in *file*, for the block."""
    while not file.take(_MUTEX):
        time.sleep(_SPIN_SECONDS)
    try:
        yield
    finally:
        file.let_go(_MUTEX)


def array_of(file: SharedFile) -> Any:
    """Return the bytes of *file* as a NumPy array; they are mapped until its last view is gone."""
    import numpy

    return numpy.asarray(_Mapped(file.map(0, file.size)))


def open_if_there(address: FileAddress) -> SharedFile | None:
    """Open the file of another process; None if that has ended, and its work with it."""
    try:
        return SharedFile.open(address)
    except (OSError, ValueError):
        return None


class _Mapped:
    """A mapping, as NumPy takes it."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (mapping.size,),
            "data": (mapping.address, False),
        }

    def __del__(self) -> None:
        self._mapping.close()
