"""What a process holds: noted when this module is imported, and told on demand."""

from __future__ import annotations

import os
from typing import Any


def list_descriptors() -> dict[int, str]:
    """Return what each open descriptor of this process refers to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


AT_IMPORT = list_descriptors()


async def take_inventory() -> dict[str, Any]:
    """Return the descriptors at import, before the actor has opened any, and those of now."""
    return {"import": AT_IMPORT, "now": list_descriptors(), "pid": os.getpid()}
