"""Run the rings of hostile bytes: the options, the figures, and the program."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from actorsys.limits import DEFAULT_LIMITS, MIB
from actorsys.testing.hostile import BOMBS

from .figure import Figure, add_arguments, pick_seed, report
from .forgery import FORGERIES, open_forgeries, run_forgeries
from .fuzz_bombs import MAX_BOMB_BYTES, run_bombs
from .fuzz_coverage import run_coverage
from .fuzz_note import Note
from .fuzz_trial import (
    ACCEPTED,
    BUFFERED,
    CHUNKS,
    CRASH,
    MAX_MEMORY_BYTES,
    MEMORY,
    REFUSED,
    Tally,
    Trial,
    run_share,
)
from .fuzz_workers import Share, run_workers
from .mutation import open_frames, open_handshakes, run_frames, run_handshakes

_FRAMES = 10_000_000
_TRANSCRIPTS = 100_000
_COVERAGE_SECONDS = 60.0
_MAX_SHOWN_BYTES = 8192
_REPLAYS = 200
_MANY = 10_000
"""From so many inputs on, each kind of outcome must have come up."""

OpenTrial = Callable[[int], AbstractContextManager[Trial]]


@dataclass(frozen=True)
class Plan:
    """What a run is to do."""

    seed: int
    workers: int
    frames: int = _FRAMES
    transcripts: int = _TRANSCRIPTS
    seconds: float = _COVERAGE_SECONDS


# --- the rings -------------------------------------------------------------------------------


def frames(plan: Plan) -> Iterator[Figure]:
    """Feed mutated frames to the receiving end of a link."""
    tally = _run("frames", run_frames, plan.frames, plan)
    tell = functools.partial(_figure, plan, tally, plan.frames, promise=20)
    missing = _missing(tally, _OUTCOMES_OF_FRAMES)
    yield tell(
        "mutated frames that are anything but a message, more, or refused",
        f"{tally.counts[CRASH]} crashes, {_shares(tally)}{missing}",
        "0 crashes",
        not tally.counts[CRASH] and not missing,
    )
    yield tell(
        "mutated frames whose outcome depends on the pieces they come in",
        f"{tally.counts[CHUNKS]}",
        "0",
        not tally.counts[CHUNKS],
    )
    yield tell(
        "memory that mutated frames take",
        f"+{tally.memory_bytes / MIB:.1f} MiB",
        f"at most +{MAX_MEMORY_BYTES // MIB} MiB",
        not tally.counts[MEMORY],
    )


def bombs(plan: Plan) -> Iterator[Figure]:
    """Set off the named bombs."""
    count = len(BOMBS)
    tally = _run("bombs", run_bombs, count, Plan(plan.seed, min(plan.workers, 1)))
    wrong = sum(tally.counts[kind] for kind in (CRASH, CHUNKS, REFUSED))
    tell = functools.partial(_figure, plan, tally, count, promise=21)
    yield tell("bombs that are not refused", f"{wrong}", "0", not wrong)
    yield tell(
        "memory that a bomb takes",
        f"{tally.memory_bytes / MIB:.1f} MiB ({tally.greediest}); {tally.counts[MEMORY]} too many",
        f"at most {MAX_BOMB_BYTES // MIB} MiB each",
        not tally.counts[MEMORY],
    )


def handshake(plan: Plan) -> Iterator[Figure]:
    """Feed mutated handshakes to both ends."""
    tally = _run("handshake", run_handshakes, plan.transcripts, plan)
    tell = functools.partial(_figure, plan, tally, plan.transcripts)
    wrong = sum(tally.counts[kind] for kind in (CRASH, CHUNKS, MEMORY))
    yield tell(
        "mutated handshakes that crash an end, depend on their pieces, or take memory",
        f"{wrong}, {_shares(tally)}",
        "0",
        not wrong,
        promise=20,
    )
    yield tell(
        "mutated handshakes that are accepted, or buffered beyond "
        f"{DEFAULT_LIMITS.handshake_bytes} bytes",
        f"{tally.counts[ACCEPTED]} and {tally.counts[BUFFERED]}",
        "0",
        not tally.counts[ACCEPTED] + tally.counts[BUFFERED],
        promise=22,
    )


def forgery(plan: Plan) -> Iterator[Figure]:
    """Try to get in without the key."""
    tally = _run("forgery", run_forgeries, plan.transcripts, plan)
    wrong = sum(tally.counts.values())
    missing = _missing(tally, FORGERIES)
    yield _figure(
        plan,
        tally,
        plan.transcripts,
        f"forged transcripts of {len(FORGERIES)} kinds that are accepted",
        f"{wrong}{missing}",
        "0",
        not wrong and not missing,
        promise=22,
    )


def coverage(plan: Plan) -> Iterator[Figure]:
    """Let a fuzzer that sees which lines run look for a crash."""
    runs = run_coverage(plan.seed, plan.seconds)
    if runs is None:
        print("coverage: skipped, atheris is not installed: pip install 'actorsys[fuzz]'")
        return
    for run in runs:
        if run.crash:
            _print_failure("coverage", plan, CRASH, run.crash, run.data)
        yield Figure(
            20,
            f"inputs that a guided fuzzer made for {run.target}, with a crash",
            run.executed,
            plan.seed,
            f"{int(bool(run.crash))}, {run.covered:,} branches seen in {run.seconds:.0f} s",
            "0",
            not run.crash and run.executed > 0,
        )


RINGS: dict[str, Callable[[Plan], Iterator[Figure]]] = {
    ring.__name__: ring for ring in (frames, bombs, handshake, forgery, coverage)
}
REPLAYS: dict[str, OpenTrial] = {
    "frames": open_frames,
    "handshake": open_handshakes,
    "forgery": open_forgeries,
}
_DEFAULT_RINGS = ["frames", "bombs", "handshake", "forgery"]
_OUTCOMES_OF_FRAMES = [
    *("Call", "Functype", "Return", "Started", "Item", "Stop", "Credit", "ErrorReply"),
    *("undeliverable", "dropped", "closed", "more", "RemoteProtocolError", "LimitExceeded"),
]


def _run(ring: str, share: Share, count: int, plan: Plan) -> Tally:
    """Run a ring; print the bytes of each failure."""
    tally = run_workers(share, plan.seed, count, plan.workers)
    for failure in tally.failures:
        _print_failure(ring, plan, failure.kind, failure.detail, failure.data)
    return tally


def _figure(
    plan: Plan,
    tally: Tally,
    planned: int,
    what: str,
    worst: str,
    target: str,
    is_met: bool,
    *,
    promise: int,
) -> Figure:
    """Return a figure; a run that fell short of its plan has met nothing."""
    if tally.n < planned:
        worst = f"{worst}; only {tally.n:,} of {planned:,} inputs were processed"
        is_met = False
    return Figure(promise, what, tally.n, plan.seed, worst, target, is_met)


def _missing(tally: Tally, expected: Iterable[str]) -> str:
    """Say which outcomes never came up, in a run that is long enough for all of them."""
    missing = [name for name in expected if not tally.seen[name]]
    return f"; never seen: {', '.join(missing)}" if missing and tally.n >= _MANY else ""


def _shares(tally: Tally) -> str:
    """Say how often which outcome came up, the most frequent first."""
    total = max(1, sum(tally.seen.values()))
    return ", ".join(f"{count / total:.0%} {name}" for name, count in tally.seen.most_common(4))


def _print_failure(ring: str, plan: Plan, kind: str, detail: str, data: bytes) -> None:
    where = f"seed {plan.seed}, {plan.workers} workers"
    print(f"{ring}: {kind}: {detail} ({where})", file=sys.stderr)
    if data:
        rest = f" ... {len(data):,} bytes in all" if len(data) > _MAX_SHOWN_BYTES else ""
        shown = data[:_MAX_SHOWN_BYTES].hex()
        print(f"  scripts/fuzz {ring} --replay {shown}{rest}", file=sys.stderr)


# --- the program -----------------------------------------------------------------------------


class Repeated:
    """The same bytes again and again, to a trial that cuts them differently each time."""

    def __init__(self, trial: Trial, data: bytes) -> None:
        self._data = data
        self.judge = trial.judge

    def draw(self) -> bytes:
        return self._data


def replay(ring: str, data: bytes) -> int:
    """Judge *data* again, in many ways of cutting it; return the exit status."""
    with REPLAYS[ring](0) as trial:
        tally = run_share(Repeated(trial, data), _REPLAYS, Note())
    for failure in tally.failures[:1]:
        print(f"{ring}: {failure.kind}: {failure.detail}", file=sys.stderr)
    print(f"{ring}: {len(data)} bytes: {', '.join(filter(None, tally.seen)) or 'nothing'}")
    return 1 if tally.failures else 0


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Feed hostile bytes to the wire and count what breaks."
    )
    parser.add_argument("rings", nargs="*", metavar="RING", help=f"of {', '.join(RINGS)}")
    parser.add_argument("--frames", type=int, default=_FRAMES, help="default: %(default)s")
    parser.add_argument(
        "--transcripts",
        type=int,
        default=_TRANSCRIPTS,
        help="of handshake and of forgery (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=_COVERAGE_SECONDS,
        help="of coverage (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument(
        "--replay", type=bytes.fromhex, metavar="HEX", help="judge these bytes, in one ring"
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    unknown = set(options.rings) - RINGS.keys()
    if unknown:
        parser.error(f"no such ring: {', '.join(sorted(unknown))}")
    if options.replay is not None and (len(options.rings) != 1 or options.rings[0] not in REPLAYS):
        parser.error(f"--replay takes one ring of {', '.join(REPLAYS)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the rings, tell, and return the exit status."""
    options = parse_options(arguments)
    if options.replay is not None:
        return replay(options.rings[0], options.replay)
    plan = Plan(
        pick_seed(options.seed),
        options.workers,
        options.frames,
        options.transcripts,
        options.seconds,
    )
    print(f"seed {plan.seed}, {plan.workers} workers", flush=True)
    rings = options.rings or _DEFAULT_RINGS
    return report((figure for ring in rings for figure in RINGS[ring](plan)), options.json)


if __name__ == "__main__":
    sys.exit(main())
