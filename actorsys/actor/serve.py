"""Run a function that a peer has called, and tell the peer how it ended."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import trio

from ..buffers.codes import NOTE
from ..channel import Channel, Exposure, IncomingCall, RuntimeCall, Service, Target
from ..channel.dispatch import NextJob, RuntimeFunction
from ..channel.remote_errors import pack_cancelled
from ..errors import EncodeError
from ..transport import Transport
from ..wire import Call, Kind, Session
from .context import CalleeContext
from .current import trace_context
from .runtime import Actor

NOTHING: Mapping[str, Any] = types.MappingProxyType({})


def make_channel(
    actor: Actor,
    connection: tuple[Transport, Session, bytes],
    exposure: Exposure,
    functions: Mapping[str, RuntimeFunction] = NOTHING,
    *,
    calls: Mapping[str, RuntimeCall] = NOTHING,
    notices: Mapping[str, RuntimeFunction] = NOTHING,
    is_remote: bool = False,
) -> Channel:
    """Make a link of *actor* out of an authenticated connection; `Actor.run_channel` serves it.

    The peer can call what *exposure* has, and *functions*, *calls* and *notices* of the runtime.
    """
    transport, session, rest = connection
    notices = {NOTE: actor.buffer_access.on_note, **notices}
    run = functools.partial(run_call, actor)
    service = Service(exposure, run, functions, notices, calls)
    channel = Channel(transport, session, service, actor.limits, rest, is_remote=is_remote)
    actor.buffer_access.attach(channel)
    return channel


async def run_call(actor: Actor, next_job: NextJob) -> None:
    """Run the call that *next_job* brings, in *actor*; its caller is told once what becomes of it.

    The cancel scope is open before the call is there: its caller does not wait for that.
    """
    call: IncomingCall | None = None
    try:
        with trio.CancelScope() as scope:
            job = await next_job()
            if job is not None:
                call, message, target = job
                _enter(actor, call, message, scope)
                await _RUN[target.kind](actor, call, message, target)
            return
        # Only the cancellation of the call leads here.
        assert call is not None
        _end_cancelled(call)
    except BaseException as error:
        if call is None or is_cancellation(error):
            raise
        # Not even SystemExit ends the actor: it is the caller's function that wanted to leave.
        call.send_error(call.channel.pack_error(error))
    finally:
        if call is not None:
            call.channel.table.forget(call.cid)


def _enter(actor: Actor, call: IncomingCall, message: Call, scope: trio.CancelScope) -> None:
    """Let *call* have the scope, and this task its trace."""
    if message.trace is not None:
        trace_context.set(message.trace)
    call.enter(scope)
    stop = actor.stop_request
    if stop is not None:
        call.cancel(stop.canceller, "the actor is being stopped")


def is_cancellation(error: BaseException) -> bool:
    """Tell whether *error* is trio's cancellation, or a group with one in it."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


async def _run_function(actor: Actor, call: IncomingCall, message: Call, target: Target) -> None:
    if target.is_async:
        value = await target.fn(*message.args, **message.kwargs)
    else:
        # In a tuple, because trio refuses a bare awaitable from a thread.
        (value,) = await actor.host.run_blocking(
            lambda: (target.fn(*message.args, **message.kwargs),), actor.threads
        )
        if inspect.isawaitable(value):
            value = await value
    await _send_result(call, message, value)


async def _send_result(call: IncomingCall, message: Call, value: Any) -> None:
    try:
        await call.send_return(value)
    except EncodeError as error:
        raise EncodeError(f"the result of {message.ns}:{message.func}: {error}") from None


async def _run_generator(actor: Actor, call: IncomingCall, message: Call, target: Target) -> None:
    call.send_functype()
    flow = call.flow
    assert flow is not None
    async with aclosing(target.fn(*message.args, **message.kwargs)) as items:
        async for item in items:
            await flow.send(item)
    call.send_stop()


async def _run_context(actor: Actor, call: IncomingCall, message: Call, target: Target) -> None:
    call.send_functype()
    ctx = CalleeContext(call, actor.uid)
    value = await target.fn(ctx, *message.args, **message.kwargs)
    if not call.started:
        raise RuntimeError(
            f"{message.ns}:{message.func} returned without calling ctx.started(); its caller "
            f"was waiting for that"
        )
    await _send_result(call, message, value)


_RUN: dict[Kind, Callable[[Actor, IncomingCall, Call, Target], Awaitable[Any]]] = {
    "asyncfunc": _run_function,
    "asyncgen": _run_generator,
    "context": _run_context,
}


def _end_cancelled(call: IncomingCall) -> None:
    """Tell the caller that its call was cancelled, unless it only left a stream early."""
    channel = call.channel
    if call.canceller is None and call.kind == "asyncgen" and call.is_stopped_by_caller:
        call.send_stop()
        return
    canceller = call.canceller or channel.session.peer_uid
    reason = call.cancel_reason or "its deadline has passed"
    fields = pack_cancelled(
        canceller, reason, channel.session.own_uid, channel.limits, channel.measure
    )
    call.send_error(fields)
