"""Whether a process still runs, as the kernel tells it."""

from __future__ import annotations

import os
import select
from typing import NamedTuple


class ProcessStat(NamedTuple):
    """What the kernel tells of a process: a letter, and ticks of its clock."""

    state: str
    start: int


def read_stat(pid: int) -> ProcessStat | None:
    """Return what the kernel tells of the process *pid*, or None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            return ProcessStat(fields[0].decode(), int(fields[19]))
    except OSError:
        return None


def is_alive(pid: int) -> bool:
    """Tell whether there is a process *pid*, and it is no zombie."""
    stat = read_stat(pid)
    return stat is not None and stat.state not in "ZX"


def has_ended(pid: int, start: int) -> bool:
    """Tell whether the process *pid* that began at *start* has ended, with all of its threads.

    Only then has it closed all that it had open.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return True  # there is none, nor can there be
    try:
        stat = read_stat(pid)
        if stat is None or stat.start != start:
            return True
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(pidfd)
