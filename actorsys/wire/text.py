"""Text of a peer, made fit to be shown."""

from __future__ import annotations


def cut(text: str, max_chars: int) -> str:
    """Return *text* with its middle cut and its control characters escaped, line by line."""
    return _shown(text, max_chars, "\n... cut ...\n", kept="\n\t")


def cut_line(text: str, max_chars: int) -> str:
    """Return *text* as `cut` does, in one line."""
    return _shown(text, max_chars, " ... ", kept="")


def _shown(text: str, max_chars: int, mark: str, kept: str) -> str:
    if len(text) > max_chars:
        half = (max_chars - len(mark)) // 2
        text = text[:half] + mark + text[-half:]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)
