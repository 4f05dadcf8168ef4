"""TCP on loopback, the default transport."""

from __future__ import annotations

import socket

from .sockets import SocketListener, SocketTransport, connect_socket

SCHEME = "tcp"
_LOOPBACK = "127.0.0.1"


async def listen_tcp(backlog: int) -> SocketListener:
    """Listen on a free loopback port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind((_LOOPBACK, 0))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return SocketListener(sock, f"{SCHEME}:{_LOOPBACK}:{sock.getsockname()[1]}")


async def connect_tcp(place: str) -> SocketTransport:
    """Connect to ``host:port``.

    Raises:
      OSError: nobody listens there.
      ValueError: it is no such place.
    """
    host, _, port = place.rpartition(":")
    if not 0 < int(port) < 65536:
        raise ValueError(f"{port} is no port")
    return await connect_socket(socket.AF_INET, (host, int(port)))
