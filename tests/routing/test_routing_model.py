"""Any history of a dispatcher is that of a small model: where each message went, and when.

The model knows no queue, lane, ring or task: for each message it knows where it waits, and after
each step it moves what can move.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_helpers import Channel, is_balanced, letters_of
from trio.testing import MockClock, wait_all_tasks_blocked

from actorsys import (
    NotRouted,
    Overflow,
    Protocol,
    RoutedMessage,
    RouterDispatcher,
    RoutingLimits,
    open_dispatcher,
)

BLOCKED, OLDEST, NEWEST = Protocol.REQUEST_INFERENCE, Protocol.MODEL_VERSION, Protocol.MODEL_UPDATE
DEADLINES = {BLOCKED: 2.0, OLDEST: 3.0, NEWEST: 5.0}
RULES = {OLDEST: Overflow.DROP_OLDEST, NEWEST: Overflow.COALESCE}
ROOM = 3
ACTORS = ["one", "two", "three"]
ROUTES = ["a", "b"]


class Modelled:
    """A message as the model knows it."""

    def __init__(self, number: int, kind: Protocol, now: float, expires_at: float) -> None:
        self.number = number
        self.kind = kind
        self.accepted_at = now
        self.expires_at = expires_at


class Model:
    """Actors with their messages and routes; ``fates`` says what became of each message."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Modelled]] = {}
        self.routes: dict[str, str] = {}  # actor to route
        self.open: dict[str, Channel] = {}
        self.fates: dict[int, str] = {}

    def dispatch(self, actor: str, message: Modelled, held: set[int]) -> bool:
        """Accept a message; return whether there was room for it."""
        queue = self.queues.setdefault(actor, [])
        waiting = [m for m in queue if m.number not in held]
        same = [m for m in waiting if m.kind is message.kind]
        if message.kind is NEWEST and same:
            self.end(same[-1], "overflow")
        elif len(waiting) >= ROOM:
            if message.kind is not OLDEST:
                return False
            self.end(waiting[0], "overflow")
        queue.append(message)
        return True

    def end(self, message: Modelled, fate: str) -> None:
        """Let a message come to its end."""
        assert message.number not in self.fates
        self.fates[message.number] = fate
        for queue in self.queues.values():
            if message in queue:
                queue.remove(message)

    def deliver(self, number: int, receiver: Far) -> None:
        """Let the message that *receiver* holds arrive."""
        (message,) = [m for q in self.queues.values() for m in q if m.number == number]
        self.end(message, f"delivered by {receiver.number}")

    def expire(self, now: float) -> None:
        """Let everything die whose time has come."""
        for actor, queue in self.queues.items():
            route = self.routes.get(actor)
            is_open = route is None or route in self.open
            for message in [m for m in queue if m.expires_at <= now]:
                self.end(message, "expired" if is_open else "route_closed")

    def coalesce(self, held: set[int]) -> None:
        """Let only the newest of its kind wait, after a rename or when one has come back."""
        for queue in self.queues.values():
            same = [m for m in queue if m.kind is NEWEST and m.number not in held]
            newest = max(reversed(same), key=lambda m: m.accepted_at, default=None)
            for message in same:
                if message is not newest:
                    self.end(message, "overflow")

    def move(self, held: set[int]) -> None:
        """Deliver what can be delivered, once everything else is at rest."""
        for actor, queue in self.queues.items():
            name = self.routes.get(actor)
            receiver = self.open.get(name) if name is not None else None
            if receiver is None or not queue or any(m.number in held for m in queue):
                continue
            if receiver.is_broken:
                del self.open[name]  # type: ignore[arg-type]
            elif not receiver.is_shut:
                for message in list(queue):
                    self.end(message, f"delivered by {receiver.number}")

    @property
    def next_expiry(self) -> float:
        return min((m.expires_at for q in self.queues.values() for m in q), default=float("inf"))


