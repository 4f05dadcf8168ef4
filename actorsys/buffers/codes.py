"""How buffers are told apart on the wire."""

from __future__ import annotations

BUFFER = 32
SHARED_ARRAY = 33
"""Extension codes."""

NOTE = "buffers"
"""The function of the runtime that takes notes of leases: lists of numbers. It is not answered."""
