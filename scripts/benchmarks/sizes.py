"""How large what is handed over is, and what that is called."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

SIZES = [KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, GIB, 4 * GIB]
"""Of buffers that are handed over, in bytes."""

SENT_SIZES = [size for size in SIZES if size <= 256 * MIB]
"""Of what is sent instead: it exists four times while it is under way."""

ECHOED_SIZES = [MIB, 16 * MIB]
"""Of arrays that go there and back."""

SHARED_SIZE = MIB
"""Of the buffers that several callers hand over at the same time."""


def name_size(nbytes: int) -> str:
    """Return *nbytes* as people say it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if nbytes >= unit:
            return f"{nbytes // unit} {name}"
    return f"{nbytes // KIB} KiB"
