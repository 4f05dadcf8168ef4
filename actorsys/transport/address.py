"""Addresses, ``scheme:place``, and the transport behind each scheme."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from . import tcp, unix
from .interface import Listener, Transport

if TYPE_CHECKING:
    from .tls import Tls

_TLS = "tls"
_SCHEMES = (tcp.SCHEME, _TLS, unix.SCHEME)


async def listen(scheme: str, backlog: int) -> Listener:
    """Open a listener that only this host can reach.

    Raises:
      ValueError: there is no such scheme.
    """
    if scheme == tcp.SCHEME:
        return await tcp.listen_tcp(backlog)
    if scheme == unix.SCHEME:
        return await unix.listen_unix(backlog)
    raise _unknown(scheme)


async def listen_at(address: str, backlog: int, tls_files: Tls | None) -> Listener:
    """Open a listener at an address of the caller's choice; port 0 takes a free one.

    Raises:
      ValueError: it is no address to listen at, or TLS is missing or not wanted there.
      OSError: it cannot be listened at.
    """
    scheme, _, place = address.partition(":")
    wanted = _wanted_tls(scheme, tls_files)
    if wanted is not None:
        from . import tls  # most trees stay on one machine, and do without

        return await tls.listen_tls(place, wanted, backlog)
    if scheme == tcp.SCHEME:
        return await tcp.listen_tcp(backlog, place)
    if scheme == unix.SCHEME:
        raise ValueError("an endpoint has an address with a port, such as 'tcp:127.0.0.1:0'")
    raise _unknown(scheme)


async def connect(address: str, tls_files: Tls | None = None) -> Transport:
    """Connect to an address that a listener gave.

    Raises:
      OSError: nobody listens there.
      ValueError: it is no address, or TLS is missing or not wanted there.
    """
    scheme, _, place = address.partition(":")
    wanted = _wanted_tls(scheme, tls_files)
    if wanted is not None:
        from . import tls

        return await tls.connect_tls(place, wanted)
    if scheme == tcp.SCHEME:
        return await tcp.connect_tcp(place)
    if scheme == unix.SCHEME:
        return await unix.connect_unix(place)
    raise _unknown(scheme)


def is_local(address: str) -> bool:
    """Tell whether only this host can reach *address*."""
    scheme, _, place = address.partition(":")
    if scheme == unix.SCHEME:
        return True
    host = place.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wanted_tls(scheme: str, tls_files: Tls | None) -> Tls | None:
    if scheme == _TLS and tls_files is None:
        raise ValueError("a tls: address needs tls=Tls(certificate=..., key=..., ca=...)")
    if scheme != _TLS and tls_files is not None:
        raise ValueError(f"tls= goes with an address tls:host:port, not {scheme}:...")
    return tls_files


def _unknown(scheme: str) -> ValueError:
    return ValueError(f"unknown transport {scheme!r}; there are {', '.join(_SCHEMES)}")
