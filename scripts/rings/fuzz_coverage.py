"""The ring of a fuzzer that is guided by which lines run. It needs `atheris`.

Each target runs in a process of its own, all of them at the same time.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

TARGETS = ("frames", "handshake", "states")
_MAX_INPUT_BYTES = 4096
_MAX_INPUT_SECONDS = 10
_MAX_MEMORY_MIB = 512
_MAX_SEED = 2**32 - 1
_SPARE_SECONDS = 60.0  # to start, and to read the sound frames
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")
_LAST_LINES = 12


@dataclass
class GuidedRun:
    """What a guided fuzzer has done with one target.

    *executed* is 0 for one that did not come to its end; *crash* says what it found, or "".
    """

    target: str
    executed: int
    covered: int
    seconds: float
    crash: str
    data: bytes


def run_coverage(seed: int, seconds: float) -> list[GuidedRun] | None:
    """Fuzz every target for so long; return None where atheris is not installed."""
    if importlib.util.find_spec("atheris") is None:
        return None
    with ExitStack() as stack:
        folders = [
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"fuzz-{target}-")))
            for target in TARGETS
        ]
        running = [
            stack.enter_context(_start(target, folder, seed, seconds))
            for target, folder in zip(TARGETS, folders, strict=True)
        ]
        for process in running:
            _wait(process, seconds + _SPARE_SECONDS)
        return [
            _read(target, folder, process.returncode, seconds)
            for target, folder, process in zip(TARGETS, folders, running, strict=True)
        ]


def _start(target: str, folder: Path, seed: int, seconds: float) -> subprocess.Popen[bytes]:
    corpus = folder / "corpus"
    corpus.mkdir()
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed % _MAX_SEED + 1}",  # 0 would mean any
        f"-max_len={_MAX_INPUT_BYTES}",
        f"-timeout={_MAX_INPUT_SECONDS}",
        f"-rss_limit_mb={_MAX_MEMORY_MIB}",
        f"-artifact_prefix={folder}/found-",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", f"{__package__}.fuzz_target", target, str(corpus), *options]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()


def _read(target: str, folder: Path, status: int, seconds: float) -> GuidedRun:
    log = (folder / "log").read_text(errors="replace")
    executed = _EXECUTED.findall(log)
    covered = _COVERED.findall(log)
    found = next(folder.glob("found-*"), None)
    told = "\n".join(log.splitlines()[-_LAST_LINES:])
    return GuidedRun(
        target=target,
        executed=int(executed[-1]) if executed else 0,
        covered=int(covered[-1]) if covered else 0,
        seconds=seconds,
        crash="" if status == 0 else f"{target} ended with status {status}:\n{told}",
        data=found.read_bytes() if found else b"",
    )
