"""Memory that several processes of one machine share, as the kernel keeps count of it."""

from .mapping import Mapping
from .shared_file import FileAddress, SharedFile, is_supported

__all__ = ["FileAddress", "Mapping", "SharedFile", "is_supported"]
