"""Whether a process still runs, as the kernel tells it."""

from __future__ import annotations

import errno
import os
import select
from typing import NamedTuple

_NO_PROCESS = (errno.ESRCH, errno.EINVAL)
"""What the kernel says where there is none, and where there cannot be."""


class ProcessStat(NamedTuple):
    """What the kernel tells of a process: a letter, and ticks of its clock."""

    state: str
    start: int


def read_stat(pid: int) -> ProcessStat | None:
    """Return what the kernel tells of the process *pid*, or None if there is none.

    Raises:
      OSError: it cannot be asked: there is no descriptor left, say.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ProcessStat(fields[0].decode(), int(fields[19]))


def is_alive(pid: int) -> bool:
    """Tell whether there may be a process *pid* that is no zombie."""
    try:
        stat = read_stat(pid)
    except OSError:
        return True
    return stat is not None and stat.state not in "ZX"


def has_ended(pid: int, start: int) -> bool:
    """Tell whether the process *pid* that began at *start* has surely ended, with all its threads.

    Only then has it closed all that it had open.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OverflowError:
        return True
    except OSError as error:
        return error.errno in _NO_PROCESS
    try:
        return _is_over(pidfd, pid, start)
    except OSError:
        return False
    finally:
        os.close(pidfd)


def _is_over(pidfd: int, pid: int, start: int) -> bool:
    stat = read_stat(pid)
    if stat is None or stat.start != start:
        return True
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
