"""Turn a fresh transport into an authenticated link."""

from __future__ import annotations

import contextlib

import trio

from ..errors import HandshakeError, VersionMismatch
from ..limits import Limits
from ..transport import Transport
from ..wire import ClientHandshake, Credentials, Handshake, ServerHandshake, Session
from ..wire.handshake import refusal


async def connect_channel(
    transport: Transport, credentials: Credentials, limits: Limits
) -> tuple[Session, bytes]:
    """Do the handshake on a transport that we connected; return it and what came behind it.

    Raises:
      HandshakeError: it failed or took too long; the transport is closed.
    """
    return await _shake_hands(transport, ClientHandshake(credentials, limits), limits)


async def accept_channel(
    transport: Transport, credentials: Credentials, limits: Limits
) -> tuple[Session, bytes]:
    """Do the handshake on a transport that a listener accepted; else as `connect_channel`."""
    return await _shake_hands(transport, ServerHandshake(credentials, limits), limits)


async def _shake_hands(
    transport: Transport, handshake: Handshake, limits: Limits
) -> tuple[Session, bytes]:
    try:
        with trio.fail_after(limits.handshake_timeout_seconds):
            return await _exchange(transport, handshake, limits)
    except BaseException as error:
        if isinstance(error, VersionMismatch) and isinstance(handshake, ServerHandshake):
            _refuse(transport)
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(transport)
        if isinstance(error, trio.TooSlowError):
            raise HandshakeError("the peer took too long for the handshake") from None
        if isinstance(error, trio.BrokenResourceError):
            raise HandshakeError("the link broke during the handshake") from error
        raise


async def _exchange(
    transport: Transport, handshake: Handshake, limits: Limits
) -> tuple[Session, bytes]:
    outgoing = handshake.start()
    while True:
        if outgoing:
            await transport.send_all(outgoing)
        if handshake.session is not None:
            return handshake.session, handshake.leftover
        data = await transport.receive_some(limits.handshake_bytes)
        if not data:
            raise HandshakeError("the peer closed the link during the handshake")
        outgoing = handshake.receive(bytes(data))


def _refuse(transport: Transport) -> None:
    """Tell a peer of another version; nobody else is told anything."""
    with contextlib.suppress(trio.BrokenResourceError):  # it is leaving as well
        transport.send_nowait([refusal()])
