"""What the bytes of a buffer are: an array of some shape and dtype."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from ..errors import NotShareable, StaleBuffer
from ..wire import Codec
from ..wire.extensions import describe_dtype, read_dtype

MAX_DIMENSIONS = 32
MAX_BYTES = 2**48
_DEVICE_DTYPES = "?bhilqBHILQefdFD"
"""By their characters in NumPy: what CUDA computes with."""

_codec = Codec()


class Layout:
    """Shape, dtype and order of an array; ``nbytes`` is what it takes. NumPy is imported for it.

    Raises:
      NotShareable: the dtype holds Python objects, which mean nothing elsewhere.
      ValueError, TypeError: it is no shape, or no dtype.
    """

    __slots__ = ("dtype", "nbytes", "order", "shape")

    def __init__(self, shape: int | Sequence[int], dtype: Any, order: str = "C") -> None:
        import numpy

        self.shape = _checked_shape(shape)
        self.dtype = numpy.dtype(dtype)
        self.order = order
        if self.dtype.hasobject:
            raise NotShareable(
                f"dtype {self.dtype} holds Python objects, which mean nothing in another process; "
                f"take one of numbers, or send the objects as values"
            )
        if self.dtype.subdtype is not None or not self.dtype.itemsize:
            raise ValueError(f"dtype {self.dtype} has no elements of a size; take one that has")
        self.nbytes = int(math.prod(self.shape) * self.dtype.itemsize)
        # NumPy makes no array of no elements either, if the other lengths are too much.
        largest = math.prod(length or 1 for length in self.shape) * self.dtype.itemsize
        if largest > MAX_BYTES:
            raise ValueError(f"shape {self.shape} of {self.dtype} is too large")

    @classmethod
    def of(cls, array: Any) -> Layout:
        """Return that of an array, which need not be contiguous; else as the class."""
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        return cls(array.shape, array.dtype, order)

    def __repr__(self) -> str:
        return f"<Layout {self.shape} of {self.dtype}>"

    def pack(self) -> bytes:
        """Return it as bytes."""
        return _codec.pack_nested([list(self.shape), describe_dtype(self.dtype), self.order])

    @classmethod
    def unpack(cls, data: bytes, capacity: int) -> Layout:
        """Return the layout that *data* is, which has to fit into *capacity* bytes.

        Raises:
          StaleBuffer: it makes no sense.
        """
        try:
            shape, described, order = _codec.unpack_alone(data)
            layout = cls(shape, read_dtype(described), order)
            if order not in ("C", "F") or layout.nbytes > capacity:
                raise ValueError(f"it does not fit into {capacity:,} bytes")
        except Exception as error:
            # Whoever has written it, it is not to be used.
            raise StaleBuffer(f"a buffer is not what it says: {error}") from error
        return layout

    def check_for_device(self) -> None:
        """Refuse a dtype that no device computes with.

        Raises:
          NotShareable: it is one.
        """
        if self.dtype.char not in _DEVICE_DTYPES or not self.dtype.isnative:
            raise NotShareable(
                f"dtype {self.dtype} means nothing on a GPU; take one of numbers, such as float32"
            )

    def array(self, raw: Any) -> Any:
        """Return *raw*, an array of at least as many bytes, as what it is."""
        if not self.nbytes:
            import numpy

            return numpy.empty(self.shape, self.dtype, order=self.order)  # type: ignore[call-overload]
        return raw[: self.nbytes].view(self.dtype).reshape(self.shape, order=self.order)

    def fill(self, raw: Any, array: Any) -> None:
        """Copy *array*, which is what this describes, to *raw*, a memoryview of bytes."""
        import numpy

        numpy.copyto(self.array(numpy.frombuffer(raw, numpy.uint8)), array)


def _checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    lengths = shape if isinstance(shape, Sequence) else (shape,)
    if isinstance(shape, (str, bytes)) or len(lengths) > MAX_DIMENSIONS:
        raise TypeError(f"a shape has at most {MAX_DIMENSIONS} whole numbers, not {shape!r}")
    checked = tuple(map(operator.index, lengths))
    if any(length < 0 for length in checked):
        raise ValueError(f"a shape has no negative length, as {checked}")
    return checked
