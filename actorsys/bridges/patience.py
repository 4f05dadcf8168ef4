"""How long the end of what was cancelled in asyncio is waited for."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Patience:
    """The waits of one bridge for the end of what it has cancelled. Belongs to the trio side.

    *grace* says how many seconds from now such a wait may take: it is asked when one begins, and
    again for all of them at `hurry`. *ends* says what follows: whether the asyncio code is left
    behind then, or only complained of, and waited for as long as it takes.
    """

    def __init__(self, grace: Callable[[], float], *, ends: bool) -> None:
        self.ends = ends
        self._grace = grace
        self._scopes: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        return f"<Patience: {len(self._scopes)} waits>"

    async def wait(self, event: trio.Event) -> KeyboardInterrupt | None:
        """Wait for *event* within the grace; return Ctrl-C if it came meanwhile. Not cancelled."""
        interrupt = None
        deadline = trio.current_time() + self._grace()
        with trio.CancelScope(deadline=deadline, shield=True) as scope:
            self._scopes.add(scope)
            try:
                while not event.is_set():
                    try:
                        await event.wait()
                    except KeyboardInterrupt as error:
                        interrupt = error
            finally:
                self._scopes.discard(scope)
        return interrupt

    def hurry(self) -> None:
        """Let no wait take longer than the grace that there is now."""
        deadline = trio.current_time() + self._grace()
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, deadline)
