"""A device with memory of its own, as `UnifiedBuffer` uses one; CuPy is imported here alone."""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import DeviceOutOfMemory, DeviceUnavailable

_INSTALL = "install cupy-cuda12x or cupy-cuda13x, one of them, as the driver needs it"


class Device(Protocol):
    """Something that keeps arrays of its own, and copies between them and those of the host."""

    name: str

    def upload(self, array: Any) -> Any:
        """Return a copy of a NumPy array on the device.

        Raises:
          DeviceOutOfMemory: it has no room.
        """

    def update(self, on_device: Any, array: Any) -> None:
        """Copy a NumPy array to one on the device."""

    def download(self, on_device: Any, array: Any) -> None:
        """Copy an array on the device to a NumPy array; return when it is there."""

    def pin(self, address: int, size: int) -> None:
        """Have the kernel keep memory of the host in place, so that copies go faster."""

    def unpin(self, address: int) -> None:
        """Undo `pin`."""


class CudaDevice:
    """The GPU of CUDA with a number, by way of CuPy."""

    def __init__(self, number: int = 0) -> None:
        self.name = f"cuda:{number}"
        self._cupy = _import_cupy()
        if number >= self._cupy.cuda.runtime.getDeviceCount():
            raise DeviceUnavailable(f"there is no device {self.name!r} here")
        self._device = self._cupy.cuda.Device(number)

    def __repr__(self) -> str:
        return f"<CudaDevice {self.name}>"

    def upload(self, array: Any) -> Any:
        """Return a copy of a NumPy array on the device."""
        with self._device:
            try:
                return self._cupy.asarray(array)
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                raise DeviceOutOfMemory(f"{self.name}: {error}") from error

    def update(self, on_device: Any, array: Any) -> None:
        """Copy a NumPy array to one on the device."""
        with self._device:
            on_device.set(array)

    def download(self, on_device: Any, array: Any) -> None:
        """Copy an array on the device to a NumPy array; return when it is there."""
        with self._device:
            on_device.get(out=array)

    def pin(self, address: int, size: int) -> None:
        """Have the kernel keep memory of the host in place."""
        with self._device:
            self._cupy.cuda.runtime.hostRegister(address, size, 0)

    def unpin(self, address: int) -> None:
        """Undo `pin`."""
        with self._device:
            self._cupy.cuda.runtime.hostUnregister(address)


def _import_cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise DeviceUnavailable(f"there is no CuPy here, which GPUs need; {_INSTALL}") from error
    if not cupy.is_available():
        raise DeviceUnavailable("CuPy finds no GPU, or no driver for it; `nvidia-smi` tells more")
    return cupy


_devices: dict[str, Device] = {}
"""The devices of this process that were asked for, by name."""


def add_device(device: Device) -> None:
    """Make a device known under its name, in place of what had that name."""
    _devices[device.name] = device


def remove_device(name: str) -> None:
    """Forget a device."""
    _devices.pop(name, None)


def find_device(name: str) -> Device:
    """Return the device *name*, ``cuda`` and a number.

    Raises:
      DeviceUnavailable: there is none; the error says what is missing.
    """
    if name not in _devices:
        kind, _, number = name.partition(":")
        if kind != "cuda" or not number.isdecimal():
            raise DeviceUnavailable(f"there is no device {name!r}; say 'cpu', or 'cuda:0'")
        _devices[name] = CudaDevice(int(number))
    return _devices[name]
