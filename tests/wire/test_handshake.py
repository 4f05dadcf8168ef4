"""The handshake: both ends prove themselves, and nothing else gets through."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_helpers import ALICE, BOB, KEY, LIMITS, client, framed, pack, quick, server

from actorsys.errors import (
    AuthenticationFailed,
    HandshakeError,
    VersionMismatch,
)
from actorsys.limits import Limits
from actorsys.wire import ClientHandshake, Handshake, ServerHandshake
from actorsys.wire.framing import FrameReader
from actorsys.wire.handshake import PROTOCOL_VERSION, refusal

OTHER_KEY = b"o" * 32


def deliver(data: bytes, end: Handshake, chunk: int = 1000) -> bytes:
    """Give *data* to *end* piece by piece; return what it answers."""
    return b"".join(end.receive(data[i : i + chunk]) for i in range(0, len(data), chunk))


def shake(connecting: ClientHandshake, accepting: ServerHandshake, chunk: int = 1000) -> None:
    """Let two ends talk until both are silent."""
    to_server = connecting.start()
    while to_server:
        to_client = deliver(to_server, accepting, chunk)
        to_server = deliver(to_client, connecting, chunk) if to_client else b""


def split(data: bytes) -> list[bytes]:
    """Return the frames in *data*, each with its length."""
    reader = FrameReader(1000, 1001)
    reader.feed(data)
    return [framed(bytes(frame)) for frame in reader]


def hello(**changes: Any) -> bytes:
    """Return a sound hello with some of its fields changed."""
    fields = {
        "hello": "actorsys",
        "version": PROTOCOL_VERSION,
        "uid": list(ALICE),
        "nonce": bytes(32),
        "limits": [2**20, 2**16],
        "features": [],
    }
    return framed(pack({**fields, **changes}))


# --- success ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 31, 1000])
def test_two_ends_with_one_key_agree(chunk: int) -> None:
    alice, bob = client(), server()
    shake(alice, bob, chunk)
    assert alice.session is not None
    assert bob.session is not None
    assert (alice.session.own_uid, alice.session.peer_uid) == (ALICE, BOB)
    assert (bob.session.own_uid, bob.session.peer_uid) == (BOB, ALICE)
    assert alice.session.is_client
    assert not bob.session.is_client


def test_each_end_learns_the_limits_of_the_other() -> None:
    alice = client(limits=Limits(max_message_bytes=10_000, stream_window_bytes=2_000))
    bob = server(limits=Limits(max_message_bytes=30_000, stream_window_bytes=4_000))
    shake(alice, bob)
    assert alice.session is not None
    assert bob.session is not None
    assert alice.session.peer_max_frame_bytes == 30_000
    assert alice.session.peer_window_bytes == 4_000
    assert bob.session.peer_max_frame_bytes == 10_000
    assert bob.session.peer_window_bytes == 2_000


def test_unknown_features_are_not_agreed_on() -> None:
    bob = server()
    own = hello(features=["teleport"])
    theirs, _ = split(bob.receive(own))
    digest = hmac.new(KEY, b"actorsys 1 client\n" + own + theirs, hashlib.sha256).digest()
    bob.receive(framed(pack({"proof": digest})))
    assert bob.session is not None
    assert bob.session.features == frozenset()


@pytest.mark.parametrize("chunk", [1, 1000])
def test_what_comes_behind_the_handshake_is_kept(chunk: int) -> None:
    alice, bob = client(), server()
    answer = bob.receive(alice.start())
    proof = alice.receive(answer)
    if chunk == 1:
        for byte in proof[:-1]:
            bob.receive(bytes([byte]))
        proof = proof[-1:]
    bob.receive(proof + b"the first call" * 100)
    assert bob.session is not None
    assert bob.leftover == b"the first call" * 100


def test_a_server_says_nothing_first() -> None:
    assert server().start() == b""


def test_the_longest_name_fits() -> None:
    name = "n" * LIMITS.max_name_bytes
    uid, peer = (name, "f" * 16), (name, "e" * 16)
    alice = client(uid=uid, key_of={peer: KEY}.get)
    bob = server(uid=peer, key_of={uid: KEY}.get)
    shake(alice, bob)
    assert alice.session is not None
    assert bob.session is not None


def test_a_repr_never_shows_a_key() -> None:
    for end in (client(), server()):
        assert "kkkk" not in repr(end) + repr(end._credentials)


# --- wrong keys ------------------------------------------------------------------------------


def test_a_client_with_a_wrong_key_refuses_the_server() -> None:
    alice, bob = client(OTHER_KEY), server()
    with pytest.raises(AuthenticationFailed):
        shake(alice, bob)
    assert alice.session is None
    assert bob.session is None


def test_a_server_with_a_wrong_key_refuses_the_client() -> None:
    alice, bob = client(), server()
    answer = bob.receive(alice.start())
    mallory = server(OTHER_KEY)
    mallory.receive(alice.start())
    with pytest.raises(AuthenticationFailed):
        mallory.receive(alice.receive(answer))
    assert mallory.session is None


@pytest.mark.parametrize("key", [None, b""])
def test_an_unknown_uid_is_like_a_wrong_key(key: bytes | None) -> None:
    bob = server(key_of=lambda uid: key)
    alice = client()
    answer = bob.receive(alice.start())
    assert len(answer) == len(server().receive(client().start()))
    with pytest.raises(AuthenticationFailed):
        alice.receive(answer)


def test_an_unknown_client_cannot_get_in_with_an_empty_key() -> None:
    bob = server(key_of=lambda uid: None)
    own = hello(uid=["nobody", "n-1"])
    theirs, _ = split(bob.receive(own))
    for key in (b"", bytes(32)):
        digest = hmac.new(key, b"actorsys 1 client\n" + own + theirs, hashlib.sha256).digest()
        with pytest.raises(AuthenticationFailed):
            bob.receive(framed(pack({"proof": digest})))


@pytest.mark.parametrize("proof", [None, b"", bytes(31), bytes(32), "x" * 32, 5, [1]], ids=ascii)
def test_a_proof_that_is_none_is_refused(proof: Any) -> None:
    bob = server()
    bob.receive(client().start())
    with pytest.raises(AuthenticationFailed):
        bob.receive(framed(pack({"proof": proof})))


def test_a_second_hello_is_no_proof() -> None:
    bob = server()
    bob.receive(client().start())
    with pytest.raises(AuthenticationFailed):
        bob.receive(client().start())


# --- replay, reflection, splice --------------------------------------------------------------


def test_a_recorded_handshake_of_a_client_is_worthless() -> None:
    alice, bob = client(), server()
    first = alice.start()
    proof = alice.receive(bob.receive(first))
    bob.receive(proof)
    assert bob.session is not None
    again = server()
    with pytest.raises(AuthenticationFailed):
        again.receive(first + proof)


def test_a_recorded_answer_of_a_server_is_worthless() -> None:
    answer = server().receive(client().start())
    alice = client()
    alice.start()
    with pytest.raises(AuthenticationFailed):
        alice.receive(answer)


def test_a_server_is_not_fooled_by_its_own_proof() -> None:
    """An attacker without the key sends the server's hello and proof straight back."""
    bob = server(key_of={ALICE: KEY, BOB: KEY}.get)
    answer = bob.receive(hello())
    _, proof = split(answer)
    with pytest.raises(AuthenticationFailed):
        bob.receive(proof)


