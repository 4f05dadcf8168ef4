"""A ring in several processes: each does its share, and none of them dies or hangs unnoticed."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from .fuzz_note import FileNote, Note
from .fuzz_trial import CRASH, Tally

Share = Callable[[int, int, Note], Tally]
"""A function at the top of a module that does a share: seed, how many inputs, and a note."""

STUCK_SECONDS = 30.0
"""No input takes longer than this; a thousandth of it would be much."""

_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LAST_CHARS = 2000


class Worker:
    """One process and its share."""

    def __init__(self, share: Share, seed: int, count: int, folder: Path) -> None:
        self._result, self._log = folder / "result", folder / "log"
        self._note = FileNote(folder / "note")
        function = f"{share.__module__}:{share.__qualname__}"
        arguments = map(str, (function, seed, count, folder / "note", self._result))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.fuzz_worker", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._last_count = 0
        self._last_progress = time.monotonic()

    def poll(self) -> Tally | None:
        """Wait a little; return what it did, died of or hangs at, or None for not yet."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_POLL_SECONDS)
            if status == 0:
                return Tally.from_json(self._result.read_text())
            log = self._log.read_text(errors="replace")[-_LAST_CHARS:]
            return self._last_words(f"its process ended with status {status}\n{log}".rstrip())
        return self._last_words("no progress any more") if self._is_stuck() else None

    def end(self) -> None:
        """Kill the process if it still runs, and reap it."""
        self._process.kill()
        self._process.wait()
        self._note.close()

    def _is_stuck(self) -> bool:
        now = time.monotonic()
        count, _ = self._note.read()
        if count != self._last_count:
            self._last_count, self._last_progress = count, now
        return now - self._last_progress > (STUCK_SECONDS if count else _START_SECONDS)

    def _last_words(self, what: str) -> Tally:
        count, data = self._note.read()
        tally = Tally(n=max(0, count - 1))
        tally.add_failure(CRASH, what, data)
        return tally


def run_workers(share: Share, seed: int, count: int, workers: int) -> Tally:
    """Do *count* inputs in *workers* processes, or in this very one if that is 0."""
    if not workers:
        return _run_here(share, seed, count)
    counts = [count // workers + (number < count % workers) for number in range(workers)]
    total = Tally()
    with contextlib.ExitStack() as stack:
        running = []
        for number, part in enumerate(counts):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-"))
            worker = Worker(share, derived_seed(seed, number), part, Path(folder))
            stack.callback(worker.end)
            running.append(worker)
        while running:
            for worker in running[:]:
                tally = worker.poll()
                if tally is not None:
                    total.add(tally)
                    running.remove(worker)
    return total


def _run_here(share: Share, seed: int, count: int) -> Tally:
    try:
        return share(seed, count, Note())
    except Exception:
        tally = Tally()
        tally.add_failure(CRASH, f"it did not come to its end\n{traceback.format_exc()}", b"")
        return tally


def derived_seed(seed: int, number: int) -> int:
    """Return the seed of the share with this number."""
    return random.Random(f"{seed}/{number}").getrandbits(32)
