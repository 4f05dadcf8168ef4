"""One schedule: calls both ways over a slow wire, and a fault at some moment."""

from __future__ import annotations

import functools
import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import trio
from trio.testing import MockClock

from actorsys.actor import Portal, run_call
from actorsys.channel import Channel, Exposure, Service, accept_channel, connect_channel
from actorsys.errors import ActorDied, ActorUnavailable, ContextCancelled, Uid
from actorsys.limits import Limits
from actorsys.testing.simulation import scheduled_by
from actorsys.transport import MemoryTransport, Transport, memory_transport_pair
from actorsys.wire import Credentials, Session
from actorsys.wire.handshake import KEY_BYTES

from .programs import witnesses
from .slow_wire import SlowWire

CALLS = 8
ENDS_WITHIN_SECONDS = 60.0
"""Of the simulated clock: what has not ended by then never will."""

BEGINS_WITHIN_SECONDS = 1.0
FAULT_WITHIN_SECONDS = 1.2
EXPLAINED_WITHIN_SECONDS = 0.3
LATE_SECONDS = 5.0
"""After the last caller was told: what was cancelled is given so long to end."""

MOST_ITEMS = 40
MOST_WORK_SECONDS = 0.2
SIZES_BYTES = [0, 10, 1000]
PATIENCES_SECONDS = [0.0, 0.001, 0.1, math.inf, math.inf, math.inf]
FAULTS = ["none", "cut", "cut", "kill", "kill"]
LIMITS = Limits(stream_window_bytes=1024, segment_bytes=512)

ALICE: Uid = ("alice", "a-1")
BOB: Uid = ("bob", "b-1")


class Told(NamedTuple):
    """What a caller was told: how its call has ended, and whether it may have run."""

    how: str
    may_have_run: bool | None = None


