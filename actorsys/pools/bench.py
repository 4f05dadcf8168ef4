"""The worker's end of a pool: calls in a row, of which some run at a time.

The pool sends calls ahead of need. They begin in the order in which they came, and none begins
before the results of earlier ones have left this process, or are in the journal: a call that ends
the process takes nothing with it but what ran beside it.
"""

from __future__ import annotations

import contextvars
import inspect
import math
import operator
import threading
from collections import deque
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from ..actor import Actor, Context, current_actor, trace_context
from ..actor.serve import is_cancellation
from ..channel import Channel, Flow, Target, context
from ..channel.pacing import Pacing
from ..channel.remote_errors import pack_cancelled
from ..errors import (
    ActorsysError,
    EncodeError,
    LimitExceeded,
    LocalProtocolError,
    retell,
)
from .journal import Journal
from .line import Line
from .order import Order
from .turn import Turn

_TOGETHER_SECONDS = 0.0002
"""Results of so long may leave together, where the journal keeps them safe: some ten small calls,
for which one write each would be a third of the work."""

_BRIEF_CHARS = 100  # what fits into the smallest message that a peer may announce


class Bench:
    """The calls that a worker has at hand. *tasks* is where it runs them."""

    def __init__(
        self, actor: Actor, link: Channel, journal: Journal | None, tasks: trio.Nursery, flow: Flow
    ) -> None:
        self._actor = actor
        self._link = link
        self._journal = journal
        self._lock = threading.Lock()
        self._turns: dict[trio.CancelScope, Turn] = {}
        self._tasks = tasks
        self._exposure = actor.exposure
        self._targets: dict[str, Target] = {}
        self._waiting: deque[Order] = deque()
        self._orders: dict[int, Order] = {}
        self._arrived = trio.lowlevel.ParkingLot()
        limits = actor.limits
        self._pacing = Pacing(limits.items_per_checkpoint, limits.checkpoint_seconds)
        self._written_at = 0.0
        self._has_unsafe = False
        self.line = Line(link, flow, self._on_message)

    def __repr__(self) -> str:
        return f"<Bench: {len(self._orders)} calls at hand, {len(self._waiting)} not begun>"

    # --- what the reader of the link does ------------------------------------------------

    def _on_message(self, message: dict[str, Any], fault: ActorsysError | None) -> None:
        if "job" in message:
            order = Order(message, fault, self._actor.limits)
            self._orders[order.number] = order
            self._waiting.append(order)
            self._arrived.unpark()
        elif "cancel" in message:
            self._withdraw(message["cancel"], is_wanted=False)
        else:
            self._withdraw(message["recall"], is_wanted=True)

    def _withdraw(self, number: int, *, is_wanted: bool) -> None:
        """Drop a call that has not begun; cancel one that has, unless it *is_wanted* elsewhere."""
        order = self._orders.get(number)
        if order is None:
            return
        with self._lock:
            has_begun = order.has_begun
            if not has_begun:
                self._waiting.remove(order)
        if not has_begun:
            del self._orders[number]
            self.line.post(self.line.encode({"dropped": number}))
        elif not is_wanted:
            self._cancel(order)

    def _cancel(self, order: Order) -> None:
        for scope, turn in self._turns.items():
            if turn.leave_behind(order):
                scope.cancel()
                return
        if order.scope is not None:  # else it has run in the turn of another one
            order.scope.cancel()

    # --- running -------------------------------------------------------------------------

    async def work(self) -> None:
        """Run one call after the other."""
        clean = contextvars.copy_context()
        while True:
            if self._pacing.is_pause_due():  # the reader has to see cancellations
                await self._pacing.pause()
            while not self._waiting:
                await self._arrived.park()
            if self._must_write():
                await self.line.write_all()
            order = self._next_order()
            if order is None:
                continue
            await self._run(order)
            if not _are_same(contextvars.copy_context(), clean):
                # What one call has set is not for the next one.
                clean.run(self._tasks.start_soon, self.work)
                return

    def _must_write(self) -> bool:
        """Tell whether results have to leave before the next call begins.

        It may end the process, or take long without letting the loop run.
        """
        if not self.line.is_behind:
            return False
        now = trio.current_time()
        if not self._has_unsafe and now - self._written_at <= _TOGETHER_SECONDS:
            return False
        self._has_unsafe = False
        self._written_at = now
        return True

    def _next_order(self, *, is_in_turn: bool = False) -> Order | None:
        """Take the next call, which begins now; in the turn of a thread, only if it is for that."""
        with self._lock:
            if not self._waiting or (is_in_turn and not self._is_for_turn(self._waiting[0])):
                return None
            order = self._waiting.popleft()
            order.has_begun = True
            if self._journal is not None:
                self._journal.begin(order.number)
            return order

    def _is_for_turn(self, order: Order) -> bool:
        """Tell whether the thread that runs others can go on with *order* by itself."""
        if order.deadline != math.inf or order.fault is not None:
            return False
        order.target = self._targets.get(order.function)
        return order.target is not None and not order.target.is_async

    async def _run(self, order: Order) -> None:
        """Run a call; whatever becomes of it, the pool is told once."""
        turn: Turn | None = None
        token = trace_context.set(order.trace) if order.trace is not None else None
        try:
            with trio.CancelScope(deadline=order.deadline) as scope:
                order.scope = scope
                order.target = self._resolve(order)
                if order.target.is_async:
                    value = await order.target.fn(*order.args, **order.kwargs)
                    if self._journal is None or not self._journal.keep(order.number, value):
                        self._has_unsafe = True
                    self._tell_return(order, value)
                else:
                    turn = self._turn_from(order)
                    await self._run_turn(turn, scope)
                return
        except BaseException as error:
            if is_cancellation(error):
                raise
            # Not even SystemExit ends the worker: it is the function that wanted to leave.
            self._fail(turn.current or order if turn is not None else order, error)
            return
        finally:
            if token is not None:
                trace_context.reset(token)
        await self._end_cancelled(order, turn)

    def _turn_from(self, order: Order) -> Turn:
        """Return the turn of a thread that begins with *order*; a deadline is not for others."""
        is_alone = order.deadline != math.inf
        following = _nothing if is_alone else partial(self._next_order, is_in_turn=True)
        return Turn(order, self._journal, following, self._tell_results)

    async def _run_turn(self, turn: Turn, scope: trio.CancelScope) -> None:
        """Have a thread run plain functions; the last one may leave something to be done here."""
        self._turns[scope] = turn
        try:
            finished = await turn.run(self._actor)
        finally:
            del self._turns[scope]
        if finished is not None:
            order, value, error = finished
            if isinstance(error, StopIteration):
                self._fail(order, error)  # what a coroutine raises is never this
                return
            if error is not None:
                raise error
            self._has_unsafe = True
            self._tell_return(order, await value if inspect.isawaitable(value) else value)

    def _fail(self, order: Order, error: BaseException) -> None:
        """Tell of an error of the function."""
        self._has_unsafe = True
        self._tell_error(order, self._link.pack_error(error))

    async def _end_cancelled(self, order: Order, turn: Turn | None) -> None:
        """Tell of a cancellation; a thread that was left behind keeps its place."""
        if turn is None:
            self._tell_cancelled(order)
            return
        is_busy = turn.abandon()
        last = turn.current
        if last is not None:
            self._tell_cancelled(last, is_busy=is_busy)
        if is_busy:
            await turn.wait_ended()
            if last is not None:
                self.line.post(self.line.encode({"free": last.number}))

    def _resolve(self, order: Order) -> Target:
        """Return the function of a call.

        Raises:
          EncodeError, NotExposed, LocalProtocolError: it cannot be run.
        """
        if order.fault is not None:
            raise retell(order.fault, f"an argument of {order.function}")
        target = self._targets.get(order.function)
        if target is None:
            ns, _, func = order.function.rpartition(":")
            target = self._exposure.resolve(ns, func)
            if target.kind != "asyncfunc":
                raise LocalProtocolError(
                    f"{order.function} has no single result, so a pool cannot run it; start an "
                    f"actor, and use portal.open_stream_from or portal.open_context"
                )
            self._targets[order.function] = target
        return target

    # --- telling -------------------------------------------------------------------------

    def _tell_results(self, results: list[tuple[Order, Any]]) -> None:
        for order, value in results:
            self._tell_return(order, value)

    def _tell_return(self, order: Order, value: Any) -> None:
        wrapped = self._link.codec.wrap_large(value)
        try:
            frame = self.line.encode({"job": order.number, "return": wrapped})
        except EncodeError as error:
            raise EncodeError(f"the result of {order.function}: {error}") from None
        self._tell(order, frame)

    def _tell_cancelled(self, order: Order, *, is_busy: bool = False) -> None:
        is_asked = order.deadline > trio.current_time()
        reason = "its caller cancelled it" if is_asked else "its deadline has passed"
        link = self._link
        fields = pack_cancelled(
            link.session.peer_uid, reason, self._actor.uid, link.limits, link.measure
        )
        self._tell_error(order, fields, {"busy": True} if is_busy else {})

    def _tell_error(
        self, order: Order, fields: dict[str, Any], more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Tell of an error; if it does not fit, its first words."""
        try:
            frame = self.line.encode({"job": order.number, "error": fields, **more})
        except (EncodeError, LimitExceeded):
            brief = {name: fields[name][:_BRIEF_CHARS] for name in ("type_str", "message")}
            frame = self.line.encode({"job": order.number, "error": brief, **more})
        self._tell(order, frame)

    def _tell(self, order: Order, frame: bytes) -> None:
        del self._orders[order.number]
        self.line.post(frame)


def _are_same(one: contextvars.Context, other: contextvars.Context) -> bool:
    """Tell whether both hold the same objects; arrays, for one, cannot be compared."""
    if len(one) != len(other):
        return False
    return all(map(operator.is_, one, other)) and all(
        map(operator.is_, one.values(), other.values())
    )


def _nothing() -> None:
    return None


@context
async def serve_pool(ctx: Context, concurrency: int, journal_address: list[int] | None) -> None:
    """Be a worker of the pool at the other end, until it is cancelled.

    *concurrency* calls run at a time; the journal is at *journal_address*.
    """
    actor = current_actor()
    link = actor.directory.parent
    assert link is not None, "a worker has a parent"
    with Journal.opened(journal_address) as journal:
        await ctx.started()
        async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
            bench = Bench(actor, link, journal, tasks, stream.flow)
            for _ in range(concurrency):
                tasks.start_soon(bench.work)
            await bench.line.run()
