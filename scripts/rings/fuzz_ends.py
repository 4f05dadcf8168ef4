"""The two ends of a handshake that are attacked, with nonces that are the same each time.

So a stream that got through once gets through again, and can be kept as a line of hex.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar
from unittest import mock

import msgpack

from actorsys.errors import HandshakeError, Uid
from actorsys.limits import DEFAULT_LIMITS, Limits
from actorsys.testing.hostile import HEADER_BYTES, framed
from actorsys.wire import (
    ClientHandshake,
    Credentials,
    FrameReader,
    ServerHandshake,
)
from actorsys.wire import handshake as handshake_module

ALICE: Uid = ("alice", "a-1")
BOB: Uid = ("bob", "b-1")
CAROL: Uid = ("carol", "c-1")
"""Alice connects to Bob. Carol has a key of her own, and is not to be trusted."""

KEY = b"k" * 32
CAROLS_KEY = b"c" * 32
# Each knows itself as well, which makes it easiest to send its own words back to it.
KEYS: dict[Uid, bytes] = {ALICE: KEY, BOB: KEY, CAROL: CAROLS_KEY}

AnyEnd = TypeVar("AnyEnd", ServerHandshake, ClientHandshake)

_VICTIM_SEED = 20
_BOUNDLESS = 2**20


class Nonces:
    """Stands in for `os` in the handshake: random bytes that can be had again."""

    def __init__(self) -> None:
        self._rng = random.Random(_VICTIM_SEED)

    def urandom(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def restart(self, seed: int) -> None:
        """Give what was given after this *seed* before."""
        self._rng.seed(seed)


class Ends:
    """Makes ends of handshakes: victims, who are always the same, and others, who never are."""

    def __init__(self, nonces: Nonces, seed: int) -> None:
        self._nonces = nonces
        self._seeds = random.Random(seed)

    def victims(self) -> tuple[ServerHandshake, ClientHandshake]:
        """Return a server and a client that has started."""
        server = self._made(ServerHandshake, BOB, _VICTIM_SEED)
        client = self._made(ClientHandshake, ALICE, _VICTIM_SEED)
        client.start()
        return server, client

    def server(self, limits: Limits = DEFAULT_LIMITS) -> ServerHandshake:
        """Return a server as genuine as the victim, with a nonce of its own."""
        return self._made(ServerHandshake, BOB, self._seeds.getrandbits(64), limits)

    def client(self, limits: Limits = DEFAULT_LIMITS) -> ClientHandshake:
        """Return a client as genuine as the victim, with a nonce of its own."""
        return self._made(ClientHandshake, ALICE, self._seeds.getrandbits(64), limits)

    def _made(
        self, cls: type[AnyEnd], uid: Uid, seed: int, limits: Limits = DEFAULT_LIMITS
    ) -> AnyEnd:
        self._nonces.restart(seed)
        return cls(Credentials(uid, KEYS.get), limits)


@contextmanager
def open_ends(seed: int) -> Iterator[Ends]:
    """Replace the random bytes of handshakes, in this process, for a block."""
    nonces = Nonces()
    with mock.patch.object(handshake_module, "os", nonces):
        yield Ends(nonces, seed)


class Recorded(NamedTuple):
    """A genuine handshake, as an eavesdropper has it: four frames with their lengths."""

    client_hello: bytes
    server_hello: bytes
    server_proof: bytes
    client_proof: bytes

    @property
    def to_server(self) -> tuple[bytes, bytes]:
        """The hello and the proof that a server gets."""
        return self.client_hello, self.client_proof

    @property
    def to_client(self) -> tuple[bytes, bytes]:
        """The hello and the proof that a client gets."""
        return self.server_hello, self.server_proof


def record(client: ClientHandshake, server: ServerHandshake) -> Recorded:
    """Let two ends talk; return all they said.

    Raises:
      HandshakeError: they did not agree.
    """
    hello = client.start()
    answer = server.receive(hello)
    proof = client.receive(answer)
    server.receive(proof)
    if client.session is None or server.session is None:
        raise HandshakeError("two genuine ends did not agree")
    server_hello, server_proof = split(answer)
    return Recorded(hello, server_hello, server_proof, proof)


def split(data: bytes) -> list[bytes]:
    """Return the frames in *data*, each with its length."""
    reader = FrameReader(_BOUNDLESS, _BOUNDLESS)
    reader.feed(data)
    return [framed(bytes(frame)) for frame in reader]


def is_genuine(data: bytes, hello: bytes, proof: bytes) -> bool:
    """Tell whether *data* says what *hello* and *proof* say, whatever follows.

    A proof may be packed in more ways than one; the hello may not.
    """
    if not data.startswith(hello):
        return False
    length = int.from_bytes(data[len(hello) :][:HEADER_BYTES], "little")
    body = data[len(hello) + HEADER_BYTES :][:length]
    try:
        return bool(msgpack.unpackb(body)["proof"] == msgpack.unpackb(proof[4:])["proof"])
    except (ValueError, TypeError, KeyError):
        return False
