"""The task that takes items out of an asynchronous iterable."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from typing import Any

import trio

from ..channel.waiters import Waiters


class Feeder:
    """Takes *items* one by one, while there is room for more, and gives each to *take*.

    *on_exhausted* is called at their end, *on_error* with what they have raised.
    """

    def __init__(
        self,
        items: AsyncIterable[Any],
        has_room: Callable[[], bool],
        take: Callable[[Any], None],
        on_exhausted: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._items = items
        self._has_room = has_room
        self._take = take
        self._on_exhausted = on_exhausted
        self._on_error = on_error
        self._scope = trio.CancelScope()
        self._room = Waiters()
        self._ended = trio.Event()
        self._has_begun = False

    def __repr__(self) -> str:
        state = "ended" if self._ended.is_set() else "running" if self._has_begun else "not begun"
        return f"<Feeder: {state}>"

    def begin(self, services: trio.Nursery) -> None:
        """Start, once."""
        if not self._has_begun:
            self._has_begun = True
            services.start_soon(self._run)

    def wake(self) -> None:
        """Look for room again."""
        self._room.wake()

    def stop(self) -> None:
        """Take no more; the iterable is closed, if it can be."""
        self._scope.cancel()
        if not self._has_begun:
            self._has_begun = True
            self._ended.set()

    async def wait_ended(self) -> None:
        """Wait until the iterable has ended or is closed."""
        await self._ended.wait()

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._feed()
        finally:
            self._ended.set()

    async def _feed(self) -> None:
        iterator = aiter(self._items)
        try:
            while True:
                while not self._has_room():
                    await self._room.wait()
                self._take(await anext(iterator))
        except StopAsyncIteration:
            self._on_exhausted()
        except Exception as error:
            self._on_error(error)
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
