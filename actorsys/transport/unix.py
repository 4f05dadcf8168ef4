"""Unix sockets: faster than TCP on the same host.

On Linux they have abstract names, which are no files: nothing is left behind by any death. They
have no permissions either, which is no loss, since every link authenticates.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from .sockets import SocketListener, SocketTransport, connect_socket

SCHEME = "unix"


async def listen_unix(backlog: int) -> SocketListener:
    """Listen on a new Unix socket with an unguessable name."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform == "linux":
            name = f"actorsys-{os.urandom(16).hex()}"
            sock.bind("\0" + name)
            sock.listen(backlog)
            return SocketListener(sock, f"{SCHEME}:@{name}")
        return _listen_in_folder(sock, backlog)
    except BaseException:
        sock.close()
        raise


def _listen_in_folder(sock: socket.socket, backlog: int) -> SocketListener:
    import tempfile

    folder = tempfile.mkdtemp(prefix="actorsys-")
    path = os.path.join(folder, "socket")
    try:
        sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        _remove_folder(path)
        raise
    return _FileListener(sock, path)


def _remove_folder(path: str) -> None:
    """Remove the socket *path* and the folder made for it."""
    with contextlib.suppress(FileNotFoundError):  # it may never have been bound
        os.unlink(path)
    os.rmdir(os.path.dirname(path))


class _FileListener(SocketListener):
    """A listener whose socket is a file; it owns the folder around it."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        super().__init__(sock, f"{SCHEME}:{path}")
        self._path = path

    async def aclose(self) -> None:
        _remove_folder(self._path)
        await super().aclose()


async def connect_unix(place: str) -> SocketTransport:
    """Connect to a path, or to an abstract name after an ``@``.

    Raises:
      OSError: nobody listens there.
    """
    address = "\0" + place[1:] if place.startswith("@") else place
    return await connect_socket(socket.AF_UNIX, address)