class Schedule:
    """One run, made by its seed.

    ``told`` has what each caller was told, by the number of its call; ``problems`` has what is
    wrong, by its kind; ``hit`` counts the calls that were under way when the fault came.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.told: dict[int, Told] = {}
        self.problems: defaultdict[str, list[str]] = defaultdict(list)
        self.hit = 0
        self._chance = random.Random(seed)
        self._begun = 0

    def __repr__(self) -> str:
        return f"<Schedule {self.seed}: {len(self.told)} of {CALLS} calls told>"

    def run(self) -> Schedule:
        """Run it, look for problems, and return it."""
        witnesses.forget_all()
        with scheduled_by(self.seed):
            trio.run(self._main, clock=MockClock(autojump_threshold=0))
        self._compare()
        return self

    async def _main(self) -> None:
        wire = SlowWire(self._chance, LIMITS)
        alice, bob = await _sessions()
        peers = [_Peer(wire.near, alice), _Peer(wire.far, bob)]
        with trio.move_on_after(ENDS_WITHIN_SECONDS):
            async with trio.open_nursery() as services:
                services.start_soon(wire.run)
                for peer in peers:
                    services.start_soon(peer.run, self._chance.random() * EXPLAINED_WITHIN_SECONDS)
                async with trio.open_nursery() as calls:
                    calls.start_soon(self._cause_fault, wire, peers)
                    for number in range(CALLS):
                        calls.start_soon(self._call, number, self._chance.choice(peers))
                await trio.sleep(LATE_SECONDS)
                self._check_idle(peers)
                services.cancel_scope.cancel()
        self.problems["said"] += wire.faults

    async def _cause_fault(self, wire: SlowWire, peers: list[_Peer]) -> None:
        fault = self._chance.choice(FAULTS)
        await trio.sleep(self._chance.random() * FAULT_WITHIN_SECONDS)
        if fault != "none":
            self.hit = self._begun - len(self.told)
        if fault == "cut":
            wire.cut()
        elif fault == "kill":
            self._chance.choice(peers).kill()

    async def _call(self, number: int, peer: _Peer) -> None:
        """Make one call, and note what its caller was told."""
        job = self._chance.choice(JOBS)
        patience = self._chance.choice(PATIENCES_SECONDS)
        await trio.sleep(self._chance.random() * BEGINS_WITHIN_SECONDS)
        self._begun += 1
        told = Told("died")
        with peer.while_living():
            told = await self._outcome(job(Portal(peer), number, self._chance), patience)
        self.told[number] = told

    async def _outcome(self, job: Awaitable[None], patience: float) -> Told:
        """Return how *job* ends that is given *patience* seconds."""
        try:
            with trio.move_on_after(patience):
                await job
                return Told("result")
            return Told("cancelled")
        except ExpectedError:
            return Told("error")
        except ContextCancelled:
            return Told("cancelled")
        except ActorUnavailable as error:
            return Told("unavailable", error.may_have_run)
        except trio.BrokenResourceError:
            return Told("unavailable")
        except Exception as error:
            self.problems["unexpected"].append(repr(error))
            return Told("unexpected")

    # --- what is looked for --------------------------------------------------------------

    def _check_idle(self, peers: list[_Peer]) -> None:
        """Look for what goes on although every caller has been told."""
        if witnesses.running:
            self.problems["left running"].append(f"calls {sorted(witnesses.running)}")
        for peer in peers:
            if peer.link.table.calls:
                self.problems["left in the table"].append(repr(peer.link))

    def _compare(self) -> None:
        """Compare what callers were told with what has run."""
        for number in range(CALLS):
            count, told = witnesses.ran[number], self.told.get(number)
            if told is None:
                self.problems["unresolved"].append(f"call {number}")
            elif told.how in ("result", "error") and not count:
                self.problems["untrue"].append(f"call {number} has ended without having run")
            elif told.may_have_run is False and count:
                self.problems["untrue"].append(f"call {number} has run")
            if count > 1:
                self.problems["run twice"].append(f"call {number}, {count} times")
        self.problems["disorder"] += witnesses.disorder


class _Peer:
    """One end of the link, the actor behind it, and what a portal to the other end asks of it."""

    def __init__(self, transport: MemoryTransport, session: Session) -> None:
        self.uid = session.peer_uid
        actor: Any = SimpleNamespace(uid=session.own_uid, stop_request=None)
        service = Service(Exposure([witnesses]), functools.partial(run_call, actor), {})
        self.link = Channel(transport, session, service, LIMITS)
        self._transport = transport
        self._explained = trio.Event()
        self._scopes: list[trio.CancelScope] = []
        self._is_killed = False

    def __repr__(self) -> str:
        return f"<_Peer: {self.link!r}>"

    @property
    def open_channel(self) -> Channel | None:
        """The link while it is open, or None."""
        return self.link if self.link.is_open else None

    async def channel(self) -> Channel:
        """Return the link; when it is lost, wait for the reason and raise it."""
        if not self.link.is_open:
            await self._explained.wait()
            raise ActorDied("it is gone", may_have_run=False)
        return self.link

    async def run(self, explained_after: float) -> None:
        """Serve the link; when it is lost, tell the callers why after a while."""
        with self.while_living():
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self.link.run)
                await self.link.lost.wait()
                await trio.sleep(explained_after)
                self.link.fail_calls(lambda may_have_run: ActorDied(may_have_run=may_have_run))
                self._explained.set()

    def while_living(self) -> trio.CancelScope:
        """Return a scope that is cancelled when this peer is killed."""
        scope = trio.CancelScope()
        self._scopes.append(scope)
        if self._is_killed:
            scope.cancel()
        return scope

    def kill(self) -> None:
        """End this peer as SIGKILL does: its end is closed at once, and it says nothing more."""
        self._is_killed = True
        self._transport.close()
        for scope in self._scopes:
            scope.cancel()


# --- what callers do --------------------------------------------------------------------------


class ExpectedError(Exception):
    """The call has failed as it should."""


async def call_plainly(portal: Portal, number: int, chance: random.Random) -> None:
    seconds, size = chance.random() * MOST_WORK_SECONDS, chance.choice(SIZES_BYTES)
    assert await portal.run(witnesses.answer, number, seconds, size) == bytes(size)


async def call_in_vain(portal: Portal, number: int, chance: random.Random) -> None:
    try:
        await portal.run(witnesses.fail, number, chance.random() * MOST_WORK_SECONDS)
    except ValueError as error:
        if error.args == (number,):
            raise ExpectedError from error
    raise AssertionError("not the error that was raised")


async def read_all(portal: Portal, number: int, chance: random.Random) -> None:
    stop = chance.randrange(MOST_ITEMS)
    seen = 0
    async with portal.open_stream_from(witnesses.count, number, stop) as stream:
        async for item in stream:
            witnesses.check_order(number, seen, item)
            seen += 1
    assert seen == stop, f"{seen} of {stop} items, and no error"


async def read_some(portal: Portal, number: int, chance: random.Random) -> None:
    async with portal.open_stream_from(witnesses.count, number, MOST_ITEMS) as stream:
        for expected in range(chance.randrange(MOST_ITEMS)):
            witnesses.check_order(number, expected, await stream.receive())


async def converse(portal: Portal, number: int, chance: random.Random) -> None:
    stop = chance.randrange(MOST_ITEMS)
    async with portal.open_context(witnesses.echo, number) as (ctx, first):
        assert first == number
        async with ctx.open_stream() as stream:
            for item in range(stop):
                await stream.send(item)
                witnesses.check_order(number, item, await stream.receive())
        assert await ctx.result() == stop


async def send_ahead(portal: Portal, number: int, chance: random.Random) -> None:
    """Send and receive in tasks of their own, as far ahead as credit goes."""
    stop = chance.randrange(MOST_ITEMS)
    async with portal.open_context(witnesses.echo, number) as (ctx, _):
        async with ctx.open_stream() as stream:
            for item in range(stop):
                await stream.send(item)
            for item in range(stop):
                witnesses.check_order(number, item, await stream.receive())
        assert await ctx.result() == stop


async def be_cancelled(portal: Portal, number: int, chance: random.Random) -> None:
    async with portal.open_context(witnesses.cancel_itself, number):
        await trio.sleep_forever()


Job = Callable[[Portal, int, random.Random], Awaitable[None]]
JOBS: list[Job] = [
    call_plainly,
    call_in_vain,
    read_all,
    read_some,
    converse,
    send_ahead,
    be_cancelled,
]


# --- what a schedule needs --------------------------------------------------------------------

_settled: list[tuple[Session, Session]] = []


async def _sessions() -> tuple[Session, Session]:
    """Return what a handshake between Alice and Bob settles; one is enough for all schedules."""
    if not _settled:
        near, far = memory_transport_pair()
        key = bytes(KEY_BYTES)
        found: dict[Uid, Session] = {}

        async def shake(
            how: Callable[..., Awaitable[tuple[Session, bytes]]], transport: Transport, own: Uid
        ) -> None:
            session, _ = await how(transport, Credentials(own, lambda _: key), LIMITS)
            found[own] = session

        async with trio.open_nursery() as tasks:
            tasks.start_soon(shake, connect_channel, near, ALICE)
            tasks.start_soon(shake, accept_channel, far, BOB)
        _settled.append((found[ALICE], found[BOB]))
    return _settled[0]
