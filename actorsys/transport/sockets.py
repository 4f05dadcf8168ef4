"""Stream sockets, whatever their family."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence

import trio

from .interface import Buffer, Listener, ReceiveInterrupted, Transport, checked_count

_IOV_MAX = 512  # POSIX promises 16, Linux and macOS have 1024
_CLOSED_ERRNOS = frozenset([errno.EBADF, errno.ENOTSOCK])


def _translated(error: OSError) -> Exception:
    if error.errno in _CLOSED_ERRNOS:
        return trio.ClosedResourceError("this socket was closed here")
    return trio.BrokenResourceError(f"socket connection broken: {error}")


class SocketTransport(Transport):
    """A connected stream socket.

    It owns *sock* and closes it. Reading and writing go to the socket itself, past trio's socket
    layer, which takes an extra pass of the scheduler for each.
    """

    can_interrupt = True

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._is_interrupted = False
        self._socket = sock
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    def __repr__(self) -> str:
        return f"<SocketTransport: fd {self._socket.fileno()}>"

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        try:
            if len(parts) == 1:
                return self._socket.send(parts[0])
            return self._socket.sendmsg(parts[:_IOV_MAX])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _translated(error) from error

    async def send_all(self, data: Buffer) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        while True:
            try:
                return await self._stream.wait_send_all_might_not_block()
            except trio.ClosedResourceError:
                if self._socket.fileno() < 0:
                    raise
                # Only the receiver was to be woken: what wakes it wakes whoever waits here.

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        count = checked_count(max_bytes)
        while True:
            await self._wait_readable()
            try:
                return self._socket.recv(count)
            except BlockingIOError:
                self._refuse_interrupted()
            except OSError as error:
                raise _translated(error) from error

    async def receive_into(self, memory: memoryview) -> int:
        while True:
            await self._wait_readable()
            try:
                return self._socket.recv_into(memory)
            except BlockingIOError:
                self._refuse_interrupted()
            except OSError as error:
                raise _translated(error) from error

    async def _wait_readable(self) -> None:
        """Wait for bytes. To do so first, rather than try first, saves a system call each time."""
        if self._socket.fileno() < 0:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this socket was closed here")
        self._is_interrupted = False
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError:
            if self._socket.fileno() >= 0:
                self._refuse_interrupted()
            raise
        await trio.lowlevel.checkpoint_if_cancelled()

    def _refuse_interrupted(self) -> None:
        if self._is_interrupted:
            raise ReceiveInterrupted from None

    def interrupt(self) -> None:
        # What wakes a receiver before its socket is closed serves as well when it is not.
        if self._socket.fileno() >= 0:
            self._is_interrupted = True
            trio.lowlevel.notify_closing(self._socket)

    async def aclose(self) -> None:
        await self._stream.aclose()


class SocketListener(Listener):
    """A listening socket. It owns *sock* and closes it."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        self.address = address
        self._socket = trio.socket.from_stdlib_socket(sock)

    def __repr__(self) -> str:
        return f"<SocketListener at {self.address}>"

    async def accept(self) -> SocketTransport:
        try:
            trio_socket, _ = await self._socket.accept()
        except OSError as error:
            if error.errno in _CLOSED_ERRNOS:
                raise trio.ClosedResourceError("this listener was closed here") from None
            raise
        return SocketTransport(_detached(trio_socket))

    async def aclose(self) -> None:
        self._socket.close()
        await trio.lowlevel.checkpoint()


def _detached(trio_socket: trio.socket.SocketType) -> socket.socket:
    """Return the socket inside *trio_socket*, tuned, and owned by nobody else."""
    family, kind, proto = trio_socket.family, trio_socket.type, trio_socket.proto
    sock = socket.socket(family, kind, proto, fileno=trio_socket.detach())
    return tuned(sock)


def tuned(sock: socket.socket) -> socket.socket:
    """Switch off Nagle's algorithm where there is one: we gather writes ourselves."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # the peer may be gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def connect_socket(family: int, address: object) -> SocketTransport:
    """Connect a new socket of *family*.

    Raises:
      OSError: nobody listens there.
    """
    trio_socket = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await trio_socket.connect(address)
    except BaseException:
        trio_socket.close()
        raise
    return SocketTransport(_detached(trio_socket))
