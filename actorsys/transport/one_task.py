"""One task at a time in each direction of a transport."""

from __future__ import annotations

import trio


class OneTask:
    """Refuses a second task in the same direction, as every trio stream does."""

    def __init__(self) -> None:
        self._is_taken = False

    def __repr__(self) -> str:
        return f"<OneTask: {'taken' if self._is_taken else 'free'}>"

    def __enter__(self) -> None:
        if self._is_taken:
            raise trio.BusyResourceError("another task is using this transport")
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False
