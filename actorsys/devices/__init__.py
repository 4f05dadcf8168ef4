"""Memory on the host and on a device, had from a pool."""

from .device import Device, add_device, find_device, remove_device
from .memory_pool import MemoryPool, PoolStatistics, get_memory_pool
from .unified_buffer import BufferState, UnifiedBuffer

__all__ = [
    "BufferState",
    "Device",
    "MemoryPool",
    "PoolStatistics",
    "UnifiedBuffer",
    "add_device",
    "find_device",
    "get_memory_pool",
    "remove_device",
]
