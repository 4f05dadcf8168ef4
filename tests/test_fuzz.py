"""The rings of hostile bytes are met by this package, and missed by broken ones."""

from __future__ import annotations

import json
import mmap
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actorsys.limits import MIB
from actorsys.testing.hostile import framed, sound_frames
from actorsys.wire import Codec, FrameReader, Handshake
from scripts.rings import fuzz_coverage, fuzz_workers, fuzzing
from scripts.rings.figure import Figure, pick_seed
from scripts.rings.fuzz_note import Note
from scripts.rings.fuzz_trial import CRASH, REFUSED, Tally
from scripts.rings.fuzz_workers import run_workers
from scripts.rings.fuzzing import RINGS, Plan, main

FRAMES = 1500
TRANSCRIPTS = 400
SOUND_FRAMES = 2 * len(sound_frames())  # every trial decodes them first, under two limits
SOUND_FRAME = framed(b"\x82\xa6return\x01\xa3cid\xa14").hex()


def run(ring: str) -> list[Figure]:
    """Run the light form of a ring in this process."""
    plan = Plan(pick_seed(None), workers=0, frames=FRAMES, transcripts=TRANSCRIPTS)
    figures = list(RINGS[ring](plan))
    print(*figures, sep="\n")
    return figures


def missed(ring: str) -> list[int]:
    """Return which figures of a ring miss their targets."""
    return [number for number, figure in enumerate(run(ring)) if not figure.is_met]


@pytest.fixture
def patch_decode(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen before each frame is decoded."""

    def patch(happen: Callable[[], None]) -> None:
        decode = Codec.decode

        def broken(self: Codec, frame: bytes | bytearray) -> Any:
            happen()
            return decode(self, frame)

        monkeypatch.setattr(Codec, "decode", broken)

    return patch


# --- met -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", ["frames", "bombs", "handshake", "forgery"])
def test_ring_is_met(ring: str) -> None:
    figures = run(ring)
    assert all(figure.is_met for figure in figures)
    assert {figure.n for figure in figures} <= {FRAMES, TRANSCRIPTS, len(fuzzing.BOMBS)}


# --- missed, because something is broken -----------------------------------------------------


def test_a_decoder_that_crashes_is_noticed(patch_decode: Any) -> None:
    count = 0

    def crash() -> None:
        nonlocal count
        count += 1
        if count % 500 == 0:
            raise ValueError("oh")

    patch_decode(crash)
    figures = run("frames")
    assert not figures[0].is_met
    assert figures[0].n == FRAMES
    assert 2 <= int(figures[0].worst.split()[0]) <= count // 500


@pytest.mark.parametrize("ring", ["frames", "bombs"])
def test_a_decoder_that_always_crashes_is_noticed(ring: str, patch_decode: Any) -> None:
    def crash() -> None:
        raise ValueError("oh")

    patch_decode(crash)
    assert 0 in missed(ring)


def test_a_bomb_that_is_taken_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Codec, "decode", lambda self, frame: ({"stop": True, "cid": "1"}, None))
    assert missed("bombs")[0] == 0


def test_a_reader_that_depends_on_pieces_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = FrameReader.feed

    def broken(self: FrameReader, data: bytes) -> None:
        feed(self, data[:-1] if len(data) == 7 else data)

    monkeypatch.setattr(FrameReader, "feed", broken)
    assert 1 in missed("frames")
    assert missed("handshake")[0] == 0


def test_a_decoder_that_takes_memory_is_noticed(
    patch_decode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def take_memory() -> None:
        nonlocal taken
        taken += 1
        if taken % 1000 == 0:
            with mmap.mmap(-1, 32 * MIB) as memory:  # fresh from the kernel each time
                for page in range(0, len(memory), mmap.PAGESIZE):
                    memory[page] = 1

    patch_decode(take_memory)
    figures = run("frames")
    assert not figures[2].is_met
    assert float(figures[2].worst.split()[0]) > 30


def test_a_decoder_that_allocates_for_a_bomb_is_noticed(patch_decode: Any) -> None:
    patch_decode(lambda: bytearray(9 * MIB))
    assert 1 in missed("bombs")


def test_a_handshake_that_accepts_everything_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handshake, "_check_proof", lambda self, fields: None)
    assert missed("handshake")[-1] == 1
    assert missed("forgery") == [0]


def test_a_handshake_that_ignores_the_hello_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the transcript in it, a proof of the past is as good as a new one."""
    for cls in Handshake.__subclasses__():
        monkeypatch.setattr(cls, "_transcript", lambda self: b"")
    assert missed("forgery") == [0]


def test_a_handshake_that_ignores_the_role_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in Handshake.__subclasses__():
        monkeypatch.setattr(cls, "role", b"")
        monkeypatch.setattr(cls, "peer_role", b"")
    assert missed("forgery") == [0]


def test_a_handshake_that_refuses_everybody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with fuzzing.open_forgeries(1) as trial:
        monkeypatch.setattr(Handshake, "_succeed", lambda self: None)
        tally = fuzzing.run_share(trial, 1, Note())
    assert tally.counts[REFUSED] == 1
    assert missed("forgery") == [0]


def test_an_outcome_that_never_comes_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "_MANY", FRAMES)
    monkeypatch.setattr(fuzzing, "_OUTCOMES_OF_FRAMES", ["Call", "Telegram"])
    figures = run("frames")
    assert not figures[0].is_met
    assert figures[0].worst.endswith("never seen: Telegram")


