"""Bytes: streams and listeners.

This floor moves bytes between two ends and knows nothing of frames or messages. Every transport
is a `trio.abc.Stream` with two more methods, for the path where every microsecond counts. TCP on
loopback is the default; Unix sockets, memory, and TLS over any of them stand behind the same
interface.
"""

from .address import connect, is_local, listen, listen_at
from .interface import Listener, ReceiveInterrupted, Transport
from .memory import MemoryListener, MemoryTransport, memory_transport_pair
from .sockets import SocketTransport
from .tcp import connect_tcp, listen_tcp
from .unix import connect_unix, listen_unix

__all__ = [
    "Listener",
    "MemoryListener",
    "MemoryTransport",
    "ReceiveInterrupted",
    "SocketTransport",
    "Transport",
    "connect",
    "connect_tcp",
    "connect_unix",
    "is_local",
    "listen",
    "listen_at",
    "listen_tcp",
    "listen_unix",
    "memory_transport_pair",
]
