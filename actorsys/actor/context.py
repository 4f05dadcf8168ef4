"""A context: two tasks in two actors, linked until both have ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Flow, IncomingCall, OutgoingCall
from ..errors import ContextCancelled, LocalProtocolError, Uid
from .stream import MsgStream


class Context:
    """One end of a pair of linked tasks.

    The caller gets it from `Portal.open_context`; the function that was called gets it as its
    first argument.

    Attributes:
      cancel_called: whether this end called `cancel`.
    """

    def __init__(self, own_uid: Uid) -> None:
        self.cancel_called = False
        self._own_uid = own_uid
        self._has_stream = False

    @property
    def canceller(self) -> Uid | None:
        """The uid of whoever has cancelled the pair, or None."""
        raise NotImplementedError

    async def started(self, value: Any = None) -> None:
        """Send the handshake value to the caller, once, before any stream.

        Raises:
          LocalProtocolError: this is the caller's end, or it was sent already.
          EncodeError, LimitExceeded: the value cannot travel.
        """
        raise NotImplementedError

    async def result(self) -> Any:
        """Wait for the far side's end and return its result; for the caller's end only.

        Raises:
          RemoteActorError, ContextCancelled, ActorUnavailable: it ended in another way.
        """
        raise NotImplementedError

    async def cancel(self) -> None:
        """Cancel the far side, or, in the function that was called, this very task.

        The other end sees a `ContextCancelled` that names this actor; this end is told nothing.
        """
        raise NotImplementedError

    @asynccontextmanager
    @enable_ki_protection
    async def open_stream(self) -> AsyncIterator[MsgStream]:
        """Open this end of the stream; leaving the block ends it for both sides.

        When an error leaves the block, the far side is not told here: it shall see the error, and
        not a stream that looks complete.

        Raises:
          LocalProtocolError: it was opened before, or the handshake has not happened yet.
        """
        if self._has_stream:
            raise LocalProtocolError("a context has one stream; it was opened before")
        flow = self._open_flow()
        self._has_stream = True
        try:
            yield MsgStream(flow)
        except BaseException:
            flow.close()
            raise
        flow.stop()

    def _open_flow(self) -> Flow:
        raise NotImplementedError


class CallerContext(Context):
    """The end of the task that made the call."""

    def __init__(self, call: OutgoingCall, own_uid: Uid) -> None:
        super().__init__(own_uid)
        self._call = call

    def __repr__(self) -> str:
        return f"<Context, caller's end of {self._call!r}>"

    @property
    def canceller(self) -> Uid | None:
        error = self._call.error
        if isinstance(error, ContextCancelled):
            return error.canceller
        return self._own_uid if self.cancel_called else None

    async def started(self, value: Any = None) -> None:
        raise LocalProtocolError("started() is for the function that was called, not its caller")

    async def result(self) -> Any:
        await self._call.wait_ended()
        if self._call.error is not None:
            raise self._call.error
        return self._call.value

    async def cancel(self) -> None:
        if not self.cancel_called:
            self.cancel_called = True
            # We asked for what comes now: it shall not interrupt us.
            self._call.on_error = None
            self._call.cancel()
        await trio.lowlevel.checkpoint()

    def absorbs(self, error: BaseException | None) -> bool:
        """Tell whether *error* is the cancellation that this end has asked for.

        The far side may have asked for it at the same moment.
        """
        if not (self.cancel_called and isinstance(error, ContextCancelled)):
            return False
        return error.canceller in (self._own_uid, self._call.channel.session.peer_uid)

    def stop_stream(self) -> None:
        """Tell the far side that this end will not read or send any more."""
        self._open_flow().stop()

    def _open_flow(self) -> Flow:
        assert self._call.flow is not None
        return self._call.flow


class CalleeContext(Context):
    """The end of the function that was called."""

    def __init__(self, call: IncomingCall, own_uid: Uid) -> None:
        super().__init__(own_uid)
        self._call = call

    def __repr__(self) -> str:
        return f"<Context, callee's end of {self._call!r}>"

    @property
    def canceller(self) -> Uid | None:
        return self._call.canceller

    async def started(self, value: Any = None) -> None:
        if self._call.started:
            raise LocalProtocolError("started() was called before; a context starts once")
        await trio.lowlevel.checkpoint()
        await self._call.send_started(value)

    async def result(self) -> Any:
        raise LocalProtocolError("result() is for the caller; this is the function it called")

    async def cancel(self) -> None:
        self.cancel_called = True
        self._call.cancel(self._own_uid, "the function that was called cancelled itself")
        await trio.lowlevel.checkpoint()

    def _open_flow(self) -> Flow:
        if not self._call.started:
            raise LocalProtocolError("call `await ctx.started()` before opening a stream")
        assert self._call.flow is not None
        return self._call.flow
