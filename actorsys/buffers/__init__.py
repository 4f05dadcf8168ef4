"""Memory that is handed over, and not copied."""

from .buffer import Buffer
from .layout import Layout
from .leases import NOTE
from .store import BufferStatistics, BufferStore

__all__ = ["NOTE", "Buffer", "BufferStatistics", "BufferStore", "Layout"]
