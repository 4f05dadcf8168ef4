"""The task that takes items out of an asynchronous iterator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import trio

from ..channel.waiters import Waiters


class Feeder:
    """Takes *items* one by one, while there is room for more, and gives each to *take*.

    *on_exhausted* is called at their end, *on_error* with what they, or their clean-up, have
    raised. A generator is closed at the end; anything else belongs to whoever made it.
    """

    def __init__(
        self,
        items: AsyncIterator[Any],
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
        """Take no more; a generator is closed."""
        self._scope.cancel()
        if not self._has_begun:
            self._has_begun = True
            self._ended.set()

    async def wait_ended(self) -> None:
        """Wait until nothing is taken any more, and a generator is closed."""
        await self._ended.wait()

    async def _run(self) -> None:
        """Feed; whatever the items raise is for this map, and not for the pool."""
        try:
            with self._scope:
                await self._feed()
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            cancelled, errors = group.split(trio.Cancelled)
            if errors is not None:
                self._on_error(errors)
            if cancelled is not None:
                raise cancelled from None
        except BaseException as error:
            self._on_error(error)
        finally:
            self._ended.set()

    async def _feed(self) -> None:
        try:
            while True:
                while not self._has_room():
                    await self._room.wait()
                self._take(await anext(self._items))
        except StopAsyncIteration:
            self._on_exhausted()
        finally:
            if isinstance(self._items, AsyncGenerator):
                await self._items.aclose()
