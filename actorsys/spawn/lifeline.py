"""A child never outlives its parent.

Two nets, since each has a hole. The kernel's parent-death signal reaches a child that is stopped
or stuck in C, but only Linux has it. A pipe whose other end only the parent holds ends with the
parent everywhere, but somebody must be able to read it.

The parent-death signal fires when the *thread* that forked ends. `Process.start` forks in the
thread that runs trio, which ends after the actors it started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

TIE_FIRST = (
    f"import ctypes; ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}, 0, 0, 0); "
    "os.getppid() == {parent_pid} or os._exit(1); "
)
"""What a child runs before anything else: importing this package takes longer than it may be an
orphan. `arm` does the rest."""


def arm(fd: int, parent_pid: int) -> None:
    """Die with the process *parent_pid*, at the other end of the pipe *fd*."""
    if sys.platform == "linux":
        _set_parent_death_signal()
    if os.getppid() != parent_pid:
        _die()
    threading.Thread(target=_watch, args=(fd,), name="actorsys lifeline", daemon=True).start()


def tie_to_parent() -> None:
    """Die with the parent of this process, which has just been forked; where the kernel can."""
    if sys.platform == "linux":
        _set_parent_death_signal()


def _set_parent_death_signal() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def _watch(fd: int) -> None:
    """Wait for the end of the pipe; nothing is ever written to it after the spec."""
    while os.read(fd, 1):
        pass
    _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