def test_a_run_that_falls_short_of_its_plan_has_met_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fuzzing, "run_frames", lambda seed, count, note: Tally(n=count - 1))
    assert missed("frames") == [0, 1, 2]
    monkeypatch.setattr(fuzzing, "run_forgeries", lambda seed, count, note: Tally(n=0))
    assert missed("forgery") == [0]


# --- workers ---------------------------------------------------------------------------------


def count_inputs(seed: int, count: int, note: Note) -> Tally:
    tally = Tally(n=count, memory_bytes=seed)
    tally.seen["input"] += count
    tally.add_failure(CRASH, "a sample", b"\x00\xff")
    return tally


def die(seed: int, count: int, note: Note) -> Tally:
    note.write(2, b"deadly")
    os.kill(os.getpid(), signal.SIGKILL)
    return Tally()


def hang(seed: int, count: int, note: Note) -> Tally:
    note.write(2, b"endless")
    threading.Event().wait()
    return Tally()


def test_workers_share_a_count_and_their_tallies_are_added() -> None:
    total = run_workers(count_inputs, 1, 7, workers=2)
    assert (total.n, total.seen["input"], total.counts[CRASH]) == (7, 7, 2)
    assert [failure.data for failure in total.failures] == [b"\x00\xff"] * 2
    assert total.memory_bytes == max(fuzz_workers.derived_seed(1, number) for number in (0, 1))


def test_a_worker_that_dies_leaves_the_bytes_it_died_of() -> None:
    total = run_workers(die, 1, 100, workers=1)
    assert total.n == 2
    (failure,) = total.failures
    assert (failure.kind, failure.data) == (CRASH, b"deadly")
    assert "ended with status -9" in failure.detail


def test_a_worker_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_workers, "STUCK_SECONDS", 0.1)
    total = run_workers(hang, 1, 100, workers=1)
    assert total.n == 2
    (failure,) = total.failures
    assert (failure.kind, failure.data) == (CRASH, b"endless")


# --- the program -----------------------------------------------------------------------------


def test_program_tells_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    options = ["forgery", "--transcripts", "200", "--workers", "0", "--seed", "5"]
    assert main([*options, "--json", str(path)]) == 0
    assert "seed 5" in capsys.readouterr().out
    (told,) = json.loads(path.read_text())
    assert (told["promise"], told["n"], told["seed"], told["is_met"]) == (22, 200, 5, True)


def test_a_failure_is_told_with_its_bytes_and_can_be_repeated(
    patch_decode: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["frames", "--replay", SOUND_FRAME]
    assert main(again) == 0
    assert "Return" in capsys.readouterr().out

    count = 0

    def crash() -> None:
        nonlocal count
        count += 1
        if count > SOUND_FRAMES:
            raise ValueError("oh")

    patch_decode(crash)
    assert main(["frames", "--frames", "100", "--workers", "0", "--seed", "1"]) == 1
    told = capsys.readouterr().err
    assert "ValueError: oh" in told
    line = next(line for line in told.splitlines() if "--replay" in line)
    count = 0
    assert main(line.split()[1:]) == 1
    monkeypatch.undo()
    assert main(line.split()[1:]) == 0


@pytest.mark.parametrize("arguments", [["frame"], ["--replay", "00"], ["bombs", "--replay", "00"]])
def test_program_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_coverage_is_skipped_without_atheris(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz_coverage.importlib.util, "find_spec", lambda name: None)
    assert main(["coverage", "--seconds", "1"]) == 0
    assert "skipped, atheris is not installed: pip install" in capsys.readouterr().out
