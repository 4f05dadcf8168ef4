"""What leaves the queues, and what becomes of it: sent, tried again, or dead."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from .accepted import Accepted
from .actor_queue import ActorQueue
from .alarm import Alarm
from .dead_letters import DeadReason
from .deadlines import Deadlines
from .failures import Failure, NotAwaitable, kind_of
from .intake import Intake
from .ledger import Ledger
from .options import DispatcherOptions
from .retry_delay import checked_delay
from .route import Route
from .route_table import RouteTable

logger = logging.getLogger("actorsys.routing")

_LAST_REASONS = {
    Failure.LOST: DeadReason.ROUTE_CLOSED,
    Failure.UNENCODABLE: DeadReason.ENCODE_ERROR,
    Failure.REJECTED: DeadReason.REJECTED,
}
"""What a message becomes after a failure that is its last one."""


class SendingDesk:
    """Gives messages to routes in turn, and books what they tell. See `route.Desk`.

    Its alarm wakes it for deadlines and for queues that are to be tried again, and for nothing
    else. ``intake`` is the way in. ``running`` has the routes whose pumps have not ended, and
    ``changed`` wakes who waits for a message in flight, or for everything to be at rest.
    """

    def __init__(self, table: RouteTable, ledger: Ledger, options: DispatcherOptions) -> None:
        self.retries = 0
        self.running: set[Route] = set()
        self.alarm = Alarm(self.on_time)
        self.changed = trio.lowlevel.ParkingLot()
        self.intake = Intake(ledger, options, self._on_accepted)
        self._table = table
        self._ledger = ledger
        self._deadlines = Deadlines(options.limits)
        self._retry_delay = options.retry_delay
        self._min_delay = options.limits.min_retry_seconds
        self._is_transient = options.is_transient
        self._paused: list[tuple[float, int, ActorQueue]] = []
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"<SendingDesk: {self._ledger!r}, {self.alarm!r}>"

    # --- for the pumps -------------------------------------------------------------------

    @enable_ki_protection
    def take(self, route: Route) -> None:
        """Give *route* the next message in turn, if there is one, as its ``in_flight``."""
        queue = route.ring.popleft()
        queue.ring = None
        while queue:
            item = queue.pop()
            if item.expires_at > trio.current_time():
                item.attempts += 1
                item.route = route
                queue.in_flight = route.in_flight = item
                break
            self._bury_expired(item)
        self.intake.make_room(queue)
        self._table.forget_if_idle(queue)

    @enable_ki_protection
    def on_sent(self, route: Route, value: Any) -> None:
        """Take note that the message in flight was taken, and what was returned."""
        item = self._land(route)
        item.queue.failures = 0
        self._ledger.deliver(item, value, trio.current_time())
        self._go_on(item.queue)

    @enable_ki_protection
    def on_failed(self, route: Route, error: Exception) -> None:
        """Take note that sending the message in flight has failed."""
        item = route.in_flight
        assert item is not None
        # Its traceback would keep alive whatever the send was about.
        item.error = error.with_traceback(None)
        kind = kind_of(error, self._is_transient, is_channel=route.is_channel)
        delay = self._delay_after(item.queue.failures) if kind is Failure.TRANSIENT else None
        self._land(route)
        if kind is Failure.CLOSED or (kind is Failure.LOST and route.is_channel):
            self._close(route, error)
        if kind in _LAST_REASONS or item.verdict is not None:
            is_unknown = kind is Failure.LOST or isinstance(error, NotAwaitable)
            is_unknown |= item.is_called_off and not route.is_cancel_safe
            reason = item.verdict or _LAST_REASONS[kind]
            self._bury(item, reason, may_have_been_delivered=is_unknown)
        else:
            self.retries += self._put_back(item)
            if delay is not None:
                self._pause(item.queue, route, delay)
        self._go_on(item.queue)

    @enable_ki_protection
    def on_called_off(self, route: Route) -> None:
        """Take note that the send under way was cancelled: by `Route.call_off`, or with all."""
        item = self._land(route)
        if item.is_called_off and item.verdict is None:
            self._put_back(item)
        else:
            reason = item.verdict or DeadReason.SHUTDOWN
            self._bury(item, reason, may_have_been_delivered=not route.is_cancel_safe)
        self._go_on(item.queue)

    def on_rest(self, route: Route) -> None:
        """Take note that a pump has nothing to send at present, or has ended."""
        if not route.is_running:
            self.running.discard(route)
        self.changed.unpark_all()

    # --- for the alarm -------------------------------------------------------------------

    @enable_ki_protection
    def on_time(self) -> float:
        """Do what is due; return when there is something to do next."""
        now = trio.current_time()
        for item in self._deadlines.due(now):
            self._expire(item)
        while self._paused and self._paused[0][0] <= now:
            at, _, queue = heapq.heappop(self._paused)
            if queue.resume_at == at:
                queue.resume_at = None
                self._table.ready(queue)
        self.changed.unpark_all()
        return min(self._deadlines.next_at(), self._paused[0][0] if self._paused else math.inf)

    # --- for the dispatcher --------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether anything can still be sent as things are."""
        queues = self._table.queues.values()
        return any(route.is_busy for route in self.running) or any(
            queue and (queue.resume_at is not None or queue.is_held) for queue in queues
        )

    def remove(self, queue: ActorQueue) -> int:
        """Let everything of *queue* be dead; return how many messages that were."""
        self._table.unready(queue)
        queue.route_name = None
        self.intake.let_in_all(queue)
        count = self._clear(queue, DeadReason.ACTOR_REMOVED)
        if queue.in_flight is not None:
            count += 1
            call_off(queue.in_flight, DeadReason.ACTOR_REMOVED)
        self.intake.make_room(queue)
        return count

    @enable_ki_protection
    def stop(self) -> None:
        """Cancel all that is under way."""
        for route in self.running:
            route.stop()

    @enable_ki_protection
    def finish(self) -> None:
        """Come to the end: bury what is left, and what is with a route that heeds nothing."""
        self.intake.close(self._table.queues.values())
        self.stop()
        for route in self.running:
            if route.in_flight is not None:
                item = self._land(route)
                self._bury(item, DeadReason.SHUTDOWN, may_have_been_delivered=True)
        for queue in self._table.queues.values():
            self._table.unready(queue)
            self._clear(queue, DeadReason.SHUTDOWN)
        self._ledger.letters.complete()

    # --- inside --------------------------------------------------------------------------

    def _on_accepted(self, item: Accepted) -> None:
        self._deadlines.add(item)
        self.alarm.set(item.expires_at)
        self._table.ready(item.queue)

    def _land(self, route: Route) -> Accepted:
        """Return the message in flight, which is so no more."""
        item = route.in_flight
        assert item is not None
        route.in_flight = item.queue.in_flight = None
        return item

    def _clear(self, queue: ActorQueue, reason: DeadReason) -> int:
        count = len(queue)
        while queue:
            self._bury(queue.pop(), reason)
        return count

    def _put_back(self, item: Accepted) -> bool:
        """Let *item* wait again; return whether it does, and no newer one has its place."""
        item.is_called_off = False
        return self.intake.take_back(item)

    def _close(self, route: Route, error: Exception) -> None:
        if route.is_open:
            route.close(error)
            logger.warning(
                "route %r is closed by %r; its actors wait until add_route opens it again, or they "
                "are assigned to another one",
                route.name,
                error,
            )

    def _go_on(self, queue: ActorQueue) -> None:
        """Let the next message of *queue* have its turn, where the actor is assigned now."""
        self._table.ready(queue)
        self.intake.make_room(queue)
        if queue.is_held:
            self.changed.unpark_all()
        if queue.route_name is None:
            self._table.forget_if_idle(queue)

    def _delay_after(self, failures: int) -> float:
        return max(checked_delay(self._retry_delay(failures)), self._min_delay)

    def _pause(self, queue: ActorQueue, route: Route, delay: float) -> None:
        """Try *queue* again after *delay* seconds, unless it has another route by now."""
        if queue.route_name != route.name:
            queue.failures = 0
            return
        queue.failures += 1
        queue.resume_at = trio.current_time() + delay
        heapq.heappush(self._paused, (queue.resume_at, next(self._numbers), queue))
        self.alarm.set(queue.resume_at)

    def _expire(self, item: Accepted) -> None:
        queue = item.queue
        if queue.discard(item):
            self._bury_expired(item)
            self.intake.make_room(queue)
            self._table.forget_if_idle(queue)
        else:
            call_off(item, self._late_reason(queue))

    def _bury_expired(self, item: Accepted) -> None:
        self._bury(item, self._late_reason(item.queue))

    def _late_reason(self, queue: ActorQueue) -> DeadReason:
        if queue.route_name is None or self._table.open_route(queue.route_name) is not None:
            return DeadReason.EXPIRED
        return DeadReason.ROUTE_CLOSED

    def _bury(
        self,
        item: Accepted,
        reason: DeadReason,
        *,
        may_have_been_delivered: bool = False,
    ) -> None:
        now = trio.current_time()
        self._ledger.bury(item, reason, now, may_have_been_delivered=may_have_been_delivered)


def call_off(item: Accepted, reason: DeadReason | None) -> None:
    """Cancel the send of *item*, which is in flight; see `Route.call_off`."""
    assert item.route is not None
    item.route.call_off(reason)
