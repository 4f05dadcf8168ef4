"""Actors that fork."""

from __future__ import annotations

import os
import time


async def fork_and_wait(path: str) -> int:
    """Fork a copy that stays out of the event loop; return its pid."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


async def fork_and_return() -> int:
    """Fork a copy that comes back into the event loop; return its pid, and 0 in the copy.

    The copy comes first, by as much as it needs to answer in place of the actor.
    """
    pid = os.fork()
    if pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


async def add(a: int, b: int) -> int:
    return a + b
