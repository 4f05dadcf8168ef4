"""The ring of forged handshakes: who does not hold the key gets in nowhere.

The forger has heard genuine handshakes, has a key of its own as Carol, and even knows the nonces
that its victims will choose. It can make genuine ends talk to it. What it cannot have is a proof
for the very two hellos that a victim has seen, so every stream it makes is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from actorsys.errors import HandshakeError, Uid
from actorsys.limits import Limits
from actorsys.testing.hostile import framed
from actorsys.wire import ClientHandshake, Handshake, ServerHandshake

from .fuzz_ends import (
    ALICE,
    BOB,
    CAROLS_KEY,
    Ends,
    Recorded,
    is_genuine,
    open_ends,
    record,
    split,
)
from .fuzz_note import Note
from .fuzz_trial import ACCEPTED, REFUSED, Broken, Tally, run_share

_RECORDED_COUNT = 64
_CONTROL_EVERY = 100
_LIMITS = [
    Limits(max_message_bytes=size, stream_window_bytes=window)
    for size in (2**16, 2**26)
    for window in (2**12, 2**18)
]

Forge = Callable[["Forger"], bytes]


class Forger:
    """Knows what an attacker may know, and makes streams of it for the victims."""

    def __init__(self, seed: int, ends: Ends) -> None:
        self.rng = random.Random(seed)
        self.ends = ends
        server, client = ends.victims()
        self.live = record(client, server)
        """What the victims and their true partners would say; a relay of it is no forgery."""
        self.recorded = [self._record() for _ in range(_RECORDED_COUNT)]

    def _record(self) -> Recorded:
        client = self.ends.client(self.rng.choice(_LIMITS))
        return record(client, self.ends.server(self.rng.choice(_LIMITS)))

    def heard(self) -> Recorded:
        """Return a handshake of the past; now and then one that has just been heard."""
        place = self.rng.randrange(_RECORDED_COUNT)
        if self.rng.random() < 0.02:
            self.recorded[place] = self._record()
        return self.recorded[place]

    def either(self, handshake: Recorded) -> bytes:
        """Return one direction of *handshake*."""
        return b"".join(self.rng.choice((handshake.to_server, handshake.to_client)))

    def proof(self, key: bytes, role: bytes, first: bytes, second: bytes) -> bytes:
        """Return a proof as the protocol has it, under any key and over any two frames."""
        return packed_proof(hmac.new(key, role + first + second, hashlib.sha256).digest())

    def changed_hello(self, hello: bytes, **changes: Any) -> bytes:
        """Return *hello* with other fields."""
        return framed(msgpack.packb({**msgpack.unpackb(hello[4:]), **changes}))


def packed_proof(proof: Any) -> bytes:
    return framed(msgpack.packb({"proof": proof}))


def digest_of(proof: bytes) -> bytes:
    digest: bytes = msgpack.unpackb(proof[4:])["proof"]
    return digest


def answer_of(end: Handshake, data: bytes) -> list[bytes]:
    """Return the frames with which a genuine end answers *data*."""
    try:
        return split(end.receive(data))
    except HandshakeError:
        return []


# --- the forgeries ---------------------------------------------------------------------------


def replay(forger: Forger) -> bytes:
    """Send a handshake of the past once more."""
    return forger.either(forger.heard())


def reflect(forger: Forger) -> bytes:
    """Send a victim its own words: as its partner's hello, and as its partner's proof."""
    live = forger.live
    if forger.rng.random() < 0.5:
        return live.client_hello + forger.rng.choice([live.client_proof, live.client_hello])
    uid = forger.rng.choice([ALICE, BOB])
    hello = forger.changed_hello(live.client_hello, uid=uid, nonce=forger.rng.randbytes(32))
    server, _ = forger.ends.victims()
    return hello + answer_of(server, hello)[1]


def splice(forger: Forger) -> bytes:
    """Put frames of different handshakes together, live ones among them."""
    sources = [forger.live, forger.heard(), forger.heard()]
    first, second = forger.rng.sample(sources, 2)
    frames = [*first, *second]
    return b"".join(forger.rng.choices(frames, k=forger.rng.randint(2, 3)))


def splice_two(forger: Forger) -> bytes:
    """Send the hello of one handshake and the proof of another one."""
    first, second = forger.rng.sample([forger.live, forger.heard(), forger.heard()], 2)
    if forger.rng.random() < 0.5:
        return first.client_hello + second.client_proof
    return first.server_hello + second.server_proof


def truncate(forger: Forger) -> bytes:
    """Send a genuine hello, and of the genuine proof only a part, or more than all."""
    hello, proof = _live_pair(forger)
    digest = digest_of(proof)
    cut = digest[: forger.rng.randrange(32)]
    longer = digest + forger.rng.randbytes(forger.rng.randint(1, 8))
    return hello + packed_proof(forger.rng.choice([cut, cut, cut, longer, digest[1:], digest * 2]))


def swap_roles(forger: Forger) -> bytes:
    """Send a proof that a genuine end has made in the other role, of the very same hellos too."""
    live = forger.live
    # To the victim, a server, another server's answer to its hello looks like a client's.
    answer = b"".join(answer_of(forger.ends.server(), live.server_hello))
    heard = forger.heard()
    return forger.rng.choice(
        [
            answer,
            live.server_hello + live.client_proof,
            live.client_hello + live.server_proof,
            heard.server_hello + heard.client_proof,
            heard.client_hello + heard.server_proof,
        ]
    )


def sign_with_another_nonce(forger: Forger) -> bytes:
    """Let a genuine end prove itself to somebody whose nonce is not the victim's."""
    if forger.rng.random() < 0.5:
        other = forger.changed_hello(forger.live.client_hello, nonce=forger.rng.randbytes(32))
        return b"".join(answer_of(forger.ends.server(), other))
    # A client proves itself to who has done so first: to another genuine server.
    return b"".join(record(forger.ends.client(), forger.ends.server()).to_server)