def test_a_client_is_not_fooled_by_its_own_hello() -> None:
    alice = client(key_of={ALICE: KEY, BOB: KEY}.get)
    own = alice.start()
    assert alice.receive(own) == b""
    with pytest.raises(AuthenticationFailed):
        alice.receive(own)
    assert alice.session is None


def test_a_server_cannot_be_made_to_sign_for_another_connection() -> None:
    """The proof that one connection of the server gave is passed on in another."""
    alice, first, second = client(), server(), server()
    first_hello, _ = split(first.receive(alice.start()))
    _, second_proof = split(second.receive(alice.start()))
    with pytest.raises(AuthenticationFailed):
        alice.receive(first_hello + second_proof)


def test_a_hello_changed_on_its_way_is_noticed() -> None:
    """A man in the middle lowers the limits that the client announced."""
    alice, bob = client(), server()
    fields = msgpack.unpackb(alice.start()[4:])
    fields["limits"] = [1024, 1024]
    with pytest.raises(AuthenticationFailed):
        alice.receive(bob.receive(framed(pack(fields))))


def test_a_key_of_another_peer_opens_nothing() -> None:
    """Each child has its own key; with it, it cannot be its sibling."""
    bob = server(key_of={ALICE: KEY, ("carol", "c-1"): OTHER_KEY}.get)
    carol = client(OTHER_KEY, uid=ALICE)
    own = carol.start()
    theirs, proof = split(bob.receive(own))
    with pytest.raises(AuthenticationFailed):
        carol.receive(theirs + proof)
    carol = client(uid=("carol", "c-1"))
    with pytest.raises(AuthenticationFailed):
        carol.receive(bob_answer_to(carol, {("carol", "c-1"): OTHER_KEY}))


def bob_answer_to(end: Handshake, keys: dict[tuple[str, str], bytes]) -> bytes:
    return server(key_of=keys.get).receive(end.start())


TRANSCRIPT = st.sampled_from(["hello", "other hello", "server", "other server", "proof"])


@quick
@given(st.lists(TRANSCRIPT, min_size=1, max_size=4), st.integers(1, 40))
def test_no_collage_of_recorded_frames_opens_a_link(names: list[str], chunk: int) -> None:
    recorded: dict[str, bytes] = {}
    for prefix in ("", "other "):
        alice, bob = client(), server()
        recorded[f"{prefix}hello"] = alice.start()
        recorded[f"{prefix}server"] = bob.receive(recorded[f"{prefix}hello"])
        recorded["proof"] = alice.receive(recorded[f"{prefix}server"])
    data = b"".join(recorded[name] for name in names)
    for end in (server(), client()):
        with pytest.raises(HandshakeError):
            deliver(data, end, chunk)
            raise HandshakeError("it waits for more")
        assert end.session is None


