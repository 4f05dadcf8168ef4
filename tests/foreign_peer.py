"""A peer that knows nothing of the package: written from docs/protocol.md alone.

It uses blocking sockets and msgpack, as a peer in another language would. It is as small as the
specification allows, so it shows how little a peer has to do.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from collections import deque
from typing import Any

import msgpack

VERSION = 1
MAX_FRAME_BYTES = 64 * 1024 * 1024
SEGMENT_BYTES = 65536
TUPLE = 1
SEGMENT = 13
TIMEOUT_SECONDS = 5.0

Uid = tuple[str, str]
Fields = dict[str, Any]


class Refused(Exception):
    """The other end would not open the link, or could not prove itself."""


class LinkError(Exception):
    """The other end says that this one broke the protocol."""


class ForeignPeer:
    """The client's end of a link."""

    def __init__(self, sock: socket.socket, uid: Uid, key: bytes, window: int = 262_144) -> None:
        self.uid = uid
        self.window = window
        self.peer_window = 0
        self._socket = sock
        self._key = key
        self._next = 1
        self._unread: deque[Fields] = deque()
        sock.settimeout(TIMEOUT_SECONDS)

    @classmethod
    def connect(cls, port: int, uid: Uid, key: bytes, window: int = 262_144) -> ForeignPeer:
        return cls(socket.create_connection(("127.0.0.1", port)), uid, key, window)

    def __enter__(self) -> ForeignPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # --- frames --------------------------------------------------------------------------

    def send_frame(self, body: bytes) -> int:
        frame = len(body).to_bytes(4, "little") + body
        self._socket.sendall(frame)
        return len(frame)

    def receive_frame(self) -> bytes:
        length = int.from_bytes(self._receive_exactly(4), "little")
        if not 0 < length <= MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {length} bytes")
        return self._receive_exactly(length)

    def is_at_end(self) -> bool:
        """Tell whether the other end has closed the stream; waits for something to come."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _receive_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError("the other end closed the link")
            data += part
        return bytes(data)

    # --- the handshake -------------------------------------------------------------------

    def hello(self, version: int = VERSION) -> bytes:
        """Send a hello and return its body."""
        fields = {
            "hello": "actorsys",
            "version": version,
            "uid": list(self.uid),
            "nonce": os.urandom(32),
            "limits": [MAX_FRAME_BYTES, self.window],
        }
        body: bytes = msgpack.packb(fields)
        self.send_frame(body)
        return body

    def shake_hands(self) -> None:
        own = self.hello()
        theirs = self.receive_frame()
        fields = msgpack.unpackb(theirs)
        if "error" in fields:
            raise Refused(fields["error"])
        proof = msgpack.unpackb(self.receive_frame()).get("proof")
        expected = self.proof(b"actorsys 1 server\n", own, theirs)
        if not hmac.compare_digest(proof, expected):
            raise Refused("the server does not hold the key")
        self.peer_window = fields["limits"][1]
        self.send_frame(msgpack.packb({"proof": self.proof(b"actorsys 1 client\n", own, theirs)}))

    def proof(self, role: bytes, client_hello: bytes, server_hello: bytes) -> bytes:
        transcript = b"".join(
            len(hello).to_bytes(4, "little") + hello for hello in (client_hello, server_hello)
        )
        return hmac.new(self._key, role + transcript, hashlib.sha256).digest()

    # --- messages ------------------------------------------------------------------------

    def send(self, message: Fields) -> int:
        """Send a message and return what it costs if it is an item."""
        return self.send_frame(msgpack.packb(message, default=_pack, strict_types=True))

    def call(self, name: str, /, *args: Any, extras: Fields | None = None, **kwargs: Any) -> str:
        """Call ``module:function`` and return the cid."""
        cid = f"{self._next:x}"
        self._next += 2
        ns, _, func = name.partition(":")
        message: Fields = {"cmd": [ns, func, kwargs, list(self.uid), cid], **(extras or {})}
        if args:
            message["args"] = list(args)
        self.send(message)
        return cid

    def receive(self) -> Fields:
        """Return the next message, whatever call it belongs to; ``size`` is that of its frame."""
        body = self.receive_frame()
        segments, rest = split_segments(body)

        def unpack(code: int, data: bytes) -> Any:
            value = msgpack.unpackb(data, ext_hook=unpack, strict_map_key=False)
            return {TUPLE: tuple, SEGMENT: lambda number: segments[number]}[code](value)

        message: Fields = msgpack.unpackb(rest, ext_hook=unpack, strict_map_key=False)
        if "error" in message and "cid" not in message:
            raise LinkError(message["error"])
        return {**message, "size": 4 + len(body)}

    def receive_for(self, cid: str) -> Fields:
        """Return the next message of one call; those of others wait."""
        for message in self._unread:
            if message["cid"] == cid:
                self._unread.remove(message)
                return message
        while True:
            message = self.receive()
            if message.get("cid") == cid:
                return message
            self._unread.append(message)

    def result_of(self, cid: str) -> Any:
        """Return the result of a plain call."""
        assert self.receive_for(cid)["functype"] == "asyncfunc"
        return self.receive_for(cid)["return"]


def _pack(value: Any) -> msgpack.ExtType:
    if type(value) is tuple:
        return msgpack.ExtType(TUPLE, msgpack.packb(list(value), default=_pack, strict_types=True))
    raise TypeError(type(value))


def split_segments(body: bytes) -> tuple[list[bytes], bytes]:
    """Return the large parts of a body and the rest as a map of its own."""
    if len(body) < SEGMENT_BYTES or body[0] & 0xF0 != 0x80 or body[1:10] != b"\xa8segments":
        return [], body
    code = body[10]
    if code & 0xF0 == 0x90:
        count, position = code & 0x0F, 11
    else:
        position = 11 + {0xDC: 2, 0xDD: 4}[code]
        count = int.from_bytes(body[11:position], "big")
    segments = []
    for _ in range(count):
        start = position + 1 + {0xC4: 1, 0xC5: 2, 0xC6: 4}[body[position]]
        end = start + int.from_bytes(body[position + 1 : start], "big")
        if end > len(body):
            raise ValueError("a large part is longer than its frame")
        segments.append(body[start:end])
        position = end
    return segments, bytes([body[0] - 1]) + body[position:]
