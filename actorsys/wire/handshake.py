"""Who is there: version, then a mutual proof that both ends hold the same key.

Each end sends a hello with a fresh nonce and, once it has both hellos, a proof: HMAC-SHA-256 under
the shared key over its own role and every byte of both hellos. The role makes a proof worthless
when it is sent back, the nonces when it is sent again, the transcript when hellos are mixed. The
accepting end proves itself first, so a caller learns nothing about itself to an impostor.

Nothing that a peer sends here is kept beyond 256 bytes, and nothing is looked at but the fields
named below.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from ..errors import (
    AuthenticationFailed,
    HandshakeError,
    LimitExceeded,
    RemoteProtocolError,
    Uid,
    VersionMismatch,
)
from ..limits import Limits
from .codec import HEADER_BYTES
from .framing import FrameReader
from .messages import parse_uid
from .text import cut_line

PROTOCOL_NAME = "actorsys"
PROTOCOL_VERSION = 1
FEATURES: frozenset[str] = frozenset()
NONCE_BYTES = 32
KEY_BYTES = 32
_MIN_PEER_FRAME_BYTES = 1024
_MAX_PEER_FRAME_BYTES = 2**32 - 1

KeyOf = Callable[[Uid], "bytes | None"]


class Credentials(NamedTuple):
    """Who an end is, and how it finds the key that it shares with a peer."""

    uid: Uid
    key_of: KeyOf

    def __repr__(self) -> str:
        return f"<Credentials of {self.uid[0]!r}>"


class Session(NamedTuple):
    """What a finished handshake has settled."""

    own_uid: Uid
    peer_uid: Uid
    is_client: bool
    peer_max_frame_bytes: int
    peer_window_bytes: int
    features: frozenset[str]


class _Hello(NamedTuple):
    frame: bytes
    uid: Uid
    max_frame_bytes: int
    window_bytes: int
    features: frozenset[str]


class Handshake:
    """One end of a handshake: bytes in with `receive`, bytes out as its result.

    ``session`` is set when it has succeeded; ``leftover`` holds what came behind it.
    """

    role: bytes
    peer_role: bytes

    def __init__(self, credentials: Credentials, limits: Limits) -> None:
        self.session: Session | None = None
        self.leftover = b""
        self._credentials = credentials
        self._limits = limits
        self._frames = FrameReader(limits.handshake_bytes, limits.handshake_bytes + 1)
        self._admitted_bytes = 0
        self._own_hello = self._make_hello()
        self._peer_hello: _Hello | None = None

    def __repr__(self) -> str:
        state = "done" if self.session else "waiting"
        return f"<{type(self).__name__} of {self._credentials.uid[0]!r}: {state}>"

    def start(self) -> bytes:
        """Return what to send before anything has arrived."""
        raise NotImplementedError

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer, split anywhere; return what to send.

        Raises:
          AuthenticationFailed: the peer does not hold the key.
          VersionMismatch: the peer speaks another version.
          HandshakeError: it does not speak this protocol at all, or too much.
        """
        self._frames.feed(data)
        replies = b""
        try:
            for frame in self._frames:
                self._admitted_bytes += HEADER_BYTES + len(frame)
                self._check_amount(self._admitted_bytes)
                replies += self._on_frame(bytes(frame))
                if self.session is not None:
                    self.leftover = self._frames.take_rest()
                    return replies
        except (RemoteProtocolError, LimitExceeded) as error:
            raise HandshakeError(f"no handshake: {error}") from error
        self._check_amount(self._admitted_bytes + self._frames.buffered_bytes)
        return replies

    def _check_amount(self, size: int) -> None:
        if size > self._limits.handshake_bytes:
            raise HandshakeError("the peer sent too much before it proved who it is")

    def _on_frame(self, frame: bytes) -> bytes:
        fields = _unpack(frame)
        if "error" in fields:
            raise _peer_refused(fields["error"])
        if self._peer_hello is None:
            self._peer_hello = _parse_hello(frame, fields)
            return self._on_hello()
        self._check_proof(fields)
        return self._on_proof()

    def _on_hello(self) -> bytes:
        raise NotImplementedError

    def _on_proof(self) -> bytes:
        raise NotImplementedError

    def _make_hello(self) -> bytes:
        limits = self._limits
        return _pack(
            {
                "hello": PROTOCOL_NAME,
                "version": PROTOCOL_VERSION,
                "uid": list(self._credentials.uid),
                "nonce": os.urandom(NONCE_BYTES),
                "limits": [limits.max_message_bytes, limits.stream_window_bytes],
                "features": sorted(FEATURES),
            }
        )

    def _transcript(self) -> bytes:
        raise NotImplementedError

    def _proof(self, role: bytes) -> bytes:
        assert self._peer_hello is not None
        # An unknown peer is treated like one with a wrong key, in the same time.
        key = self._credentials.key_of(self._peer_hello.uid) or os.urandom(KEY_BYTES)
        return hmac.new(key, role + self._transcript(), hashlib.sha256).digest()

    def _check_proof(self, fields: dict[Any, Any]) -> None:
        proof = fields.get("proof")
        if type(proof) is not bytes or not hmac.compare_digest(proof, self._proof(self.peer_role)):
            raise AuthenticationFailed("the peer does not hold the key of this link")

    def _succeed(self) -> None:
        assert self._peer_hello is not None
        self.session = Session(
            own_uid=self._credentials.uid,
            peer_uid=self._peer_hello.uid,
            is_client=isinstance(self, ClientHandshake),
            peer_max_frame_bytes=self._peer_hello.max_frame_bytes,
            peer_window_bytes=self._peer_hello.window_bytes,
            features=FEATURES & self._peer_hello.features,
        )