class Far(Channel):
    """A route of the model: open, shut or broken."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.is_shut = False
        self.is_broken = False

    async def __call__(self, message: RoutedMessage) -> str:
        if self.is_broken:
            raise trio.BrokenResourceError
        return await super().__call__(message)


class Machine:
    """The dispatcher and its model, side by side; each rule does the same to both."""

    def __init__(self, dispatcher: RouterDispatcher, draw: Callable[[Any], Any]) -> None:
        self.dispatcher = dispatcher
        self.model = Model()
        self.receivers: list[Far] = []
        self.letters: dict[int, str] = {}
        self.accepted = 0
        self.refused = 0
        self.draw = draw

    @property
    def held(self) -> set[int]:
        """Numbers of the messages that are with a route right now."""
        return {r.held.payload for r in self.receivers if r.held is not None}

    def actor(self) -> str:
        return self.draw(st.sampled_from(ACTORS))  # type: ignore[no-any-return]

    def route(self) -> str:
        return self.draw(st.sampled_from(ROUTES))  # type: ignore[no-any-return]

    # --- the rules -----------------------------------------------------------------------

    async def dispatch(self) -> None:
        actor = self.actor()
        kind = self.draw(st.sampled_from([BLOCKED, OLDEST, NEWEST]))
        own = self.draw(st.sampled_from([None, None, 1.0]))
        number = self.accepted
        seconds = DEADLINES[kind] if own is None else own
        now = trio.current_time()
        message = Modelled(number, kind, now, now + seconds)
        try:
            self.dispatcher.dispatch_nowait(RoutedMessage(actor, kind, number, own))
            was_accepted = True
        except trio.WouldBlock:
            was_accepted = False
        self.accepted += was_accepted
        assert was_accepted is self.model.dispatch(actor, message, self.held)

    async def assign(self) -> None:
        actor, route = self.actor(), self.route()
        self.dispatcher.assign(actor, route)
        self.model.routes[actor] = route
        self.model.queues.setdefault(actor, [])

    async def unassign(self) -> None:
        actor = self.actor()
        self.dispatcher.unassign(actor)
        self.model.routes.pop(actor, None)

    async def rename(self) -> None:
        old, new = self.actor(), self.actor()
        model = self.model
        early = model.queues.get(new, [])
        is_taken = new in model.routes or any(m.number in self.held for m in early)
        is_known = old in model.routes or bool(model.queues.get(old))
        try:
            self.dispatcher.rename(old, new)
        except NotRouted:
            assert not is_known
        except ValueError:
            assert is_known
            assert is_taken
        else:
            assert is_known
            assert old == new or not is_taken
            if old != new:
                model.queues[new] = model.queues.pop(old, []) + early
                if old in model.routes:
                    model.routes[new] = model.routes.pop(old)

    async def remove(self) -> None:
        actor = self.actor()
        pending = list(self.model.queues.get(actor, []))
        assert self.dispatcher.remove(actor) == len(pending)
        for message in pending:
            self.model.end(message, "actor_removed")
        self.model.routes.pop(actor, None)

    async def add_route(self) -> None:
        name = self.route()
        receiver = Far(len(self.receivers))
        try:
            self.dispatcher.add_route(name, receiver)
        except ValueError:
            assert name in self.model.open
        else:
            assert name not in self.model.open
            self.receivers.append(receiver)
            self.model.open[name] = receiver

    async def remove_route(self) -> None:
        name = self.route()
        try:
            self.dispatcher.remove_route(name)
        except NotRouted:
            assert name not in self.model.open
        self.model.open.pop(name, None)

    async def toggle_route(self) -> None:
        receiver = self.model.open.get(self.route())
        if receiver is not None:
            if receiver.held is not None:  # it is delivered here, wherever its actor goes now
                self.model.deliver(receiver.held.payload, receiver)
            receiver.is_shut = not receiver.is_shut
            (receiver.shut if receiver.is_shut else receiver.open)()

    async def break_route(self) -> None:
        receiver = self.model.open.get(self.route())
        if receiver is not None and receiver.held is None:
            receiver.is_broken = True

    async def move_actors(self) -> None:
        name = self.route()
        actors = self.draw(st.lists(st.sampled_from(ACTORS), unique=True))
        is_open = name in self.model.open
        try:
            await self.dispatcher.move(actors, name)
        except NotRouted:
            assert not is_open or not actors
        else:
            assert is_open or not actors
            for actor in actors:
                self.model.routes[actor] = name
                self.model.queues.setdefault(actor, [])

    async def wait(self) -> None:
        target = trio.current_time() + self.draw(st.sampled_from([0.5, 1.0, 3.0]))
        while self.model.next_expiry <= target:
            now = self.model.next_expiry
            await trio.sleep_until(now)
            self.model.expire(now)
            await self.settle()
        await trio.sleep_until(target)

    # --- what always holds ---------------------------------------------------------------

    async def settle(self) -> None:
        """Come to rest, and compare."""
        await wait_all_tasks_blocked()
        self.model.coalesce(self.held)
        self.model.move(self.held)
        for letter in letters_of(self.dispatcher):
            assert letter.message.payload not in self.letters, "a letter came twice"
            self.letters[letter.message.payload] = str(letter.reason)
        fates = dict(self.letters)
        for receiver in self.receivers:
            for number in receiver.payloads:
                assert number not in fates, "delivered twice, or dead as well"
                fates[number] = f"delivered by {receiver.number}"
        assert fates == self.model.fates
        counts = self.dispatcher.statistics()
        assert counts.accepted == self.accepted
        assert counts.dead == len(self.letters)
        assert counts.pending == sum(map(len, self.model.queues.values()))
        assert counts.in_flight == len(self.held)
        assert is_balanced(self.dispatcher)

    async def close(self) -> None:
        """Close it, and see everything that is left become a dead letter."""
        await self.dispatcher.aclose(grace=0.25)
        for queue in self.model.queues.values():
            for message in list(queue):
                self.model.end(message, "shutdown")
        await self.settle()


RULES_OF_MACHINE: list[Callable[[Machine], Awaitable[None]]] = [
    *[Machine.dispatch] * 6,
    *[Machine.assign] * 2,
    *[Machine.add_route] * 2,
    *[Machine.toggle_route] * 2,
    *[Machine.wait] * 2,
    Machine.unassign,
    Machine.rename,
    Machine.remove,
    Machine.remove_route,
    Machine.break_route,
    Machine.move_actors,
]


async def run_machine(data: st.DataObject) -> None:
    async with open_dispatcher(
        deadlines=DEADLINES,
        overflow=RULES,
        limits=RoutingLimits(max_waiting_per_actor=ROOM),
    ) as dispatcher:
        machine = Machine(dispatcher, data.draw)
        for rule in data.draw(st.lists(st.sampled_from(RULES_OF_MACHINE), min_size=5, max_size=50)):
            await rule(machine)
            await machine.settle()
        await machine.close()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_history_is_that_of_the_model(data: st.DataObject) -> None:
    clock = MockClock(autojump_threshold=0)
    trio.run(functools.partial(run_machine, data), clock=clock)
