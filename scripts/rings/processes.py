"""What the kernel says of processes: who is alive, what they are called, what they hold."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PROC = Path("/proc")
_POLL_SECONDS = 0.005
_NAME_PREFIX = b"actor:"


def living_in_session(session: int) -> list[int]:
    """Return the pids of all processes of *session* that have not ended.

    Whatever a program starts stays in its session, from the fork on.
    """
    return [pid for pid in _all_pids() if _status_of(pid)[1] == session and is_living(pid)]


def is_living(pid: int) -> bool:
    """Tell whether the process *pid* exists and is no zombie."""
    return _status_of(pid)[0] not in ("", "Z", "X")


def is_frozen(pid: int) -> bool:
    """Tell whether the process *pid* is stopped."""
    return _status_of(pid)[0] == "T"


def freeze(pid: int) -> None:
    """Stop the process *pid* with SIGSTOP, and return when it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    if not poll_until(lambda: is_frozen(pid), 2):
        raise TimeoutError(f"process {pid} does not stop")


def actor_name(pid: int) -> str:
    """Return the name of the actor that the process *pid* is, or "" where it is none.

    Between a fork and its exec, a process has the name of its parent.
    """
    with contextlib.suppress(OSError):
        last = (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2]
        if last.startswith(_NAME_PREFIX):
            return last.removeprefix(_NAME_PREFIX).decode()
    return ""


def heed_interrupts() -> None:
    """Let programs started from here take SIGINT: what a shell runs in the background does not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_session(session: int) -> None:
    """Kill every process of *session*, and return when they are gone."""

    def kill_and_look() -> bool:
        left = living_in_session(session)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    if not poll_until(kill_and_look, 5):
        raise TimeoutError(f"processes of session {session} cannot be killed")


def poll_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until *condition* holds, for what nothing announces; tell whether it came to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def resident_bytes(pid: int) -> int:
    """Return how much memory of the process *pid* is resident now."""
    return _memory(pid, "VmRSS:")


def most_resident_bytes(pid: int) -> int:
    """Return how much was resident at most since `forget_most_resident`."""
    return _memory(pid, "VmHWM:")


def forget_most_resident(pid: int) -> None:
    """Let the kernel's record of the most resident memory begin again."""
    (PROC / str(pid) / "clear_refs").write_text("5")  # proc(5): reset the peak


def _memory(pid: int, name: str) -> int:
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no {name}")


def _all_pids() -> Iterable[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def _status_of(pid: int) -> tuple[str, int]:
    """Return state and session of a process, ("", 0) where there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return "", 0
    fields = text[text.rindex(b")") + 2 :].split()  # proc(5): what follows the command's name
    return fields[0].decode(), int(fields[3])
