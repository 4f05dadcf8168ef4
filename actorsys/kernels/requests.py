"""What a kernel asks of its runtime: to send, ask or publish in its name. Both ends."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import trio

from .. import errors
from ..actor.parcels import Parcel, is_parcel
from ..wire import cut
from .packing import Envelope, enveloped, unpack_message
from .sealing import checked_priority
from .wiring import ToKernel, ToRuntime, Wiring

OnRequest = Callable[[str, str, Envelope, "float | None"], Awaitable["Parcel | None"]]
"""Does what a kernel asks of its runtime: verb, name, message, timeout."""


# --- in the runtime ---------------------------------------------------------------------------


class IncomingRequests:
    """The requests of a kernel that are being done. Owned by a `Kernel`."""

    def __init__(self, on_request: OnRequest, max_text_chars: int) -> None:
        self._on_request = on_request
        self._max_text_chars = max_text_chars
        self._scopes: dict[int, trio.CancelScope] = {}

    def __repr__(self) -> str:
        return f"<IncomingRequests: {len(self._scopes)} being done>"

    def start(self, tasks: trio.Nursery, wiring: Wiring, request: list[Any]) -> None:
        """Do, in *tasks*, what has come over *wiring*, and answer there.

        Raises:
          ValueError: its number is none, or that of another one.
        """
        number = request[0]
        if type(number) is not int or number in self._scopes:
            raise ValueError("a request has a number of its own")
        scope = self._scopes[number] = trio.CancelScope()
        tasks.start_soon(self._do, wiring, scope, request)

    def give_up(self, number: int) -> None:
        """Stop doing what nobody waits for any more."""
        scope = self._scopes.get(number)
        if scope is not None:
            scope.cancel()

    def give_up_all(self) -> None:
        """Stop doing anything: who has asked is gone, and gets no answer."""
        for scope in self._scopes.values():
            scope.cancel()
        self._scopes = {}

    async def _do(self, wiring: Wiring, scope: trio.CancelScope, request: list[Any]) -> None:
        """Do one, and answer; unless the kernel has given it up, or is gone."""
        number = request[0]
        error: list[str] | None = None
        answer: Parcel | None = None
        with scope:
            try:
                # A request that was given up just before is let go first: it may be the same one.
                await trio.lowlevel.checkpoint()
                answer = await self._on_request(*_checked_request(*request))
            except Exception as reason:
                # Whatever it is, it is the answer: the kernel waits for it.
                error = self._describe(reason)
        if self._scopes.get(number) is scope:
            del self._scopes[number]
            if not scope.cancelled_caught:
                self._answer(wiring, number, error, answer)

    def _answer(
        self, wiring: Wiring, number: int, error: list[str] | None, answer: Parcel | None
    ) -> None:
        try:
            wiring.send(ToKernel.ANSWER, number, error, answer)
        except errors.ActorsysError as reason:  # a buffer in it was lost since
            wiring.send(ToKernel.ANSWER, number, self._describe(reason), None)

    def _describe(self, error: Exception) -> list[str]:
        return [type(error).__name__, cut(str(error), self._max_text_chars)]


def _checked_request(
    number: Any, verb: str, name: str, envelope: list[Any], timeout: float | None
) -> tuple[str, str, Envelope, float | None]:
    """Return what a kernel asks for, if it makes sense.

    Raises:
      ValueError, TypeError: it does not.
    """
    parcel, priority, key = envelope
    if not is_parcel(parcel) or not isinstance(name, str):
        raise TypeError("a request has a name and a parcel message")
    return verb, name, Envelope(parcel, checked_priority(priority), uuid.UUID(bytes=key)), timeout


# --- in the kernel ----------------------------------------------------------------------------


class OutgoingRequests:
    """The requests of a kernel that have no answer yet. Owned by a `KernelHost`."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send
        self._waiting: dict[int, _Request] = {}
        self._next_number = 0

    def __repr__(self) -> str:
        return f"<OutgoingRequests: {len(self._waiting)} without an answer>"

    async def make(self, verb: str, name: str, message: Any, timeout: float | None) -> Any:
        """Have the runtime do something with *message*, and return what it answers.

        If it is cancelled, the runtime is told, which may have done it already.
        """
        number = self._next_number
        self._next_number += 1
        request = self._waiting[number] = _Request()
        try:
            parcel, priority, key = enveloped(message)
            self._send(
                ToRuntime.REQUEST, number, verb, name, [parcel, priority, key.bytes], timeout
            )
            return await request.wait()
        finally:
            del self._waiting[number]
            if not request.has_ended:
                self._send(ToRuntime.GIVEN_UP, number)

    def on_answer(self, number: int, error: list[str] | None, parcel: Parcel | None) -> None:
        """Take the answer to one of them, if it is still waited for."""
        request = self._waiting.get(number)
        if request is not None:
            request.end(error, parcel)


class _Request:
    """Something that the runtime was asked to do."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._outcome: outcome.Outcome[Any] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the answer has come."""
        return self._done.is_set()

    async def wait(self) -> Any:
        """Return the answer, or raise the error that it is."""
        await self._done.wait()
        assert self._outcome is not None
        return self._outcome.unwrap()

    def end(self, error: list[str] | None, parcel: Parcel | None) -> None:
        """Take the answer."""
        if error is not None:
            self._outcome = outcome.Error(rebuilt_error(*error))
        else:
            self._outcome = (
                outcome.capture(unpack_message, parcel) if parcel else outcome.Value(None)
            )
        self._done.set()


def rebuilt_error(name: str, text: str) -> Exception:
    """Return an error of this package by its name, or another one with both in its text."""
    cls = getattr(errors, name, None)
    if isinstance(cls, type) and issubclass(cls, errors.ActorsysError):
        return cls(text)
    return {"ValueError": ValueError, "TypeError": TypeError}.get(name, RuntimeError)(text)