def change_nonce(forger: Forger) -> bytes:
    """Send the genuine proof behind a hello with another nonce."""
    hello, proof = _live_pair(forger)
    nonce = forger.rng.choice([forger.rng.randbytes(32), bytes(32)])
    return forger.changed_hello(hello, nonce=nonce) + proof


def change_fields(forger: Forger) -> bytes:
    """Send the genuine proof behind a hello that promises something else."""
    hello, proof = _live_pair(forger)
    sizes = [forger.rng.randint(1024, 2**32 - 1) for _ in range(2)]
    changes: dict[str, Any] = forger.rng.choice(
        [
            {"limits": sizes},
            {"features": ["x" * forger.rng.randint(1, 8)]},
            {"uid": forger.rng.choice([ALICE, BOB, ("carol", "c-1"), ("eve", "e-1")])},
            {"unknown": forger.rng.getrandbits(16)},
            {"version": True},
        ]
    )
    return forger.changed_hello(hello, **changes) + proof


def flip_bits(forger: Forger) -> bytes:
    """Send a genuine handshake with one to four bits flipped."""
    data = bytearray(forger.either(forger.live))
    for _ in range(forger.rng.randint(1, 4)):
        data[forger.rng.randrange(len(data))] ^= 1 << forger.rng.randrange(8)
    return bytes(data)


def use_another_key(forger: Forger) -> bytes:
    """Prove, in all correctness, that one holds a key; it is not the victim's."""
    live, rng = forger.live, forger.rng
    heard = digest_of(live.server_proof)
    key = rng.choice([CAROLS_KEY, b"", bytes(32), heard, rng.randbytes(32), live.client_hello])
    uid: Uid = rng.choice([ALICE, BOB, ("eve", "e-1"), ("", "")])
    if rng.random() < 0.5:
        hello = forger.changed_hello(live.client_hello, uid=uid, nonce=rng.randbytes(32))
        role = rng.choice([ClientHandshake.role, ServerHandshake.role, b""])
        return hello + forger.proof(key, role, hello, live.server_hello)
    hello = forger.changed_hello(live.server_hello, uid=uid, nonce=rng.randbytes(32))
    role = rng.choice([ServerHandshake.role, ClientHandshake.role, b""])
    return hello + forger.proof(key, role, live.client_hello, hello)


