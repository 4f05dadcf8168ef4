"""Text of a peer, made fit to be shown."""

from __future__ import annotations

_CUT = "\n... cut ...\n"


def cut(text: str, max_chars: int) -> str:
    """Return *text* with its middle cut and its control characters escaped."""
    if len(text) > max_chars:
        half = (max_chars - len(_CUT)) // 2
        text = text[:half] + _CUT + text[-half:]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
