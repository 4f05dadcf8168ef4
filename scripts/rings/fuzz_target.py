"""The program that a guided fuzzer runs, with a target, a folder and options of libFuzzer.

It feeds the target with whatever reaches lines that no input has reached before. Any exception
that leaves a target is a crash.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["actorsys.wire", "actorsys.channel.call_table", "actorsys.channel.remote_errors"]
):
    from actorsys.errors import RemoteProtocolError
    from actorsys.limits import DEFAULT_LIMITS
    from actorsys.testing.hostile import framed, sound_frames, sound_messages
    from actorsys.wire import parse_message

    from .fuzz_ends import Ends, open_ends, record
    from .fuzz_link import Calls
    from .mutation import FramesTrial, HandshakeTrial

Target = Callable[[bytes], object]

_CIDS = [*"123456789abcdef", "11", "13", ""]
_STEP_BYTES = 2


def frames_target() -> Target:
    """Return a target that takes a stream, or the body of one frame."""
    trial = FramesTrial(0)

    def judge(data: bytes) -> None:
        trial.judge(framed(data[1:]) if data[:1] < b"\x80" and data[1:] else data)

    return judge


def handshake_target(ends: Ends) -> Target:
    """Return a target that takes a stream, or the body of what follows a genuine hello."""
    trial = HandshakeTrial(0, ends)
    server, client = ends.victims()
    hellos = [b"", *record(client, server)[:2]]

    def judge(data: bytes) -> None:
        hello = hellos[data[0] % len(hellos)] if data else b""
        trial.judge(hello + framed(data[1:]) if data[1:] else data)

    return judge


def states_target() -> Target:
    """Return a target that takes two bytes for each message: which one, and for which call."""
    messages = sound_messages()

    def judge(data: bytes) -> None:
        calls = Calls(DEFAULT_LIMITS)
        steps = zip(data[::_STEP_BYTES], data[1::_STEP_BYTES], strict=False)
        try:
            for which, whose in steps:
                raw = {**messages[which % len(messages)], "cid": _CIDS[whose % len(_CIDS)]}
                calls.take(parse_message(raw, None, 100))
        except RemoteProtocolError:
            return

    return judge


def write_corpus(folder: Path) -> None:
    """Put the sound frames into *folder*, to begin with."""
    for number, frame in enumerate(sound_frames()):
        (folder / f"frame-{number}").write_bytes(b"\x00" + frame[4:])


def main() -> None:
    """Fuzz until an option of libFuzzer, or a crash, ends this process."""
    name, corpus, *options = sys.argv[1:]
    write_corpus(Path(corpus))
    with open_ends(0) as ends:
        targets = {
            "frames": frames_target,
            "handshake": lambda: handshake_target(ends),
            "states": states_target,
        }
        atheris.Setup([sys.argv[0], *options, corpus], targets[name]())
        atheris.Fuzz()


if __name__ == "__main__":
    main()
