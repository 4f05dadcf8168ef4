"""Arrays of a fake device: what is written to them is queued, what is read is waited for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .allocations import Allocation
from .streams import ADD, COPY, FILL, MULTIPLY, NOWHERE, Work

if TYPE_CHECKING:
    from .runtime import FakeCuda


class FakeArray:
    """An array on a fake device, with as much of CuPy's as tests of memory need.

    Slices are views. To write a number, or another such array, to one is queued on the current
    stream; to read from it waits for that.
    """

    def __init__(self, runtime: FakeCuda, allocation: Allocation, view: Any, owner: Any) -> None:
        self._runtime = runtime
        self._allocation = allocation
        self._view = view
        self._owner = owner

    def __repr__(self) -> str:
        return f"<FakeArray {self.shape} of {self.dtype} at {self.ptr:#x}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths."""
        shape: tuple[int, ...] = self._view.shape
        return shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype."""
        return self._view.dtype

    @property
    def flags(self) -> Any:
        """How it lies in memory, as NumPy tells it."""
        return self._view.flags

    @property
    def ptr(self) -> int:
        """Where it begins."""
        return int(self._view.ctypes.data)

    @property
    def device(self) -> int:
        """The number of its device."""
        return self._allocation.device

    def __len__(self) -> int:
        return len(self._view)

    def __bool__(self) -> bool:
        if self._view.size != 1:
            raise ValueError("the truth value of an array with more elements than one is ambiguous")
        return bool(self.sees())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = {**self._view.__array_interface__, "version": 3}
        return interface

    def __dlpack__(self, **options: Any) -> Any:
        """Return it as a DLPack capsule, of the memory that it is made of."""
        return self.sees().__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return where it is: 2 is CUDA."""
        return 2, self.device

    # --- reading -------------------------------------------------------------------------

    def sees(self) -> Any:
        """Return what the current stream finds there, as NumPy sees the very memory."""
        self._runtime.finish_current_stream(self._allocation)
        return self._view

    def get(self, out: Any = None) -> Any:
        """Return a copy on the host."""
        if out is None:
            return self.sees().copy()
        out[...] = self.sees()
        return out

    def sum(self) -> Any:
        """Return the sum of its elements."""
        return self.sees().sum()

    def any(self) -> Any:
        """Tell whether any element is not zero."""
        return self.sees().any()

    def tolist(self) -> Any:
        """Return its elements."""
        return self.sees().tolist()

    def __float__(self) -> float:
        return float(self.sees())

    def __eq__(self, other: object) -> Any:
        return self.sees() == other

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> FakeArray:
        view = self._view[key]
        if not isinstance(view, type(self._view)):
            part = key if isinstance(key, Sequence) else (key,)
            view = self._view[(*part[:-1], slice(part[-1], part[-1] + 1 or None))].reshape(())
        return FakeArray(self._runtime, self._allocation, view, self._owner)

    # --- writing -------------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self[key]
        if isinstance(value, FakeArray):
            target._copy(value)
        elif isinstance(value, (bool, int, float)):
            target._queue(FILL, float(value))
        else:
            target.set(value)

    def set(self, array: Any) -> None:
        """Copy a NumPy array to it; that is done at once, after what was queued."""
        self.sees()[...] = array

    def fill(self, value: float) -> None:
        """Queue writing a number to all elements."""
        self._queue(FILL, value)

    def __iadd__(self, value: float) -> FakeArray:
        self._queue(ADD, value)
        return self

    def __imul__(self, value: float) -> FakeArray:
        self._queue(MULTIPLY, value)
        return self

    def _queue(self, operation: int, value: float) -> None:
        for part, _ in self._parts(self):
            self._runtime.queue(self._allocation, part._work(operation, value))

    def _copy(self, source: FakeArray) -> None:
        if source.dtype != self.dtype or source.shape != self.shape:
            raise ValueError("the fake copies between arrays of one shape and dtype")
        for part, other in self._parts(source):
            work = part._work(COPY, 0.0)._replace(
                source=other._allocation.address, source_offset=other._offset
            )
            self._runtime.queue(self._allocation, work, other._allocation)

    def _parts(self, other: FakeArray) -> Iterator[tuple[FakeArray, FakeArray]]:
        """Yield it and *other*, of the same shape, in parts in which neither has gaps."""
        if self.flags.c_contiguous and other.flags.c_contiguous:
            yield self, other
            return
        for number in range(len(self)):
            part = number if self._view.ndim > 1 else slice(number, number + 1)
            yield from self[part]._parts(other[part])

    def _work(self, operation: int, value: float) -> Work:
        count = math.prod(self.shape)
        dtype = self.dtype.char.encode()
        target = self._allocation.address
        return Work(operation, dtype, target, self._offset, count, value, NOWHERE, 0, 0)

    @property
    def _offset(self) -> int:
        return self.ptr - self._allocation.base
