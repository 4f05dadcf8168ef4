"""The requests of one participant that wait for their reply."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, Union

from ..errors import CarrierOverflow
from .lane import Address

Future = Union["asyncio.Future[Any]", "concurrent.futures.Future[Any]"]


def settle(future: Future, value: Any) -> None:
    """Give *future* its value, unless it has one, or somebody has cancelled it."""
    with contextlib.suppress(asyncio.InvalidStateError, concurrent.futures.InvalidStateError):
        future.set_result(value)


def reject(future: Future, error: BaseException, *, is_told: bool = False) -> None:
    """Let *future* raise *error*, unless it is done.

    If *is_told*, whoever does not look learns of it by other means: asyncio does not warn then.
    """
    with contextlib.suppress(asyncio.InvalidStateError, concurrent.futures.InvalidStateError):
        future.set_exception(error)
        if is_told:
            future.exception()


class _Entry(NamedTuple):
    receiver: Address
    future: Future


class ReplyTable:
    """Futures by the number of their request.

    An entry goes with its reply, its error, or when its future is cancelled. Requests may be made
    in any thread; each step here is a single one on a dict.
    """

    def __init__(self, max_requests: int, on_given_up: Callable[[int], None]) -> None:
        self._entries: dict[int, _Entry] = {}
        self._numbers = itertools.count()
        self._max_requests = max_requests
        self._on_given_up = on_given_up

    def __repr__(self) -> str:
        return f"<ReplyTable: {len(self)} requests>"

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, receiver: Address, future: Future) -> int:
        """Enter a request to *receiver*; return its number.

        Raises:
          CarrierOverflow: too many are waiting already.
        """
        if len(self) >= self._max_requests:
            raise CarrierOverflow(
                f"{len(self):,} requests wait for their reply already "
                f"(limits.carrier_queue_frames); await some of them first"
            )
        number = next(self._numbers)
        self._entries[number] = _Entry(receiver, future)
        future.add_done_callback(lambda done: self._on_done(number, done))
        return number

    def _on_done(self, number: int, future: Any) -> None:
        if future.cancelled() and self.discard(number):
            self._on_given_up(number)

    def discard(self, number: int) -> bool:
        """Forget a request; return whether it was there."""
        return self._entries.pop(number, None) is not None

    def resolve(self, number: int, content: Any) -> bool:
        """Give a request its reply; return whether anybody waited for it."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return False
        settle(entry.future, content)
        return True

    def reject(self, number: int, error: BaseException) -> bool:
        """Let a request fail; return whether anybody waited for it."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return False
        reject(entry.future, error)
        return True

    def reject_all(self, error: BaseException, receiver: Address | None = None) -> None:
        """Let all requests fail, or all to *receiver*."""
        for number, entry in list(self._entries.items()):
            if receiver is None or entry.receiver == receiver:
                del self._entries[number]
                reject(entry.future, error, is_told=True)
