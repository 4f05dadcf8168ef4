"""Restarts in a simulated tree: who comes back, who is told, and when it is given up."""

from __future__ import annotations

import collections
import functools
import logging
import math
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from tree_helpers import leaves

import actorsys
from actorsys import Backoff, OneForAll, OneForOne, RestForOne
from actorsys.errors import Uid
from actorsys.testing.simulated_process import SimulatedProcess
from actorsys.testing.simulation import Simulation

MODULES = [__name__]
NAMES = ("a", "b", "c", "d")
AT_ONCE = Backoff(first=0)
LONG_BACKOFF = Backoff(first=60, most=60, jitter=0)
JOURNAL: list[str] = []
"""What functions in actors have written down: all simulated actors share their module."""


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Spare these tests the search for processes left behind: none is real."""


class WatchedSimulation(Simulation):
    """A simulation that tells of each restart in the moment in which the process is started."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._sender, self.restarts = trio.open_memory_channel[str](math.inf)
        self._seen: set[str] = set()

    def begin(self, process: SimulatedProcess) -> None:
        super().begin(process)
        name = name_of(self, process.pid)
        if name in self._seen:
            self._sender.send_nowait(name)
        self._seen.add(name)

    async def next_restart(self) -> str:
        """Wait until the next process is started again, and return its name."""
        with trio.fail_after(1000):
            return await self.restarts.receive()


