"""TCP on loopback, the default transport."""

from __future__ import annotations

import socket

from .sockets import SocketListener, SocketTransport, connect_socket

SCHEME = "tcp"
_LOOPBACK = "127.0.0.1"


async def listen_tcp(backlog: int, place: str = f"{_LOOPBACK}:0") -> SocketListener:
    """Listen at ``host:port``; port 0 takes a free one.

    Raises:
      OSError: it cannot be listened at.
      ValueError: it is no such place.
    """
    host, port = _split(place)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return SocketListener(sock, f"{SCHEME}:{host}:{sock.getsockname()[1]}")


async def connect_tcp(place: str) -> SocketTransport:
    """Connect to ``host:port``.

    Raises:
      OSError: nobody listens there.
      ValueError: it is no such place.
    """
    host, port = _split(place)
    if not port:
        raise ValueError("0 is no port to connect to")
    return await connect_socket(socket.AF_INET, (host, port))


def _split(place: str) -> tuple[str, int]:
    host, _, digits = place.rpartition(":")
    if not host or not digits.isdecimal() or not int(digits) < 65536:
        raise ValueError(f"{place!r} is no address host:port")
    return host, int(digits)
