"""TLS beneath a link: any transport, encrypted, with certificates that prove who is at its ends.

`Tls` says which files to use and makes everything else itself: TLS 1.3, certificates of the given
authority only, and a host name that fits. A `TlsTransport` shakes hands when it is used for the
first time, so the deadline of whoever uses it holds for that too, and accepting waits for nobody.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn, TypeVar, Union

import trio

from .interface import Buffer, Listener, Transport, checked_count
from .one_task import OneTask
from .sockets import SocketListener, SocketTransport, connect_socket

SCHEME = "tls"
FilePath = Union[str, os.PathLike[str]]
T = TypeVar("T")

_RECORD_BYTES = 16384  # what one record of TLS holds at most
_AHEAD_BYTES = 4 * _RECORD_BYTES  # encrypted before the transport beneath has to take it
_RECEIVE_BYTES = 65536  # one read from the transport beneath
_HANDSHAKE_BYTES = 65536  # certificates take 1 to 4 KiB each; a chain has a few
_NOTHING = memoryview(b"")
_NOT_TLS = frozenset(["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"])


# --- which certificates ----------------------------------------------------------------------


@dataclass(frozen=True)
class Tls:
    """The certificates of one end, and which it believes. The files are read once, at first use.

    Attributes:
      certificate: a PEM file: the certificate of this end, then intermediate ones if there are any.
      key: a PEM file: its private key, without a passphrase.
      ca: a PEM file: the authorities that are believed. No others are, not even the system's.
      mutual: whether the end that connects has to show a certificate as well. Where it is False,
        that end may leave out ``certificate`` and ``key``.

    Raises:
      ValueError: there is a certificate without a key, or a key without a certificate.
    """

    certificate: FilePath | None
    key: FilePath | None = field(repr=False)
    ca: FilePath
    mutual: bool = True

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both, or neither")

    @cached_property
    def server_context(self) -> ssl.SSLContext:
        """The settings of the end that accepts.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: a file is not what it should be, or is not given.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # a resumed session would skip the certificates
        self._show_certificate(context, "listening")
        if self.mutual:
            self._believe_authority(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @cached_property
    def client_context(self) -> ssl.SSLContext:
        """The settings of the end that connects; else as `server_context`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.hostname_checks_common_name = False
        self._believe_authority(context)
        if self.mutual or self.certificate is not None:
            self._show_certificate(context, "connecting with mutual=True")
        return context

    def _believe_authority(self, context: ssl.SSLContext) -> None:
        _check_pem(self.ca, "ca", "CERTIFICATE-----")
        try:
            context.load_verify_locations(cafile=self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"cannot use the ca {_shown(self.ca)}: {_reason(error)}") from error

    def _show_certificate(self, context: ssl.SSLContext, purpose: str) -> None:
        if self.certificate is None or self.key is None:
            raise ValueError(f"{purpose} takes a certificate and its key: give Tls() the two files")
        _check_pem(self.certificate, "certificate", "CERTIFICATE-----")
        _check_pem(self.key, "key", "PRIVATE KEY-----")
        names = f"the certificate {_shown(self.certificate)} with the key {_shown(self.key)}"
        try:
            context.load_cert_chain(self.certificate, self.key, password=self._refuse_passphrase)
        except ssl.SSLError as error:
            raise ValueError(f"cannot use {names}: {_reason(error)}") from error

    def _refuse_passphrase(self) -> NoReturn:
        """Say so instead of asking for it on a terminal."""
        raise ValueError(
            f"the key {_shown(self.key)} has a passphrase, for which nobody can be asked; "
            "write it to a file without one (openssl pkey -in KEY -out NEW) and protect that"
        )


def _check_pem(path: FilePath, what: str, marker: str) -> None:
    """Check that *path* is a PEM file that has a line with *marker*.

    Raises:
      FileNotFoundError, ValueError: it is not; the message says what is expected.
    """
    try:
        with open(path, "rb") as file:
            found = any(marker.encode() in line for line in file)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {_shown(path)}; Tls({what}=...) takes the path of a PEM file"
        ) from None
    if not found:
        raise ValueError(
            f"{_shown(path)} is no PEM file for Tls({what}=...): "
            f"there is no line that ends with {marker!r} in it"
        )


def _shown(path: FilePath | None) -> str:
    return repr(os.fspath(path)) if path is not None else "None"


def _reason(error: ssl.SSLError) -> str:
    """Return what OpenSSL says, in small letters."""
    return (error.reason or str(error)).replace("_", " ").lower()


# --- the transport ---------------------------------------------------------------------------


class TlsTransport(Transport):
    """TLS over *beneath*, which it owns and closes.

    With *hostname* it is the end that connects, and the peer's certificate must be for that name;
    without, it is the end that accepts.

    What `send_nowait` has reported as sent, the transport beneath has taken, all of it; and what
    the peer can decrypt has been reported, or the call that does so has not returned yet. So
    nothing waits here for somebody to send it of whom nobody knows. For this, ciphertext that was
    not taken counts as not sent, though it can be taken back no more: whoever is told of fewer
    bytes than were given has to offer the rest again before anything else, here or to `send_all`.
    At most 64 KiB or so are encrypted ahead in this way.

    What TLS owes the peer, such as an answer to a change of keys, leaves with the next bytes that
    are sent, as TLS 1.3 allows. So a receiver never waits for room to send.

    A cancelled `send_all` has sent some first part of its data, as with a socket; what
    comes after it is not affected.
    """

    def __init__(self, beneath: Transport, tls: Tls, *, hostname: str | None = None) -> None:
        accepts = hostname is None
        context = tls.server_context if accepts else tls.client_context
        self._beneath = beneath
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=accepts, server_hostname=hostname
        )
        self._has_agreed = False
        self._is_ready = False
        self._closed = False
        self._failure: str | None = None

        self._rest = _NOTHING  # ciphertext that was offered beneath and not taken
        self._given = 0  # ciphertext taken beneath, since the beginning
        self._records: deque[tuple[int, int]] = deque()  # not given: where each ends, what it holds
        self._unreported = 0  # plaintext that is encrypted and not reported as sent
        self._departed = 0  # the part of it whose ciphertext has been taken
        self._awaits_input = False  # encrypting has to wait for the rest of a message of TLS itself
        self._received = 0

        self._sending = OneTask()
        self._receiving = OneTask()
        self._room = _SharedWait()
        self._input = _SharedWait()

    def __repr__(self) -> str:
        return f"<TlsTransport: {self._state} over {self._beneath!r}>"

    @property
    def _state(self) -> str:
        if self._closed:
            return "closed"
        if self._failure is not None:
            return "broken"
        return "open" if self._is_ready else "shaking hands"

    # --- sending -------------------------------------------------------------------------

    def send_nowait(self, parts: Sequence[Buffer]) -> int:
        """Send as `Transport.send_nowait` does; nothing before the handshake is done.

        `wait_send_all_might_not_block` does the handshake.
        """
        self._check_usable()
        if not self._is_ready:
            return 0
        views = [memoryview(part).cast("B") for part in parts]
        pieces = _pieces(views, self._unreported)
        try:
            self._give()
            while not self._rest and self._encrypt_some(pieces):
                self._give()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if not self._departed:
                raise
        sent = min(self._departed, sum(map(len, views)))
        self._departed -= sent
        self._unreported -= sent
        return sent

    async def send_all(self, data: Buffer) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data).cast("B")
            try:
                rest = rest[self.send_nowait([rest]) :]
                while rest:
                    await self._wait_sendable()
                    rest = rest[self.send_nowait([rest]) :]
            except BaseException:
                self._forget_unreported()
                raise

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            await self._wait_sendable()

    async def _wait_sendable(self) -> None:
        self._check_usable()
        await self.do_handshake()
        while self._awaits_input:
            await self._fetch()
            self._check_usable()
        await self._wait_room()
        self._check_usable()

    def _encrypt_some(self, pieces: Iterator[memoryview]) -> bool:
        """Encrypt the next 64 KiB or so; return whether there was anything."""
        ahead = 0
        for piece in pieces:
            written = self._encrypt(piece)
            if written:
                self._records.append((self._given + self._outgoing.pending, written))
                self._unreported += written
                ahead += written
            if written < len(piece) or ahead >= _AHEAD_BYTES:
                break
        return ahead > 0

    def _encrypt(self, piece: memoryview) -> int:
        """Encrypt *piece*; return how much of it, 0 where the peer has to say something first."""
        try:
            return self._tls.write(piece)
        except ssl.SSLWantReadError:
            # A message of TLS itself, such as a ticket, has arrived in part.
            self._awaits_input = True
            return 0
        except ssl.SSLError as error:
            raise self._failed(error) from error

    def _give(self) -> None:
        """Give the transport beneath what it takes of the ciphertext; keep what it does not."""
        while self._rest or self._outgoing.pending:
            if not self._rest:
                self._rest = memoryview(self._outgoing.read())
            taken = self._beneath.send_nowait([self._rest])
            self._given += taken
            while self._records and self._records[0][0] <= self._given:
                self._departed += self._records.popleft()[1]
            if taken < len(self._rest):
                self._rest = self._rest[taken:]
                break
            self._rest = _NOTHING

    def _give_own(self) -> None:
        """Give what TLS itself has to say, if that can be done at once.

        Not where that would complete a record which has not been reported as sent.
        """
        if not self._records:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                self._give()

    def _forget_unreported(self) -> None:
        """Count all that is encrypted as sent: nobody will offer it again."""
        self._records.clear()
        self._unreported = self._departed = 0

    async def _wait_room(self) -> None:
        await self._room.run(self._beneath.wait_send_all_might_not_block)

    # --- receiving -----------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        count = checked_count(max_bytes)
        return await self._receive(lambda: self._decrypt_some(count))

    async def receive_into(self, memory: memoryview) -> int:
        return await self._receive(lambda: self._decrypt_into(memory))

    async def _receive(self, decrypt: Callable[[], T | None]) -> T:
        """Return what *decrypt* makes of what has come, as soon as that is not None."""
        with self._receiving:
            await trio.lowlevel.checkpoint_if_cancelled()
            await self.do_handshake()
            found = decrypt()
            if found is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return found
            while found is None:
                await self._fetch()
                found = decrypt()
            return found

    def _decrypt_some(self, count: int) -> bytes | None:
        """Return up to *count* bytes that have come, b"" at the end, None if more must come."""
        first: bytes | None = self._decrypt(min(count, _RECORD_BYTES))
        if not first or len(first) == count or not self._has_input:
            return first
        found = [first]
        count -= len(first)
        while count and self._has_input:
            piece = self._decrypt_rest(min(count, _RECORD_BYTES))
            if not piece:
                break
            found.append(piece)
            count -= len(piece)
        return b"".join(found)

    def _decrypt_into(self, memory: memoryview) -> int | None:
        """Fill *memory*; return how many bytes have come; else as `_decrypt_some`."""
        filled: int | None = self._decrypt(len(memory), memory)
        if not filled:
            return filled
        while filled < len(memory) and self._has_input:
            count = self._decrypt_rest(len(memory) - filled, memory[filled:])
            if not count:
                break
            filled += count
        return filled

    @property
    def _has_input(self) -> bool:
        return bool(self._incoming.pending or self._tls.pending())

    def _decrypt_rest(self, *read: Any) -> Any:
        """As `_decrypt`; an error is left for the next call, since some bytes were good."""
        with contextlib.suppress(trio.BrokenResourceError):
            return self._decrypt(*read)
        return None

    def _decrypt(self, *read: Any) -> Any:
        """Read from OpenSSL; return None where more ciphertext must come first."""
        self._check_usable()
        try:
            return self._tls.read(*read)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            raise self._failed(error) from error

    async def _fetch(self) -> None:
        """Wait until more ciphertext has come, whichever task receives it."""
        await self._input.run(self._receive_ciphertext)

    async def _receive_ciphertext(self) -> None:
        limit = _RECEIVE_BYTES if self._is_ready else _HANDSHAKE_BYTES - self._received
        if limit <= 0:
            self._failure = f"the peer sent {_HANDSHAKE_BYTES} bytes and no valid certificate"
            self._check_usable()
        data = await self._beneath.receive_some(limit)
        self._received += len(data)
        self._awaits_input = False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    # --- beginning and end ---------------------------------------------------------------

    async def do_handshake(self) -> None:
        """Shake hands, if that has not been done; sending and receiving do it by themselves.

        The end that connects is through before its certificate has been looked at: if that is
        refused, what it does next fails. May be cancelled and called again.

        Raises:
          trio.BrokenResourceError: the peer is not who it should be, or does not speak TLS 1.3.
          trio.ClosedResourceError: we closed it.
        """
        while not self._is_ready:
            self._check_usable()
            self._negotiate()
            self._give()
            if self._rest:
                await self._wait_room()
            elif self._has_agreed:
                self._is_ready = True
            else:
                await self._fetch()

    def _negotiate(self) -> None:
        """Take the handshake as far as it goes with what has come."""
        if not self._has_agreed:
            try:
                self._tls.do_handshake()
                self._has_agreed = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise self._failed(error) from error

    async def aclose(self) -> None:
        """Close it; tell the peer so if that can be done at once.

        Where bytes are left that were offered and not sent, it is not told: it shall see that its
        stream is cut short.
        """
        if not self._closed:
            self._closed = True
            if self._is_ready and self._failure is None:
                with contextlib.suppress(ssl.SSLError):  # the peer has not said the same
                    self._tls.unwrap()
                self._give_own()
        await self._beneath.aclose()

    def _failed(self, error: ssl.SSLError) -> trio.BrokenResourceError:
        """Break this transport; return the error to raise. The peer is told if possible."""
        self._failure = self._explain(error)
        self._give_own()
        return trio.BrokenResourceError(self._failure)

    def _explain(self, error: ssl.SSLError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate of the peer is refused: {error.verify_message}"
        if isinstance(error, ssl.SSLEOFError):
            when = "before its end was announced" if self._has_agreed else "during the handshake"
            return f"the peer ended the TLS stream {when}"
        if not self._has_agreed and error.reason in _NOT_TLS:
            return "the peer does not speak TLS"
        if error.reason is not None and "ALERT" in error.reason:
            return f"the peer broke TLS off: {_reason(error)}"
        when = "" if self._has_agreed else " during the handshake"
        return f"TLS failed{when}: {_reason(error)}"

    def _check_usable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this transport was closed here")
        if self._failure is not None:
            raise trio.BrokenResourceError(self._failure)


def _pieces(parts: Sequence[memoryview], skip: int) -> Iterator[memoryview]:
    """Cut what follows the first *skip* bytes of *parts* into pieces that fit into a record."""
    for part in parts:
        for start in range(skip, len(part), _RECORD_BYTES):
            yield part[start : start + _RECORD_BYTES]
        skip = max(0, skip - len(part))


class _SharedWait:
    """Something to wait for that a transport lets one task wait for: the others wait for that one.

    Both a sender and a receiver may have to shake hands, and each has to send and receive then.
    """

    def __init__(self) -> None:
        self._busy = False
        self._others = trio.lowlevel.ParkingLot()

    async def run(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait with *wait*, or until the task that does so stops; the caller looks what is new."""
        if self._busy:
            await self._others.park()
            return
        self._busy = True
        try:
            await wait()
        finally:
            self._busy = False
            self._others.unpark_all()


# --- listening and connecting ----------------------------------------------------------------


class TlsListener(Listener):
    """Accepts TLS over what *beneath* accepts, which it owns and closes. No handshake is done."""

    def __init__(self, beneath: Listener, tls: Tls, address: str) -> None:
        self.address = address
        self._beneath = beneath
        self._tls = tls

    def __repr__(self) -> str:
        return f"<TlsListener at {self.address}>"

    async def accept(self) -> TlsTransport:
        return TlsTransport(await self._beneath.accept(), self._tls)

    async def aclose(self) -> None:
        await self._beneath.aclose()


async def listen_tls(place: str, tls: Tls, backlog: int) -> TlsListener:
    """Listen at ``host:port``, or ``[address]:port`` for IPv6; port 0 is any free one.

    Raises:
      ValueError, FileNotFoundError: it is no such place, or *tls* names unfitting files.
      OSError: the place is taken, or not on this host.
    """
    host, port = _parse_place(place)
    _ = tls.server_context
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, where = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Otherwise a server that comes back finds its port taken by connections on their way out.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    shown = f"[{host}]" if ":" in host else host
    address = f"{SCHEME}:{shown}:{sock.getsockname()[1]}"
    return TlsListener(SocketListener(sock, address), tls, address)


async def connect_tls(place: str, tls: Tls) -> TlsTransport:
    """Connect to ``host:port``, or ``[address]:port`` for IPv6; the handshake comes with first use.

    The certificate over there must be for this host, as it is written in *place*.

    Raises:
      ValueError, FileNotFoundError: it is no such place, or *tls* names unfitting files.
      OSError: nobody listens there.
    """
    host, port = _parse_place(place)
    if not port:
        raise ValueError("0 is no port to connect to")
    _ = tls.client_context
    return TlsTransport(await _connect_any(host, port), tls, hostname=host)


async def _connect_any(host: str, port: int) -> SocketTransport:
    """Connect to the first address of *host* where somebody listens."""
    failed: OSError | None = None
    for family, _, _, _, where in await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        try:
            return await connect_socket(family, where)
        except OSError as error:
            failed = error
    raise failed or OSError(f"{host} has no address")


def _parse_place(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    is_number = port.isascii() and port.isdigit()
    if not host or not is_number or int(port) > 65535 or (":" in host) != is_bracketed:
        raise ValueError(f"{place!r} is no place: write host:port, or [address]:port for IPv6")
    return host, int(port)
