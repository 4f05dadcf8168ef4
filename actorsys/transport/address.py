"""Addresses, ``scheme:place``, and the transport behind each scheme."""

from __future__ import annotations

from typing import TypeVar

from . import tcp, unix
from .interface import Listener, Transport

T = TypeVar("T")

_LISTEN = {tcp.SCHEME: tcp.listen_tcp, unix.SCHEME: unix.listen_unix}
_CONNECT = {tcp.SCHEME: tcp.connect_tcp, unix.SCHEME: unix.connect_unix}


async def listen(scheme: str, backlog: int) -> Listener:
    """Open a listener that only this host can reach.

    Raises:
      ValueError: there is no such scheme.
    """
    return await _lookup(_LISTEN, scheme)(backlog)


async def connect(address: str) -> Transport:
    """Connect to an address that a listener gave.

    Raises:
      OSError: nobody listens there.
      ValueError: it is no address.
    """
    scheme, _, place = address.partition(":")
    return await _lookup(_CONNECT, scheme)(place)


def _lookup(table: dict[str, T], scheme: str) -> T:
    found = table.get(scheme)
    if found is None:
        raise ValueError(f"unknown transport {scheme!r}; there are {', '.join(table)}")
    return found