class ClientHandshake(Handshake):
    """The end that connected."""

    role = b"actorsys 1 client\n"
    peer_role = b"actorsys 1 server\n"

    def start(self) -> bytes:
        return _frame(self._own_hello)

    def _on_hello(self) -> bytes:
        return b""

    def _on_proof(self) -> bytes:
        self._succeed()
        return _frame(_pack({"proof": self._proof(self.role)}))

    def _transcript(self) -> bytes:
        assert self._peer_hello is not None
        return _joined(self._own_hello, self._peer_hello.frame)


class ServerHandshake(Handshake):
    """The end that was connected to. It says nothing until the peer has said hello."""

    role = b"actorsys 1 server\n"
    peer_role = b"actorsys 1 client\n"

    def start(self) -> bytes:
        return b""

    def _on_hello(self) -> bytes:
        return _frame(self._own_hello) + _frame(_pack({"proof": self._proof(self.role)}))

    def _on_proof(self) -> bytes:
        self._succeed()
        return b""

    def _transcript(self) -> bytes:
        assert self._peer_hello is not None
        return _joined(self._peer_hello.frame, self._own_hello)


def refusal() -> bytes:
    """Return what an accepting end tells a peer of another version."""
    return _frame(_pack({"error": {"type_str": "VersionMismatch", "version": PROTOCOL_VERSION}}))


def _joined(first: bytes, second: bytes) -> bytes:
    return _frame(first) + _frame(second)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def _pack(fields: dict[str, Any]) -> bytes:
    return msgpack.packb(fields)  # type: ignore[no-any-return]


def _unpack(frame: bytes) -> dict[Any, Any]:
    try:
        fields = msgpack.unpackb(frame, raw=False, strict_map_key=True)
    except Exception as error:
        # Whatever the parser makes of hostile bytes, it is the peer's fault.
        raise HandshakeError("no handshake: the peer sent garbage") from error
    if type(fields) is not dict:
        raise HandshakeError("no handshake: the peer sent something that is no map")
    return fields


def _parse_hello(frame: bytes, fields: dict[Any, Any]) -> _Hello:
    if fields.get("hello") != PROTOCOL_NAME:
        raise HandshakeError("no handshake: the peer does not speak this protocol")
    if type(fields.get("version")) is not int or fields["version"] != PROTOCOL_VERSION:
        raise _version_mismatch(fields.get("version"))
    nonce, sizes = fields.get("nonce"), fields.get("limits")
    if type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
        raise HandshakeError(f"no handshake: a nonce has {NONCE_BYTES} bytes")
    if type(sizes) is not list or len(sizes) != 2 or not all(map(_is_size, sizes)):
        raise HandshakeError("no handshake: limits are two sizes in bytes")
    features = fields.get("features", [])
    if type(features) is not list or not all(type(name) is str for name in features):
        raise HandshakeError("no handshake: features are strings")
    return _Hello(frame, parse_uid(fields.get("uid")), sizes[0], sizes[1], frozenset(features))


def _is_size(value: Any) -> bool:
    return type(value) is int and _MIN_PEER_FRAME_BYTES <= value <= _MAX_PEER_FRAME_BYTES


def _peer_refused(error: Any) -> HandshakeError:
    if type(error) is dict and error.get("type_str") == "VersionMismatch":
        return _version_mismatch(error.get("version"))
    return HandshakeError("the peer refused the handshake")


def _version_mismatch(version: Any) -> VersionMismatch:
    return VersionMismatch(
        f"the peer speaks version {cut_line(str(version), 40)} of the protocol, this process "
        f"version {PROTOCOL_VERSION}; install the same actorsys on both ends"
    )
