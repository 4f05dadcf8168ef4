"""Unix sockets: faster than TCP on the same host.

On Linux they have abstract names, which are no files: nothing is left behind by any death. They
have no permissions either, which is no loss, since every link authenticates.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import tempfile

from .sockets import SocketListener, SocketTransport, connect_socket

SCHEME = "unix"


async def listen_unix(backlog: int) -> SocketListener:
    """Listen on a new Unix socket with an unguessable name."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform == "linux":
            name = f"actorsys-{secrets.token_hex(16)}"
            sock.bind("\0" + name)
            sock.listen(backlog)
            return SocketListener(sock, f"{SCHEME}:@{name}")
        return _listen_in_folder(sock, backlog)
    except BaseException:
        sock.close()
        raise


def _listen_in_folder(sock: socket.socket, backlog: int) -> SocketListener:
    folder = tempfile.mkdtemp(prefix="actorsys-")
    path = os.path.join(folder, "socket")
    try:
        sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return _FolderListener(sock, f"{SCHEME}:{path}", folder)


class _FolderListener(SocketListener):
    """A listener whose socket is a file; it owns the folder around it."""

    def __init__(self, sock: socket.socket, address: str, folder: str) -> None:
        super().__init__(sock, address)
        self._folder = folder

    async def aclose(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        await super().aclose()


async def connect_unix(place: str) -> SocketTransport:
    """Connect to a path, or to an abstract name after an ``@``.

    Raises:
      OSError: nobody listens there.
    """
    address = "\0" + place[1:] if place.startswith("@") else place
    return await connect_socket(socket.AF_UNIX, address)
