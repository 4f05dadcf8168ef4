"""A portal: through it one actor calls functions in another."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Channel, OutgoingCall, qualify
from ..errors import ActorUnavailable, ContextCancelled, Uid
from ..wire import MAX_DEADLINE_SECONDS, Kind
from .context import CallerContext, Context
from .current import trace_context
from .stream import MsgStream

if TYPE_CHECKING:
    from .monitor import Monitors
    from .runtime import Actor

Callee = Union[Callable[..., Any], str]
PeerState = Literal["alive", "restarting", "gone"]


class Peer(Protocol):
    """What stands behind a portal: an actor, through all its incarnations.

    ``owner`` is the actor that this portal belongs to, ``gone`` the reason why there will be no
    further incarnation, and ``monitors`` are told of each death.
    """

    @property
    def owner(self) -> Actor: ...
    @property
    def monitors(self) -> Monitors: ...
    @property
    def uid(self) -> Uid: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def state(self) -> PeerState: ...
    @property
    def gone(self) -> ActorUnavailable | None: ...

    @property
    def open_channel(self) -> Channel | None:
        """The open link to it, or None."""

    async def channel(self) -> Channel:
        """Return the open link to it; wait while it is being restarted.

        Raises:
          ActorUnavailable: it is gone; nothing was sent.
        """

    async def result(self) -> Any:
        """Return the result of a one-shot actor."""

    async def stop(self, grace: float | None) -> None:
        """Stop it and return when its process is reaped."""


class Portal:
    """Another actor, as a caller sees it.

    Functions are named by the function object, or as ``"module:name"``. Whatever is raised over
    there is raised here, as a `RemoteActorError` that is also an instance of the original class.
    Cancelling a call cancels what runs over there, and a deadline of the caller's cancel scope
    is enforced there too.

    A portal outlives a restart of its actor. Calls in flight fail with `ActorDied` then, and are
    not run again; calls made later wait for the new incarnation.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __repr__(self) -> str:
        return f"<Portal to {self.name!r}: pid {self.pid}, {self.peer.state}>"

    @property
    def uid(self) -> Uid:
        """``(name, unique id)`` of the actor; each incarnation has its own unique id."""
        return self.peer.uid

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.peer.uid[0]

    @property
    def pid(self) -> int | None:
        """The id of its process; None where it is not known."""
        return self.peer.pid

    @property
    def is_alive(self) -> bool:
        """Whether calls can reach it right now."""
        return self.peer.state == "alive"

    @enable_ki_protection
    async def run(self, fn: Callee, /, *args: Any, **kwargs: Any) -> Any:
        """Call *fn* over there and return its result.

        If cancelled, the function is cancelled as well, and the caller waits for its clean-up for
        `Limits.cancel_ack_seconds`; whether it has run is not known then.

        Raises:
          RemoteActorError: the function raised; also an instance of that class.
          ContextCancelled: somebody else cancelled it; ``canceller`` says who.
          ActorDied, ActorUnavailable: the actor is gone; see ``may_have_run``.
          NotExposed: the function may not be called.
          EncodeError, LimitExceeded: an argument, or the result, cannot travel.
        """
        call = await self._start("asyncfunc", fn, args, kwargs)
        return await call.result()

    @asynccontextmanager
    @enable_ki_protection
    async def open_stream_from(
        self, genfn: Callee, /, *args: Any, **kwargs: Any
    ) -> AsyncIterator[MsgStream]:
        """Open a one-way stream from the async generator *genfn* over there.

        Leaving the block early stops the generator and waits until its ``finally`` has run. An
        error of the generator is raised by the stream, or here if nobody was reading.
        """
        call = await self._start("asyncgen", genfn, args, kwargs)
        await call.wait_started()
        flow = call.flow
        assert flow is not None
        try:
            yield MsgStream(flow, receive_only=True)
            if not call.has_ended:
                flow.stop()
            await call.wait_ended()
        except BaseException as reason:
            await call.abandon(reason)
            raise
        finally:
            call.forget()
            flow.close()  # what was not read is kept for nobody
        if call.error is not None and not flow.failure_told:
            raise call.error

    @asynccontextmanager
    @enable_ki_protection
    async def open_context(
        self, fn: Callee, /, *args: Any, **kwargs: Any
    ) -> AsyncIterator[tuple[Context, Any]]:
        """Start the context *fn* over there; yield this end of it and its handshake value.

        Leaving the block normally waits for the far side to end; leaving it with an error
        cancels the far side. An error of the far side interrupts the block and is raised here.
        """
        call = await self._start("context", fn, args, kwargs)
        first = await call.wait_started()
        ctx = CallerContext(call, call.channel.session.own_uid)
        with trio.CancelScope() as scope:
            call.on_error = scope
            try:
                yield ctx, first
                if not call.has_ended:
                    ctx.stop_stream()
                await call.wait_ended()
            except ContextCancelled as error:
                if not ctx.absorbs(error):
                    await call.abandon(error)
                    raise
            except BaseException as reason:
                await call.abandon(reason)
                raise
            finally:
                call.on_error = None
                call.forget()
        told = call.flow is not None and call.flow.failure_told and not scope.cancelled_caught
        if call.error is not None and not told and not ctx.absorbs(call.error):
            raise call.error

    async def result(self) -> Any:
        """Wait for a one-shot actor (`ActorNursery.run_in_actor`) and return its result.

        Raises:
          RemoteActorError, ActorDied, ...: what became of it instead.
          LocalProtocolError: the actor is no one-shot.
        """
        return await self.peer.result()

    async def cancel_actor(self, grace: float | None = None) -> None:
        """Stop the actor: ask, then SIGTERM, then SIGKILL; return when it is reaped.

        *grace* is how many seconds it has to end by itself, 3 by default. If cancelled, it is
        stopped all the same before this returns.

        Raises:
          ValueError: *grace* is no number of seconds.
        """
        if grace is not None and not (isinstance(grace, (int, float)) and grace >= 0):
            raise ValueError(f"grace is a number of seconds from 0, not {grace!r}")
        await self.peer.stop(grace)

    @enable_ki_protection
    async def _start(
        self, kind: Kind, fn: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> OutgoingCall:
        name = qualify(fn)
        channel = self.peer.open_channel or await self.peer.channel()
        return await channel.start_call(kind, name, args, kwargs, _extras())


def _extras() -> dict[str, Any] | None:
    """Return what travels beside the call: the time left, and the trace."""
    extras: dict[str, Any] | None = None
    deadline = trio.current_effective_deadline()
    if deadline != math.inf:
        left = max(0.0, deadline - trio.current_time())
        extras = {"deadline": min(left, MAX_DEADLINE_SECONDS)}
    trace = trace_context.get()
    if trace is not None:
        extras = extras or {}
        extras["trace"] = trace
    return extras
