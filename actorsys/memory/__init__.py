"""Memory that several processes of one machine share, as the kernel keeps count of it."""

from .guest_book import GuestBook
from .mapping import Mapping
from .processes import has_ended, is_alive, read_stat
from .shared_file import FileAddress, SharedFile, is_supported

__all__ = [
    "FileAddress",
    "GuestBook",
    "Mapping",
    "SharedFile",
    "has_ended",
    "is_alive",
    "is_supported",
    "read_stat",
]
