"""A device with memory of its own, as `UnifiedBuffer` uses one."""

from __future__ import annotations

from typing import Any, Protocol

from ..cuda import Gpu, find_gpu


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
    """A GPU. Copies go from and to memory of its own, which no other process sees."""

    def __init__(self, gpu: Gpu) -> None:
        self.name = gpu.name
        self._runtime = gpu.runtime
        self._number = gpu.number

    def __repr__(self) -> str:
        return f"<CudaDevice {self.name}>"

    def upload(self, array: Any) -> Any:
        """Return a copy of a NumPy array on the device."""
        with self._runtime.on(self._number):
            return self._runtime.upload(array)

    def update(self, on_device: Any, array: Any) -> None:
        """Copy a NumPy array to one on the device."""
        with self._runtime.on(self._number):
            self._runtime.update(on_device, array)

    def download(self, on_device: Any, array: Any) -> None:
        """Copy an array on the device to a NumPy array; return when it is there."""
        with self._runtime.on(self._number):
            self._runtime.download(on_device, array)

    def pin(self, address: int, size: int) -> None:
        """Have the kernel keep memory of the host in place."""
        with self._runtime.on(self._number):
            self._runtime.pin(address, size)

    def unpin(self, address: int) -> None:
        """Undo `pin`."""
        with self._runtime.on(self._number):
            self._runtime.unpin(address)


_devices: dict[str, Device] = {}
"""What stands in place of a device of this process, by its name: only `add_device` fills it."""


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
    return _devices.get(name) or CudaDevice(find_gpu(name))