@pytest.fixture
def sim() -> WatchedSimulation:
    seed = random.randrange(2**32)
    print("seed", seed)
    JOURNAL.clear()
    return WatchedSimulation(seed)


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Have *test* run as the root of the simulated tree that is its first argument."""

    @functools.wraps(test)
    def run(sim: WatchedSimulation, **arguments: Any) -> None:
        sim.run(functools.partial(test, sim, **arguments))
        assert living(sim) == []

    return run


# --- what the actors run ------------------------------------------------------------------


async def own_uid() -> Uid:
    return actorsys.current_actor().uid


async def note(text: str) -> Uid:
    JOURNAL.append(text)
    return actorsys.current_actor().uid


async def note_and_hang(text: str) -> None:
    JOURNAL.append(text)
    await trio.sleep_forever()


async def need_when_cancelled(seconds: float) -> None:
    """Hang, and take so long to clean up."""
    name = actorsys.current_actor().name
    try:
        await trio.sleep_forever()
    finally:
        JOURNAL.append(f"{name} asked")
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        JOURNAL.append(f"{name} done")


async def fail(text: str) -> None:
    raise ValueError(text)


async def count() -> AsyncIterator[int]:
    i = 0
    while True:
        yield i
        i += 1
        await trio.sleep(0.01)


@actorsys.context
async def echo(ctx: actorsys.Context) -> None:
    await ctx.started("hello")
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)


@actorsys.context
async def supervise(ctx: actorsys.Context, max_restarts: int) -> None:
    """Keep a permanent actor of the name ``inner``."""
    strategy = OneForOne(max_restarts, math.inf, AT_ONCE)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        await nursery.start_actor("inner", modules=MODULES, restart="permanent")
        await ctx.started()
        await trio.sleep_forever()


async def supervise_alone() -> None:
    async with actorsys.open_nursery(strategy=OneForOne(max_restarts=0)) as nursery:
        await nursery.start_actor("inner", modules=MODULES, restart="permanent")
        await trio.sleep_forever()


# --- what the tests use -------------------------------------------------------------------


async def start(
    nursery: actorsys.ActorNursery, *names: str, restart: Any = "permanent"
) -> list[actorsys.Portal]:
    return [await nursery.start_actor(name, modules=MODULES, restart=restart) for name in names]


async def end(sim: Simulation, portal: actorsys.Portal, way: str = "killed") -> actorsys.Down:
    """End the actor of *portal*, and return when this is known here."""
    async with actorsys.monitor(portal) as events:
        if way == "killed":
            sim.kill(portal)
        else:
            sim.exit(portal, 0 if way == "normal" else 3)
        return await events.receive()


async def settle(seconds: float = 30) -> None:
    """Let so much simulated time pass that whatever is to happen has happened."""
    await trio.sleep(seconds)


def name_of(sim: Simulation, pid: int) -> str:
    return sim.processes[pid].label.partition("/")[0]


def newest(sim: Simulation, name: str) -> int:
    """Return the pid of the last process that was started for *name*."""
    return max(pid for pid in sim.processes if name_of(sim, pid) == name)


def living(sim: Simulation) -> list[str]:
    """Return the names of the processes that have not ended, the root apart."""
    _root, *others = sim.processes
    return [name_of(sim, pid) for pid in others if sim.processes[pid].describe_end() == "alive"]


def names_in_trace(sim: Simulation, what: str, since: int = 0) -> list[str]:
    """Return the names of the processes of which the trace says so, in order."""
    events = sim.trace[since:]
    return [event.process.partition("/")[0] for event in events if event.what.startswith(what)]


async def keep_busy(portal: actorsys.Portal, seconds: float) -> None:
    """Have an actor run a function that needs so long to clean up, until the actor is stopped."""
    with pytest.raises((actorsys.ActorDied, actorsys.ContextCancelled)):
        await portal.run(need_when_cancelled, seconds)


# --- the table ----------------------------------------------------------------------------

IS_STARTED_AGAIN = {
    ("permanent", "normal"): True,
    ("permanent", "error"): True,
    ("permanent", "killed"): True,
    ("transient", "normal"): False,
    ("transient", "error"): True,
    ("transient", "killed"): True,
    ("temporary", "normal"): False,
    ("temporary", "error"): False,
    ("temporary", "killed"): False,
}
AFFECTED = {
    OneForOne: ["it"],
    OneForAll: ["before", "it", "after", "helper"],
    RestForOne: ["it", "after", "helper"],
}


@pytest.mark.parametrize("strategy", [OneForOne, OneForAll, RestForOne])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize("way", ["normal", "error", "killed"])
@simulated
async def test_who_is_started_again(sim: Simulation, strategy: Any, restart: Any, way: str) -> None:
    async with actorsys.open_nursery(strategy=strategy()) as nursery:
        (before,) = await start(nursery, "before")
        (it,) = await start(nursery, "it", restart=restart)
        (after,) = await start(nursery, "after", restart="transient")
        (helper,) = await start(nursery, "helper", restart="temporary")
        portals = [before, it, after, helper]
        uids = {portal.name: portal.uid for portal in portals}
        down = await end(sim, it, way)
        assert down.uid == uids["it"]
        await settle()

        affected = AFFECTED[strategy] if IS_STARTED_AGAIN[restart, way] else []
        left = [portal for portal in portals if portal is not it or affected]
        if "helper" in affected:
            left.remove(helper)
        for portal in left:
            assert await portal.run(own_uid) == portal.uid
            assert (portal.uid != uids[portal.name]) == (portal.name in affected)
        for portal in set(portals) - set(left):
            assert not portal.is_alive
            with pytest.raises(actorsys.ActorDied):
                await portal.run(own_uid)
        assert nursery.children == {portal.name: portal for portal in left}
        starts = collections.Counter(names_in_trace(sim, "started"))
        restarted = {name for name in affected if name != "helper"}
        assert starts == {name: 1 + (name in restarted) for name in uids}
        await nursery.cancel()


# --- its portal ---------------------------------------------------------------------------


@simulated
async def test_a_portal_keeps_its_name_and_gets_a_new_uid_and_pid(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne(10)) as nursery:
        (portal,) = await start(nursery, "worker")
        seen = {(portal.uid, portal.pid)}
        for lives in range(2, 5):
            await end(sim, portal)
            assert not portal.is_alive
            assert nursery.children == {"worker": portal}
            assert await portal.run(own_uid) == portal.uid
            assert portal.is_alive
            seen.add((portal.uid, portal.pid))
            assert len({uid for uid, _ in seen}) == len({pid for _, pid in seen}) == lives
            assert portal.name == portal.uid[0] == "worker"
        await nursery.cancel()


@simulated
async def test_calls_in_flight_are_told_and_never_run_again(sim: Simulation) -> None:
    deaths: list[actorsys.ActorDied] = []

    async def call(text: str) -> None:
        with pytest.raises(actorsys.ActorDied) as caught:
            await portal.run(note_and_hang, text)
        deaths.append(caught.value)

    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (portal,) = await start(nursery, "worker")
        uid, pid = portal.uid, portal.pid
        async with trio.open_nursery() as tasks:
            for text in NAMES:
                tasks.start_soon(call, text)
            await trio.sleep(1)
            sim.kill(portal)
        await settle()
        assert sorted(JOURNAL) == [*NAMES]
        assert {(death.uid, death.pid, death.signal) for death in deaths} == {
            (uid, pid, signal.SIGKILL)
        }
        assert all(death.may_have_run for death in deaths)
        assert len({id(death) for death in deaths}) == 4
        assert portal.uid != uid
        await nursery.cancel()


@simulated
async def test_streams_and_contexts_in_flight_are_told_as_well(sim: Simulation) -> None:
    async def read() -> None:
        with pytest.raises(actorsys.ActorDied):
            async with portal.open_stream_from(count) as stream:
                async for _ in stream:
                    pass

    async def talk() -> None:
        with pytest.raises(actorsys.ActorDied):
            async with portal.open_context(echo) as (ctx, _), ctx.open_stream() as stream:
                await stream.receive()

    async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
        (portal,) = await start(nursery, "worker")
        async with trio.open_nursery() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(talk)
            await trio.sleep(1)
            sim.exit(portal, 0)
        async with portal.open_context(echo) as (ctx, first), ctx.open_stream() as stream:
            assert first == "hello"
            await stream.send(1)
            assert await stream.receive() == 1
        await nursery.cancel()


@simulated
async def test_later_calls_wait_for_the_new_incarnation(sim: Simulation) -> None:
    uids: list[Uid] = []

    async def call(text: str) -> None:
        uids.append(await portal.run(note, text))

    strategy = OneForOne(10, math.inf, LONG_BACKOFF)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        (portal,) = await start(nursery, "worker")
        await end(sim, portal)
        await portal.run(own_uid)
        down = await end(sim, portal)
        began = trio.current_time()
        async with trio.open_nursery() as tasks:
            for text in NAMES:
                tasks.start_soon(call, text)
        assert trio.current_time() - began >= 60
        assert sorted(JOURNAL) == [*NAMES]
        assert uids == [portal.uid] * 4
        assert portal.uid != down.uid
        await nursery.cancel()


@simulated
async def test_a_call_that_waits_for_a_restart_can_be_cancelled(sim: Simulation) -> None:
    strategy = OneForOne(10, math.inf, LONG_BACKOFF)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        (portal,) = await start(nursery, "worker")
        await end(sim, portal)
        await portal.run(own_uid)
        await end(sim, portal)
        began = trio.current_time()
        with trio.move_on_after(10) as scope:
            await portal.run(note, "never")
        assert scope.cancelled_caught
        assert trio.current_time() - began == pytest.approx(10)
        assert await portal.run(note, "later") == portal.uid
        assert JOURNAL == ["later"]
        await nursery.cancel()


@simulated
async def test_a_restart_waits_as_long_as_the_backoff_says(sim: Simulation) -> None:
    strategy = OneForOne(10, math.inf, Backoff(first=8, factor=2, most=20, jitter=0))
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        (portal,) = await start(nursery, "worker")
        for seconds in (0, 8, 16, 20, 20):
            await end(sim, portal)
            began = trio.current_time()
            await portal.run(own_uid)
            assert seconds <= trio.current_time() - began < seconds + 0.2
        await nursery.cancel()


# --- ends that somebody has asked for -----------------------------------------------------


async def bring_into(
    phase: str, sim: WatchedSimulation, portal: actorsys.Portal, *, others: int = 1
) -> None:
    """Have the actor of *portal*, which has a long back-off, be in a phase of its life."""
    if phase == "running":
        return
    await end(sim, portal)
    if phase == "waiting for its restart":
        await portal.run(own_uid)
        await end(sim, portal)
        await settle(1)
        assert len(living(sim)) == others
    else:
        sim.max_boot_seconds = 500
        assert await sim.next_restart() == portal.name
    assert not portal.is_alive


PHASES = ["running", "waiting for its restart", "being started again"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("what", ["actor", "nursery"])
@simulated
async def test_who_was_cancelled_never_comes_back(
    sim: WatchedSimulation, phase: str, what: str
) -> None:
    async def wait() -> None:
        with pytest.raises(actorsys.ActorDied) as caught:
            await portal.run(note, "never")
        assert not caught.value.may_have_run

    strategy = OneForOne(10, math.inf, LONG_BACKOFF)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        portal, other = await start(nursery, "worker", "other")
        await bring_into(phase, sim, portal)
        uid = other.uid
        began = trio.current_time()
        async with trio.open_nursery() as tasks:
            if phase != "running":
                tasks.start_soon(wait)
                await trio.sleep(0.01)
            await (portal.cancel_actor() if what == "actor" else nursery.cancel())
            assert trio.current_time() - began < 0.5
            assert "worker" not in living(sim)
            assert not portal.is_alive
            assert nursery.children == ({"other": other} if what == "actor" else {})
        count = len(sim.processes)
        await settle(1000)
        assert len(sim.processes) == count
        assert JOURNAL == []
        with pytest.raises(actorsys.ActorDied):
            await portal.run(own_uid)
        await portal.cancel_actor()
        if what == "actor":
            assert await other.run(own_uid) == uid
            await other.cancel_actor()


@simulated
async def test_who_is_being_started_for_the_first_time_is_taken_back(sim: Simulation) -> None:
    async def start_late() -> None:
        with pytest.raises(actorsys.SpawnError, match="stopped"):
            await start(nursery, "late")
        assert "late" not in living(sim)

    strategy = OneForOne(10, math.inf, LONG_BACKOFF)
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        await start(nursery, "worker")
        sim.max_boot_seconds = 1e6
        async with trio.open_nursery() as tasks:
            tasks.start_soon(start_late)
            await settle(0.1)
            await nursery.cancel()
        assert nursery.children == {}


@simulated
async def test_after_cancel_the_nursery_restarts_whom_it_starts_then(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForAll(10)) as nursery:
        portals = await start(nursery, *NAMES)
        await end(sim, portals[0])
        await nursery.cancel()
        (again,) = await start(nursery, "a")
        down = await end(sim, again)
        assert await again.run(own_uid) != down.uid
        assert nursery.children == {"a": again}
        await nursery.cancel()


@simulated
async def test_who_has_ended_for_good_is_not_resurrected_with_the_others(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
        first, cancelled = await start(nursery, "first", "cancelled")
        (finished,) = await start(nursery, "finished", restart="transient")
        (lost,) = await start(nursery, "lost", restart="temporary")
        last, *_ = await start(nursery, "last")
        await cancelled.cancel_actor()
        await end(sim, finished, "normal")
        await end(sim, lost)
        await settle()
        since = len(sim.trace)
        await end(sim, last)
        await settle()
        assert names_in_trace(sim, "started", since) == ["first", "last"]
        assert nursery.children == {"first": first, "last": last}
        await nursery.cancel()


@simulated
async def test_a_member_can_be_cancelled_while_its_group_is_restarted(
    sim: WatchedSimulation,
) -> None:
    async with actorsys.open_nursery(strategy=OneForAll(within=math.inf)) as nursery:
        a, b, c = await start(nursery, "a", "b", "c")
        await end(sim, b)
        assert await sim.next_restart() == "a"
        await b.cancel_actor()
        with pytest.raises(actorsys.ActorDied):
            await b.run(own_uid)
        assert await c.run(own_uid) == c.uid
        assert nursery.children == {"a": a, "c": c}
        await nursery.cancel()


@simulated
async def test_the_block_closes_once_the_last_has_ended_for_good(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (portal,) = await start(nursery, "worker", restart="transient")
        await end(sim, portal, "error")
        await portal.run(own_uid)
        await end(sim, portal, "normal")


# --- the order ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        (OneForOne(), ["b"], ["b"]),
        (OneForAll(), ["b", "d", "c", "a"], ["a", "b", "c", "d"]),
        (RestForOne(), ["b", "d", "c"], ["b", "c", "d"]),
    ],
)
@simulated
async def test_groups_stop_in_reverse_start_order_and_start_in_order(
    sim: Simulation, strategy: Any, stopped: list[str], started: list[str]
) -> None:
    async with actorsys.open_nursery(strategy=strategy) as nursery:
        _, b, *_ = await start(nursery, *NAMES)
        for _ in range(2):
            since = len(sim.trace)
            await end(sim, b)
            await settle()
            assert names_in_trace(sim, "ended", since) == stopped
            assert names_in_trace(sim, "started", since) == started
        await nursery.cancel()


@simulated
async def test_each_of_a_group_is_started_when_the_one_before_is_ready(
    sim: WatchedSimulation,
) -> None:
    async with actorsys.open_nursery(strategy=OneForAll(within=math.inf)) as nursery:
        portals = await start(nursery, *NAMES)
        await end(sim, portals[1])
        for number, name in enumerate(NAMES):
            assert await sim.next_restart() == name
            assert [portal.is_alive for portal in portals] == [i < number for i in range(4)]
        await nursery.cancel()


@simulated
async def test_each_of_a_group_is_stopped_when_the_one_before_has_ended(sim: Simulation) -> None:
    async with trio.open_nursery() as tasks:
        async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
            a, b, c = await start(nursery, "a", "b", "c")
            for portal in (a, c):
                tasks.start_soon(keep_busy, portal, 1.0)
            await settle(1)
            await end(sim, b)
            assert await b.run(own_uid) == b.uid
            assert JOURNAL == ["c asked", "c done", "a asked", "a done"]
            await nursery.cancel()


async def stop_busy_children(strategy: Any, ending: str, seconds: float) -> float:
    """Stop three actors that need so long to clean up; return how long it took."""
    async with trio.open_nursery() as tasks:
        with pytest.raises(KeyError, match="of the body"):
            async with actorsys.open_nursery(strategy=strategy) as nursery:
                restart = "temporary" if strategy == actorsys.OneCancelsAll() else "permanent"
                for portal in await start(nursery, "a", "b", "c", restart=restart):
                    tasks.start_soon(keep_busy, portal, seconds)
                await settle(1)
                began = trio.current_time()
                if ending == "cancel":
                    await nursery.cancel()
                    assert nursery.children == {}
                raise KeyError("of the body")
        return trio.current_time() - began


ENDINGS = ["cancel", "error"]


@pytest.mark.parametrize("strategy", [OneForOne(), OneForAll(), RestForOne()])
@pytest.mark.parametrize("ending", ENDINGS)
@simulated
async def test_children_of_a_restarting_strategy_stop_one_after_the_other(
    sim: Simulation, strategy: Any, ending: str
) -> None:
    seconds = await stop_busy_children(strategy, ending, seconds=0.5)
    assert JOURNAL == ["c asked", "c done", "b asked", "b done", "a asked", "a done"]
    assert 1.5 <= seconds < 1.7


@pytest.mark.parametrize("ending", ENDINGS)
@simulated
async def test_children_of_one_cancels_all_stop_at_once(sim: Simulation, ending: str) -> None:
    seconds = await stop_busy_children(actorsys.OneCancelsAll(), ending, seconds=0.5)
    assert sorted(JOURNAL[:3]) == ["a asked", "b asked", "c asked"]
    assert sorted(JOURNAL[3:]) == ["a done", "b done", "c done"]
    assert 0.5 <= seconds < 0.7


@pytest.mark.parametrize("ending", ENDINGS)
@simulated
async def test_all_together_have_one_grace(sim: Simulation, ending: str) -> None:
    seconds = await stop_busy_children(OneForAll(), ending, seconds=2)
    assert names_in_trace(sim, "ended")[0] == "c"
    assert 3 <= seconds <= 3.5


# --- too many -----------------------------------------------------------------------------


@pytest.mark.parametrize("max_restarts", [0, 1, 4])
@simulated
async def test_one_more_than_allowed_is_given_up(sim: Simulation, max_restarts: int) -> None:
    uids: list[Uid] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery(
            strategy=OneForOne(max_restarts, math.inf, AT_ONCE)
        ) as nursery:
            portal, other = await start(nursery, "worker", "other")
            for _ in range(max_restarts + 1):
                uids.append(await portal.run(own_uid))
                await end(sim, portal, "error")
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, actorsys.RestartIntensityExceeded)
    assert [type(death) for death in error.history] == [actorsys.ActorDied] * len(uids)
    assert [death.uid for death in error.history] == uids  # type: ignore[attr-defined]
    assert error.__cause__ is error.history[-1]
    notes = "\n".join(error.__notes__)
    assert [str(death) in notes for death in error.history] == [True] * len(uids)
    assert not other.is_alive
    assert living(sim) == []


@pytest.mark.parametrize(
    ("seconds", "is_given_up"), [(4.5, True), (5.0, True), (5.0 + 2**-20, False)]
)
@simulated
async def test_the_edge_of_the_window_belongs_to_it(
    sim: Simulation, seconds: float, is_given_up: bool
) -> None:
    histories: list[int] = []
    with trio.CancelScope() as scope:
        try:
            async with actorsys.open_nursery(strategy=OneForOne(1, 5.0, AT_ONCE)) as nursery:
                (portal,) = await start(nursery, "worker")
                for now in (8.0, 16.0):
                    await trio.sleep_until(now)
                sim.kill(portal)
                await trio.sleep_until(16.0 + seconds)
                assert trio.current_time() == 16.0 + seconds
                sim.kill(portal)
                await settle()
                scope.cancel()
        except* actorsys.RestartIntensityExceeded as group:
            histories = [len(error.history) for error in leaves(group)]  # type: ignore[attr-defined]
    assert histories == ([2] if is_given_up else [])
    assert scope.cancelled_caught == (not is_given_up)


@pytest.mark.parametrize("strategy", [OneForAll, RestForOne])
@simulated
async def test_a_restart_of_a_group_counts_once(sim: Simulation, strategy: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery(strategy=strategy(1, math.inf, AT_ONCE)) as nursery:
            portals = await start(nursery, *NAMES)
            await end(sim, portals[0])
            await settle()
            assert [portal.is_alive for portal in portals] == [True] * 4
            await end(sim, portals[0])
            await trio.sleep_forever()
    assert len(caught.value.exceptions[0].history) == 2  # type: ignore[attr-defined]


@simulated
async def test_members_that_die_together_are_restarted_once(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForAll(1, math.inf, AT_ONCE)) as nursery:
        portals = await start(nursery, *NAMES)
        for portal in portals:
            sim.kill(portal)
        await settle()
        for portal in portals:
            assert await portal.run(own_uid) == portal.uid
        assert sorted(names_in_trace(sim, "started")) == sorted(NAMES * 2)
        await nursery.cancel()


@simulated
async def test_a_start_that_comes_to_nothing_is_one_more_failure(sim: WatchedSimulation) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery(strategy=OneForOne(2, math.inf, AT_ONCE)) as nursery:
            (portal,) = await start(nursery, "worker")
            await end(sim, portal)
            for kill in (sim.kill, lambda pid: sim.exit(pid, 0)):
                assert await sim.next_restart() == "worker"
                kill(max(sim.processes))
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, actorsys.RestartIntensityExceeded)
    died, killed, left = error.history
    assert isinstance(died, actorsys.ActorDied)
    assert isinstance(killed, actorsys.SpawnError)
    assert isinstance(left, actorsys.SpawnError)
    assert (killed.signal, left.exit_code) == (signal.SIGKILL, 0)


@simulated
async def test_a_start_that_comes_to_nothing_is_tried_again(sim: WatchedSimulation) -> None:
    async with actorsys.open_nursery(strategy=RestForOne(3, math.inf, AT_ONCE)) as nursery:
        a, b, c = await start(nursery, "a", "b", "c")
        uid = a.uid
        await end(sim, b)
        assert await sim.next_restart() == "b"
        assert await sim.next_restart() == "c"
        revived = b.uid
        sim.kill(max(sim.processes))
        for portal in (a, b, c):
            assert await portal.run(own_uid) == portal.uid
        assert a.uid == uid
        assert b.uid == revived
        await nursery.cancel()


@simulated
async def test_giving_up_stops_the_others_in_order_and_cancels_the_body(sim: Simulation) -> None:
    async with trio.open_nursery() as tasks:
        with pytest.raises(ExceptionGroup) as caught:
            async with actorsys.open_nursery(strategy=OneForOne(max_restarts=0)) as nursery:
                a, b, c = await start(nursery, "a", "b", "c")
                for portal in (a, c):
                    tasks.start_soon(keep_busy, portal, 0.5)
                await settle(1)
                sim.kill(b)
                try:
                    await trio.sleep_forever()
                finally:
                    JOURNAL.append("body")
    assert caught.group_contains(actorsys.RestartIntensityExceeded, depth=1)
    assert JOURNAL == ["body", "c asked", "c done", "a asked", "a done"]


@simulated
async def test_an_error_of_the_body_leaves_beside_the_reason_for_giving_up(sim: Simulation) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery(strategy=OneForOne(max_restarts=0)) as nursery:
            (portal,) = await start(nursery, "worker")
            sim.kill(portal)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("of the body")
    kinds = {type(error) for error in caught.value.exceptions}
    assert kinds == {KeyError, actorsys.RestartIntensityExceeded}


@simulated
async def test_a_nursery_gives_up_once(sim: Simulation) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery(strategy=OneForOne(max_restarts=0)) as nursery:
            for portal in await start(nursery, "a", "b", "c"):
                sim.kill(portal)
            await trio.sleep_forever()
    assert len(caught.value.exceptions) == 1


@simulated
async def test_a_nursery_that_gave_up_restarts_nobody(sim: Simulation) -> None:
    with pytest.raises(ExceptionGroup):
        async with actorsys.open_nursery(strategy=OneForOne(1, 5.0, AT_ONCE)) as nursery:
            a, b = await start(nursery, "a", "b")
            await end(sim, a)
            await a.run(own_uid)
            sim.kill(a)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await settle()
                    since = len(sim.trace)
                    sim.kill(b)
                    await settle()
    assert names_in_trace(sim, "started", since) == []


# --- who does not come back ---------------------------------------------------------------


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("way", ["error", "killed"])
@simulated
async def test_a_temporary_child_that_dies_unnoticed_is_only_logged(
    sim: Simulation, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
        (other,) = await start(nursery, "other")
        (portal,) = await start(nursery, "helper", restart="temporary")
        sim.kill(portal) if way == "killed" else sim.exit(portal, 3)
        await settle()
        (text,) = warnings(caplog)
        assert "helper" in text
        assert other.is_alive
        await nursery.cancel()


@simulated
async def test_a_death_just_before_the_end_is_only_logged(
    sim: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (portal,) = await start(nursery, "worker")
        sim.exit(portal, 3)
        await nursery.cancel()
        (text,) = warnings(caplog)
        assert "worker" in text


@pytest.mark.parametrize("who", ["nobody, it was normal", "a caller", "a monitor"])
@simulated
async def test_an_end_that_is_normal_or_was_told_is_not_logged(
    sim: Simulation, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (portal,) = await start(nursery, "helper", restart="temporary")
        if who == "a monitor":
            await end(sim, portal)
        elif who == "a caller":
            async with trio.open_nursery() as tasks:
                tasks.start_soon(keep_busy, portal, 0)
                await settle(1)
                sim.kill(portal)
        else:
            sim.exit(portal, 0)
        await settle()
        assert warnings(caplog) == []


@simulated
async def test_a_broken_link_is_no_normal_end(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (portal,) = await start(nursery, "worker", restart="transient")
        uid = portal.uid
        sim.cut_links(portal)
        await settle()
        assert nursery.children == {"worker": portal}
        assert await portal.run(own_uid) != uid
        await nursery.cancel()


# --- one-shots ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [OneForOne(), OneForAll(), RestForOne()])
@pytest.mark.parametrize("how", ["fails", "is killed"])
@simulated
async def test_a_one_shot_that_fails_unnoticed_is_told_when_the_block_ends(
    sim: Simulation, strategy: Any, how: str
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery(strategy=strategy) as nursery:
            other = await nursery.start_actor("other", modules=MODULES, restart="permanent")
            uid = other.uid
            if how == "fails":
                await nursery.run_in_actor(fail, "unnoticed")
            else:
                sim.kill(await nursery.run_in_actor(note_and_hang, "shot", name="shot"))
            await settle()
            assert await other.run(own_uid) == uid
            assert nursery.children == {"other": other}
            await nursery.cancel()
            JOURNAL.append("the body has ended")
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError if how == "fails" else actorsys.ActorDied)
    assert JOURNAL[-1] == "the body has ended"


@simulated
async def test_a_one_shot_whose_failure_was_told_leaves_nothing_behind(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        portal = await nursery.run_in_actor(fail, "asked for")
        with pytest.raises(ValueError, match="asked for"):
            await portal.result()


@simulated
async def test_a_one_shot_that_is_stopped_with_the_others_says_so_to_who_waits(
    sim: Simulation,
) -> None:
    async def wait() -> None:
        with pytest.raises((actorsys.ContextCancelled, actorsys.ActorDied)):
            await shot.result()
        JOURNAL.append("told")

    async with actorsys.open_nursery(strategy=OneForAll()) as nursery:
        (portal,) = await start(nursery, "worker")
        shot = await nursery.run_in_actor(note_and_hang, "shot", name="shot")
        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait)
            await settle(1)
            await end(sim, portal)
        assert await portal.run(own_uid) == portal.uid
        assert JOURNAL == ["shot", "told"]
        assert nursery.children == {"worker": portal}
        await nursery.cancel()


# --- supervisors of supervisors -----------------------------------------------------------


@simulated
async def test_a_nested_supervisor_restarts_without_its_parent_noticing(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForAll(max_restarts=0)) as nursery:
        (middle,) = await start(nursery, "middle")
        with trio.CancelScope() as scope:
            async with middle.open_context(supervise, 5):
                for count in range(1, 4):
                    sim.kill(newest(sim, "inner"))
                    await settle()
                    assert living(sim) == ["middle", "inner"]
                    assert names_in_trace(sim, "started").count("inner") == 1 + count
                scope.cancel()
        assert middle.is_alive
        await nursery.cancel()


@simulated
async def test_a_nested_supervisor_that_gives_up_tells_its_caller(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (middle,) = await start(nursery, "middle")
        uid = middle.uid
        with pytest.raises(ExceptionGroup) as caught:
            async with middle.open_context(supervise, 1):
                for _ in range(2):
                    sim.kill(newest(sim, "inner"))
                    await settle()
        (error,) = leaves(caught.value)
        assert isinstance(error, actorsys.RestartIntensityExceeded)
        assert isinstance(error, actorsys.RemoteActorError)
        assert error.src_uid == uid
        assert "\n".join(error.notes).count("SIGKILL") == 2
        assert living(sim) == ["middle"]
        assert await middle.run(own_uid) == uid
        await nursery.cancel()


@simulated
async def test_a_nested_supervisor_that_nobody_waits_for_fails_its_parent(sim: Simulation) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with actorsys.open_nursery() as nursery:
            await nursery.start_actor("other")
            await nursery.run_in_actor(supervise_alone)
            await settle()
            sim.kill(newest(sim, "inner"))
            await trio.sleep_forever()
    (error,) = leaves(caught.value)
    assert isinstance(error, actorsys.RestartIntensityExceeded)


@simulated
async def test_a_restarted_supervisor_takes_its_children_along(sim: Simulation) -> None:
    async with actorsys.open_nursery(strategy=OneForOne()) as nursery:
        (middle,) = await start(nursery, "middle")
        with pytest.raises(actorsys.ActorDied):
            async with middle.open_context(supervise, 5):
                sim.kill(middle)
                await trio.sleep_forever()
        assert await middle.run(own_uid) == middle.uid
        assert living(sim) == ["middle"]
        with trio.CancelScope() as scope:
            async with middle.open_context(supervise, 5):
                assert living(sim) == ["middle", "inner"]
                scope.cancel()
        await nursery.cancel()


# --- one thing during another -------------------------------------------------------------


@simulated
async def test_a_member_that_dies_while_its_group_is_stopped(sim: Simulation) -> None:
    async with trio.open_nursery() as tasks:
        strategy = OneForAll(1, math.inf, AT_ONCE)
        async with actorsys.open_nursery(strategy=strategy) as nursery:
            portals = a, b, c = await start(nursery, "a", "b", "c")
            tasks.start_soon(keep_busy, c, 1)
            await settle(1)
            await end(sim, a)
            await settle(0.5)
            await end(sim, b)
            await settle()
            for portal in portals:
                assert await portal.run(own_uid) == portal.uid
            assert sorted(names_in_trace(sim, "started")) == sorted("abcabc")
            await nursery.cancel()


@pytest.mark.parametrize("strategy", [OneForAll, RestForOne])
@simulated
async def test_a_member_that_dies_while_its_group_is_started(
    sim: WatchedSimulation, strategy: Any
) -> None:
    async with actorsys.open_nursery(strategy=strategy(2, math.inf, AT_ONCE)) as nursery:
        portals = a, _, _ = await start(nursery, "a", "b", "c")
        await end(sim, a)
        assert await sim.next_restart() == "a"
        assert await sim.next_restart() == "b"
        down = await end(sim, a)
        for portal in portals:
            assert await portal.run(own_uid) == portal.uid
        assert a.uid != down.uid
        await settle(1000)
        assert sorted(living(sim)) == ["a", "b", "c"]
        await nursery.cancel()


@simulated
async def test_others_start_and_are_called_while_one_waits_for_its_restart(
    sim: WatchedSimulation,
) -> None:
    for strategy in (OneForOne, OneForAll, RestForOne):
        async with actorsys.open_nursery(strategy=strategy(10, math.inf, LONG_BACKOFF)) as nursery:
            (portal,) = await start(nursery, "worker")
            await bring_into("waiting for its restart", sim, portal, others=0)
            began = trio.current_time()
            (late,) = await start(nursery, "late")
            assert await late.run(own_uid) == late.uid
            assert trio.current_time() - began < 1
            uid = late.uid
            assert await portal.run(own_uid) == portal.uid
            assert late.uid == uid
            await nursery.cancel()


@pytest.mark.parametrize("phase", [*PHASES, "being stopped with the others"])
@pytest.mark.parametrize("ending", ["error", "outside"])
@simulated
async def test_a_nursery_can_end_in_every_phase(
    sim: WatchedSimulation, phase: str, ending: str
) -> None:
    async def body() -> None:
        strategy = OneForAll(10, math.inf, LONG_BACKOFF)
        async with actorsys.open_nursery(strategy=strategy) as nursery:
            portal, other = await start(nursery, "worker", "other")
            if phase == "being stopped with the others":
                tasks.start_soon(keep_busy, other, 1)
                await settle(1)
                await end(sim, portal)
                await settle(0.5)
            else:
                await bring_into(phase, sim, portal, others=0)
            JOURNAL.append("ending")
            if ending == "error":
                raise KeyError("of the body")
            scope.cancel()
            await trio.sleep_forever()

    async with trio.open_nursery() as tasks:
        with trio.CancelScope() as scope:
            if ending == "error":
                with pytest.raises(KeyError, match="of the body"):
                    await body()
            else:
                await body()
        assert living(sim) == []
    assert scope.cancelled_caught == (ending == "outside")
    assert "ending" in JOURNAL
    count = len(sim.processes)
    await settle(1000)
    assert len(sim.processes) == count


# --- whatever happens ---------------------------------------------------------------------


class Storm:
    """A tree that is called and hit at random, and what came of each call."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.choose = sim.chance.choice
        self.calls: dict[str, str] = {}
        self.downs: list[Uid] = []

    async def run(self) -> bool:
        """Let it rage, and check what is left; return whether the nursery gave up."""
        backoff = Backoff(first=self.choose([0, 0.1]))
        kind: Any = self.choose([OneForOne, OneForAll, RestForOne])
        strategy = kind(self.choose([1, 1000, 1000]), self.choose([0.5, math.inf]), backoff)
        reasons: list[BaseException] = []
        try:
            async with actorsys.open_nursery(strategy=strategy) as nursery:
                await self.rage(nursery)
        except* actorsys.RestartIntensityExceeded as group:
            reasons = leaves(group)
        assert len(reasons) < 2
        return bool(reasons)

    async def rage(self, nursery: actorsys.ActorNursery) -> None:
        policies = [
            self.choose(["permanent", "transient", "temporary"]) for _ in range(self.choose([2, 3]))
        ]
        portals = [
            await nursery.start_actor(f"{number}", modules=MODULES, restart=policy)
            for number, policy in enumerate(policies)
        ]
        async with trio.open_nursery() as watchers:
            for portal in portals:
                watchers.start_soon(self.watch, portal)
            async with trio.open_nursery() as callers:
                for portal in portals:
                    callers.start_soon(self.call, portal)
                for _ in range(self.sim.chance.randrange(1, 6)):
                    await self.hit(portals)
                callers.cancel_scope.cancel()
            await settle(60)
            for portal in portals:
                await self.check(nursery, portal)
            await nursery.cancel()

    async def watch(self, portal: actorsys.Portal) -> None:
        try:
            async with actorsys.monitor(portal) as events:
                async for down in events:
                    self.downs.append(down.uid)
        except actorsys.ActorDied:
            return  # it was gone before it was watched

    async def call(self, portal: actorsys.Portal) -> None:
        while True:
            text = f"call {len(self.calls)}"
            self.calls[text] = "no end"
            try:
                await portal.run(note, text)
            except actorsys.ActorUnavailable as error:
                self.calls[text] = "unknown" if error.may_have_run else "not run"
                if portal.peer.gone is not None:
                    return
            except trio.Cancelled:
                self.calls[text] = "unknown"
                raise
            else:
                self.calls[text] = "run"
            await trio.sleep(self.sim.chance.uniform(0, 0.2))

    async def hit(self, portals: list[actorsys.Portal]) -> None:
        """Do harm to one process, ready or not, after a while."""
        await trio.sleep(self.choose([0, self.sim.chance.uniform(0, 0.2)]))
        for _ in range(self.sim.chance.randrange(30)):
            await trio.lowlevel.checkpoint()
        _root, *pids = self.sim.processes
        living = [pid for pid in pids if self.sim.processes[pid].describe_end() == "alive"]
        if living:
            pid = self.choose(living)
            harm = self.choose(["kill", "kill", "normal", "error", "cut", "cancel"])
            self.sim.note("test", f"{harm} {pid}")
            if harm == "kill":
                self.sim.kill(pid)
            elif harm == "cut":
                self.sim.cut_links(pid)
            elif harm == "cancel":
                await self.choose(portals).cancel_actor()
            else:
                self.sim.exit(pid, 0 if harm == "normal" else 3)

    async def check(self, nursery: actorsys.ActorNursery, portal: actorsys.Portal) -> None:
        """Check that the actor of *portal* either works or is gone."""
        if portal.name in nursery.children:
            assert await portal.run(own_uid) == portal.uid
        else:
            assert not portal.is_alive
            with pytest.raises(actorsys.ActorDied):
                await portal.run(own_uid)


def test_whatever_happens_each_call_ends_and_each_actor_works_or_is_gone() -> None:
    seed = random.randrange(2**32)
    outcomes: collections.Counter[str] = collections.Counter()
    for number in range(seed, seed + 200):
        print("seed", number)
        JOURNAL.clear()
        sim = Simulation(number)
        storm = Storm(sim)
        outcomes["given up"] += sim.run(storm.run)
        assert living(sim) == []
        assert len(set(storm.downs)) == len(storm.downs)
        runs = collections.Counter(JOURNAL)
        for text, outcome in storm.calls.items():
            allowed = {"run": [1], "not run": [0], "unknown": [0, 1], "no end": []}[outcome]
            assert runs[text] in allowed, (text, outcome)
        outcomes.update(storm.calls.values())
        outcomes["death"] += len(storm.downs)
    assert outcomes["given up"] > 3
    assert outcomes["run"] > 400
    assert outcomes["unknown"] > 100
    assert outcomes["death"] > 500
