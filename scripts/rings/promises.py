"""The promises, in the words of docs/promises.md, and the tests that keep each."""

from __future__ import annotations

from typing import NamedTuple


class Promise(NamedTuple):
    """One promise: its number, its words, and the tests of the default suite that keep it."""

    number: int
    text: str
    tests: tuple[str, ...]


class Part(NamedTuple):
    """Promises that belong together."""

    title: str
    promises: tuple[Promise, ...]


PARTS = (
    Part(
        "Processes",
        (
            Promise(
                1,
                "A process that is killed at any moment takes every descendant along within 1 s, "
                "also those that are frozen, hold the interpreter lock or ignore SIGTERM.",
                ("tests/spawn/test_lifeline.py",),
            ),
            Promise(
                2,
                "What ends an actor with its parent never ends a healthy one.",
                ("tests/spawn/test_lifeline.py",),
            ),
            Promise(
                3,
                "In a restarting tree under load each death is told once, with pid and way, within "
                "100 ms (p99); no zombie, no hung parent.",
                ("tests/supervise/test_restarts_of_processes.py",),
            ),
            Promise(
                4,
                "Stopping an actor takes at most its grace and half a second, whatever it does.",
                ("tests/spawn/test_stop.py",),
            ),
            Promise(
                5,
                "Actors that come and go leave nothing: descriptors, threads, children, shared "
                "memory, sockets.",
                ("tests/conftest.py",),
            ),
            Promise(
                6,
                "A script that starts actors while it is imported gets one clear error.",
                ("tests/spawn/test_start.py",),
            ),
            Promise(
                7,
                "A child inherits three descriptors and its lifeline; its key is in neither "
                "arguments nor environment.",
                ("tests/spawn/test_start.py", "tests/supervise/test_security.py"),
            ),
            Promise(
                8,
                "After one Ctrl-C or SIGTERM the tree is gone within 2 s, after a second one "
                "within 0.5 s.",
                ("tests/spawn/test_interrupt.py",),
            ),
        ),
    ),
    Part(
        "Supervision",
        (
            Promise(
                9,
                "Restart policies and strategies do what OTP's words mean, as a reference model "
                "says.",
                ("tests/supervise/test_policy.py", "tests/supervise/test_restarts.py"),
            ),
            Promise(
                10,
                "The restart intensity is exact, at its limit and at the edge of its window.",
                ("tests/supervise/test_policy.py",),
            ),
            Promise(
                11,
                "No error is lost and none is told twice.",
                ("tests/supervise/test_nursery.py", "tests/actor/test_errors.py"),
            ),
            Promise(
                12,
                "A monitor is told of each death exactly once.",
                ("tests/supervise/test_monitors.py",),
            ),
        ),
    ),
    Part(
        "Calls",
        (
            Promise(
                13,
                "Each call ends exactly once: with a result, a remote error, a cancellation, or as "
                "unavailable.",
                ("tests/channel/test_schedules.py",),
            ),
            Promise(
                14,
                "Whatever is cancelled at whichever step, the link works on.",
                ("tests/actor/test_every_checkpoint.py",),
            ),
            Promise(
                15,
                "A cancellation arrives within 50 ms (p99); work stops 100 ms after its deadline.",
                ("tests/actor/test_cancellation.py",),
            ),
            Promise(
                16,
                "A call runs at most once, `may_have_run` is never wrong, and items keep their "
                "order.",
                ("tests/actor/test_peer_death.py", "tests/channel/test_schedules.py"),
            ),
        ),
    ),
    Part(
        "Flow and liveness",
        (
            Promise(
                17,
                "A producer that nobody keeps up with costs at most 16 MiB on either side, and "
                "other calls keep their p99 within twice what it was.",
                ("tests/actor/test_streams.py", "tests/channel/test_flow.py"),
            ),
            Promise(
                18,
                "A silent peer on another machine is noticed in 5 s, give or take 1; a busy child "
                "is never declared dead.",
                ("tests/channel/test_heartbeat.py",),
            ),
            Promise(
                19,
                "When descriptors run out, and with 1,000 connections at once, calls go on.",
                ("tests/supervise/test_security.py",),
            ),
        ),
    ),
    Part(
        "Wire and security",
        (
            Promise(
                20,
                'Any bytes give an event, "need more", or a protocol error; how they are cut does '
                "not matter, and they cost at most 16 MiB.",
                ("tests/wire/test_hostile_bytes.py", "tests/test_fuzz.py"),
            ),
            Promise(
                21,
                "Each of the named bombs is refused, for at most 8 MiB.",
                ("tests/wire/test_hostile_bytes.py",),
            ),
            Promise(
                22,
                "A peer that has not proved who it is runs nothing, gets 256 bytes and 3 s, and "
                "cannot forge a proof.",
                ("tests/wire/test_handshake.py", "tests/supervise/test_security.py"),
            ),
            Promise(
                23,
                "Only exposed functions can be called; nothing is unpickled, run or imported "
                "because the wire said so; hostile text is cut and escaped.",
                ("tests/channel/test_exposure.py", "tests/channel/test_remote_errors.py"),
            ),
            Promise(
                24,
                "A child that was taken over cannot speak as another.",
                ("tests/supervise/test_security.py", "tests/channel/test_hostile_peer.py"),
            ),
        ),
    ),
    Part(
        "Buffers",
        (
            Promise(
                25,
                "Whoever of the owner and the importers of a buffer is killed, memory comes back, "
                "what is lost is told within 100 ms, and nobody sees bytes of another buffer.",
                ("tests/buffers/test_buffer_crashes.py", "tests/cuda/test_slabs.py"),
            ),
            Promise(
                26,
                "Buffers on the host and on a GPU pass one suite; all of it but what runs on a "
                "real GPU runs without one. No figure here was taken on a real GPU: none was at "
                "hand; `scripts/test-gpu` is to be run where there is one.",
                ("tests/buffers/test_buffer_contract.py",),
            ),
        ),
    ),
    Part(
        "Whole",
        (
            Promise(
                27,
                "The same seed makes the same simulation.",
                ("tests/testing/test_simulation.py",),
            ),
            Promise(28, "The suite has no flakes and no warnings.", ("tests",)),
        ),
    ),
)
