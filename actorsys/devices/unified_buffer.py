"""`UnifiedBuffer`: one array, on the host and on a device, copied between them when needed."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..actor import current_actor
from ..buffers.buffer import Buffer
from ..buffers.layout import Layout
from ..errors import BufferReleased, DeviceUnavailable
from .device import Device, find_device


class BufferState(enum.Enum):
    """Where the content of a `UnifiedBuffer` is."""

    UNINITIALIZED = "uninitialized"
    """Nowhere: it is zeros."""

    HOST_ONLY = "host_only"
    """On the host; the device has never had it."""

    DEVICE_ONLY = "device_only"
    """On the device; the host has never had it."""

    SYNCHRONIZED = "synchronized"
    """The same in both places."""

    HOST_DIRTY = "host_dirty"
    """On the host; what the device has is older."""

    DEVICE_DIRTY = "device_dirty"
    """On the device; what the host has is older."""


_ON_HOST = (BufferState.HOST_ONLY, BufferState.HOST_DIRTY)
_ON_DEVICE = (BufferState.DEVICE_ONLY, BufferState.DEVICE_DIRTY)


class UnifiedBuffer:
    """An array on the host and on a device. Nothing is copied before it is asked for.

    The memory of the host is a `Buffer`, ``buffer``: a new one of this actor, or what is given. It
    can be handed over, or named in a message by ``id``. With *pinned*, the kernel keeps it in
    place, and copies go faster.

    What the host has is read-only for as long as the device has the same: to change it, copy
    something there or use `write_host`.

    Raises:
      BufferPoolFull: there is no room.
      NotShareable: *dtype* holds Python objects.
      DeviceUnavailable: it shall be *pinned*, and there is no *device*.
      NoRuntime: there is no actor here.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        dtype: Any = "float32",
        *,
        pinned: bool = False,
        device: str = "cuda:0",
        buffer: Buffer | None = None,
    ) -> None:
        self.buffer = buffer or current_actor().buffers.open(Layout(shape, dtype))
        self.state = BufferState.UNINITIALIZED
        self.pinned = pinned
        self._device_name = device
        self._on_device: Any = None
        self._pinned_address = 0
        if pinned:
            self._pin()

    def __repr__(self) -> str:
        return f"<UnifiedBuffer: {self.state.value}, {self.buffer!r}>"

    @property
    def id(self) -> str:
        """The name of its memory on the host, for `resolve_buffer`."""
        return self.buffer.id

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the array."""
        return self.buffer.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype of the array."""
        return self.buffer.dtype

    @property
    def nbytes(self) -> int:
        """How many bytes the array has."""
        return self.buffer.nbytes

    # --- its two places ------------------------------------------------------------------

    @property
    def host(self) -> Any:
        """The array on the host, copied from the device if that has a newer one."""
        self.sync_to_host()
        array = self.buffer.array()
        if self.state is BufferState.SYNCHRONIZED:
            array.flags.writeable = False
        elif self.state is BufferState.UNINITIALIZED:
            self.state = BufferState.HOST_ONLY
        return array

    @property
    def device(self) -> Any:
        """The array on the device, copied from the host if that has a newer one.

        Raises:
          DeviceUnavailable: there is no device. Nothing stands in for it.
        """
        self.sync_to_device()
        return self._on_device

    def device_or_host(self) -> Any:
        """Return the array on the device where there is one, else that on the host."""
        try:
            return self.device
        except DeviceUnavailable:
            return self.host

    def copy_from(self, data: Any) -> None:
        """Copy *data*, anything that NumPy makes an array of, to the host.

        Raises:
          ValueError: it is of another shape.
        """
        import numpy

        array = numpy.asarray(data)
        if array.shape != self.shape:
            raise ValueError(f"an array of shape {array.shape} is no {self.shape}")
        self.buffer.array()[...] = array
        self.mark_host_dirty()

    def copy_to(self, array: Any) -> None:
        """Copy the content to a NumPy array."""
        array[...] = self.host

    @contextmanager
    def write_host(self) -> Iterator[Any]:
        """Yield the array on the host, to be written to; that counts from then on."""
        self.sync_to_host()
        yield self.buffer.array()
        self.mark_host_dirty()

    @contextmanager
    def write_device(self) -> Iterator[Any]:
        """Yield the array on the device, to be written to; that counts from then on."""
        yield self.device
        self.mark_device_dirty()

    def mark_host_dirty(self) -> None:
        """Declare that the host has what counts."""
        is_new = self._on_device is None
        self.state = BufferState.HOST_ONLY if is_new else BufferState.HOST_DIRTY

    def mark_device_dirty(self) -> None:
        """Declare that the device has what counts.

        Raises:
          ValueError: it has nothing.
        """
        if self._on_device is None:
            raise ValueError("the device has nothing of this buffer; ask for `device` first")
        self.state = BufferState.DEVICE_DIRTY

    def sync_to_host(self) -> None:
        """Copy from the device, if that has what counts."""
        self._check()
        if self.state in _ON_DEVICE:
            self._device().download(self._on_device, self.buffer.array())
            self.state = BufferState.SYNCHRONIZED

    def sync_to_device(self) -> None:
        """Copy to the device, unless that has what counts.

        Raises:
          DeviceUnavailable, DeviceOutOfMemory: it cannot.
        """
        self._check()
        if self._on_device is None:
            self._on_device = self._device().upload(self.buffer.array())
            self.state = BufferState.SYNCHRONIZED
        elif self.state in _ON_HOST:
            self._device().update(self._on_device, self.buffer.array())
            self.state = BufferState.SYNCHRONIZED

    def _device(self) -> Device:
        return find_device(self._device_name)

    # --- its end -------------------------------------------------------------------------

    @property
    def is_released(self) -> bool:
        """Whether it is not to be used any more."""
        return self.buffer.is_released

    def release(self) -> None:
        """Let it go, in both places.

        Raises:
          BufferReleased: that was done before.
        """
        self._check()
        if self._pinned_address:
            self._device().unpin(self._pinned_address)
            self._pinned_address = 0
        self._on_device = None
        self.buffer.release_nowait()

    def _check(self) -> None:
        if self.buffer.is_released:
            raise BufferReleased(f"buffer {self.id} was released here; use it before that")

    def _pin(self) -> None:
        address = self.buffer.usable().block.mapping.address
        self._device().pin(address, self.nbytes)
        self._pinned_address = address