def mistype_proof(forger: Forger) -> bytes:
    """Send something in place of a proof that a careless comparison might take for one."""
    hello, proof = _live_pair(forger)
    digest = digest_of(proof)
    wrong = forger.rng.choice(
        [
            *(None, True, 0, 1.0, b"", [], {}, [digest], {"proof": digest}, digest.hex()),
            digest.decode("latin-1"),
            digest[::-1],
            list(digest),
            msgpack.ExtType(forger.rng.randrange(128), digest),
            forger.rng.randbytes(32),
        ]
    )
    return hello + packed_proof(wrong)


def change_order(forger: Forger) -> bytes:
    """Send genuine frames in an order in which nobody sends them."""
    hello, proof = _live_pair(forger)
    refusal = framed(msgpack.packb({"error": {"type_str": "VersionMismatch", "version": 1}}))
    nothing = framed(msgpack.packb({}))
    return b"".join(
        forger.rng.choice(
            [
                (proof, hello),
                (proof, hello, proof),
                (hello, hello, proof),
                (hello, nothing, proof),
                (hello, refusal, proof),
                (nothing, hello, proof),
                (hello,),
                (proof,),
            ]
        )
    )


def _live_pair(forger: Forger) -> tuple[bytes, bytes]:
    """Return the hello and the proof that one of the victims waits for."""
    return forger.rng.choice((forger.live.to_server, forger.live.to_client))


FORGERIES: dict[str, Forge] = {
    forge.__name__: forge
    for forge in (
        replay,
        reflect,
        splice,
        splice_two,
        truncate,
        swap_roles,
        sign_with_another_nonce,
        change_nonce,
        change_fields,
        flip_bits,
        use_another_key,
        mistype_proof,
        change_order,
    )
}


# --- the trial -------------------------------------------------------------------------------


class ForgeryTrial:
    """Forged streams in turn, each fed to a server and to a client."""

    def __init__(self, seed: int, ends: Ends) -> None:
        self._ends = ends
        self._forger = Forger(seed, ends)
        self._directions = (self._forger.live.to_server, self._forger.live.to_client)
        self._forgeries = self._forge()
        self._judged = 0
        self._name = ""

    def draw(self) -> bytes:
        return next(self._forgeries)

    def judge(self, data: bytes) -> list[str]:
        self._judged += 1
        if self._judged % _CONTROL_EVERY == 1:
            self._check_that_the_genuine_get_in()
        for victim, genuine in zip(self._ends.victims(), self._directions, strict=True):
            try:
                victim.receive(data)
            except HandshakeError:
                continue
            if victim.session is not None and not is_genuine(data, *genuine):
                raise Broken(ACCEPTED, f"{self._name or 'a stream'}: {victim.session}")
        return [self._name]

    def _forge(self) -> Iterator[bytes]:
        while True:
            for self._name, forge in FORGERIES.items():
                data = forge(self._forger)
                while any(is_genuine(data, *genuine) for genuine in self._directions):
                    data = forge(self._forger)  # what a true partner sends is no forgery
                yield data

    def _check_that_the_genuine_get_in(self) -> None:
        """Refusing everybody is no feat."""
        for victim, genuine in zip(self._ends.victims(), self._directions, strict=True):
            victim.receive(b"".join(genuine))
            if victim.session is None:
                raise Broken(REFUSED, "a genuine handshake was refused")


@contextmanager
def open_forgeries(seed: int) -> Iterator[ForgeryTrial]:
    """Open a trial of forged handshakes."""
    with open_ends(seed) as ends:
        yield ForgeryTrial(seed, ends)


def run_forgeries(seed: int, count: int, note: Note) -> Tally:
    """Try *count* forgeries."""
    with open_forgeries(seed) as trial:
        return run_share(trial, count, note)