# --- versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 2, None, "1", -1])
def test_another_version_is_named(version: Any) -> None:
    with pytest.raises(VersionMismatch, match=f"version {version} of the protocol"):
        server().receive(hello(version=version))


def test_a_peer_that_was_refused_for_its_version_knows_why() -> None:
    alice = client()
    alice.start()
    with pytest.raises(VersionMismatch, match="install the same actorsys"):
        alice.receive(refusal())


def test_the_version_in_a_message_is_cut_and_escaped() -> None:
    for version in ("\x1b[2J", "\x1b]0;" + "x" * 90):
        with pytest.raises(VersionMismatch) as caught:
            server().receive(hello(version=version))
        assert str(caught.value).isprintable()
        alice = client()
        alice.start()
        told = {"error": {"type_str": "VersionMismatch", "version": version}}
        with pytest.raises(VersionMismatch) as caught:
            alice.receive(framed(pack(told)))
        assert str(caught.value).isprintable()


# --- size ------------------------------------------------------------------------------------


def test_more_than_256_bytes_are_never_kept() -> None:
    bob = server()
    with pytest.raises(HandshakeError):
        bob.receive(framed(b"x" * 300))


def test_a_peer_that_drips_is_cut_at_256_bytes() -> None:
    bob = server()
    greeting = hello()
    bob.receive(greeting)
    sent = len(greeting)
    bob.receive((200).to_bytes(4, "little"))
    with pytest.raises(HandshakeError, match="too much"):
        while True:
            sent += 1
            assert sent < LIMITS.handshake_bytes + 8
            bob.receive(b"x")


def test_many_small_frames_count_together() -> None:
    bob = server()
    with pytest.raises(HandshakeError):
        bob.receive(hello() + framed(b"\x80") * 100)
    assert bob.session is None


# --- garbage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"hello": "actors"},
        {"hello": None},
        {"nonce": bytes(31)},
        {"nonce": "x" * 32},
        {"nonce": None},
        {"uid": "alice"},
        {"uid": ["alice"]},
        {"uid": [1, 2]},
        {"limits": [1]},
        {"limits": [1023, 2**20]},
        {"limits": [2**20, 0]},
        {"limits": [2**32, 2**20]},
        {"limits": [True, True]},
        {"limits": None},
        {"features": "abc"},
        {"features": [1]},
        {"features": None},
    ],
    ids=ascii,
)
def test_a_distorted_hello_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(HandshakeError):
        server().receive(hello(**changes))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff\xff\xff\xff",
        bytes(8),
        framed(b"\xc1"),
        framed(b"\x01"),
        framed(pack([1, 2])),
        framed(pack({})),
        framed(pack({"proof": bytes(32)})),
        framed(b"\x81\x01\x01"),
        framed(b"\x81\x90\x01"),
        framed(b"\x91" * 200 + b"\x01"),
        framed(b"\xdd\xff\xff\xff\xff"),
        framed(pack({"error": "no"})),
        framed(pack({"error": {"type_str": ["VersionMismatch"]}})),
    ],
    ids=lambda data: ascii(data)[:30],
)
def test_what_is_no_handshake_is_refused_by_both_ends(data: bytes) -> None:
    for end in (server(), client()):
        end.start()
        with pytest.raises(HandshakeError):
            end.receive(data)


def test_an_http_client_is_told_what_it_is() -> None:
    with pytest.raises(HandshakeError, match="an HTTP request"):
        server().receive(b"GET / HTTP/1.1\r\n\r\n")


@quick
@given(st.binary(max_size=400), st.booleans(), st.integers(1, 50))
def test_no_bytes_crash_a_handshake(data: bytes, as_frame: bool, chunk: int) -> None:
    data = framed(data) if as_frame else data
    for end in (server(), client()):
        with contextlib.suppress(HandshakeError):
            deliver(data, end, chunk)
        assert end.session is None
        assert end._frames.buffered_bytes <= LIMITS.handshake_bytes + chunk


@quick
@given(st.data())
def test_a_flipped_bit_never_opens_a_link(data: st.DataObject) -> None:
    alice, bob = client(), server()
    first = alice.start()
    answer = bob.receive(first)
    proof = alice.receive(answer)
    whole = bytearray(first + proof)
    position = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[position // 8] ^= 1 << position % 8
    # The server's own nonce differs as well, so let it be the same: only the bit is new.
    again = server()
    again._own_hello = split(answer)[0][4:]
    with contextlib.suppress(HandshakeError):
        again.receive(bytes(whole))
    assert again.session is None
