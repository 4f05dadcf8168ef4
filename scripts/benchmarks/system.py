"""The system: the jobs of the floor, done with `actorsys`."""

from __future__ import annotations

import os
from functools import partial

import trio

import actorsys

from . import callees, kernels, pools, routing, topics
from .floor import HELD_PROCESSES, STREAM_ITEMS
from .side import serve_jobs
from .sizes import MIB
from .timing import measure_duration, measure_joint_rate, measure_rate

CALLERS = 100


class System:
    """The jobs of this side; all but those that start actors use one actor, *portal*."""

    def __init__(self, nursery: actorsys.ActorNursery, portal: actorsys.Portal) -> None:
        self._nursery = nursery
        self._portal = portal
        self._call = partial(portal.run, callees.echo, 7)
        self._started: list[actorsys.Portal] = []

    async def calls(self, seconds: float) -> float:
        """Return calls a second, one at a time."""
        return await measure_rate(self._call, seconds)

    async def joint_calls(self, seconds: float) -> float:
        """Return calls a second of many callers together."""
        return await measure_joint_rate(self._call, CALLERS, seconds)

    async def stream(self, seconds: float) -> float:
        """Return items a second of an async generator."""

        async def stream() -> None:
            async with self._portal.open_stream_from(callees.count, STREAM_ITEMS) as items:
                async for _ in items:
                    pass

        return await measure_rate(stream, seconds, weight=STREAM_ITEMS)

    async def ping_pong(self, seconds: float) -> float:
        """Return items a second that go there and back on one stream."""
        async with self._portal.open_context(callees.echo_items) as (ctx, _):
            async with ctx.open_stream() as stream:

                async def ping() -> None:
                    await stream.send(7)
                    await stream.receive()

                return await measure_rate(ping, seconds)

    async def echo_bytes(self, seconds: float) -> float:
        """Return round trips of 1 MiB of bytes, in MiB/s."""
        return await measure_rate(partial(self._portal.run, callees.echo, bytes(MIB)), seconds)

    async def echo_array(self, seconds: float) -> float:
        """Return round trips of an array of 1 MiB, in MiB/s."""
        from numpy import ones

        array = ones(MIB // 8)
        return await measure_rate(partial(self._portal.run, callees.echo, array), seconds)

    async def start_one(self, seconds: float) -> float:
        """Return how long an actor takes from `start_actor` to its first result."""
        return await measure_duration(self._start, seconds, after=self._stop)

    async def start_eight(self, seconds: float) -> float:
        """Return how long eight of them take at the same time."""

        async def start() -> None:
            async with trio.open_nursery() as tasks:
                for _ in range(8):
                    tasks.start_soon(self._start)

        return await measure_duration(start, seconds, after=self._stop)

    async def _start(self) -> None:
        portal = await self._nursery.start_actor("started", modules=[callees.__name__])
        self._started.append(portal)
        await portal.run(callees.echo, 7)

    async def _stop(self) -> None:
        while self._started:
            await self._started.pop().cancel_actor()

    async def hold_actors(self, seconds: float) -> list[int]:
        """Start idle actors; return their pids."""
        for _ in range(HELD_PROCESSES):
            await self._start()
        return [portal.pid for portal in self._started]

    async def release_actors(self, seconds: float) -> None:
        """Stop them."""
        await self._stop()


class Tree:
    """Two actors with a child each, which do nothing; *tasks* must outlive it."""

    def __init__(self, nursery: actorsys.ActorNursery, tasks: trio.Nursery) -> None:
        self._nursery = nursery
        self._tasks = tasks
        self._release = trio.Event()
        self._released = trio.Event()

    async def hold(self, seconds: float) -> list[int]:
        """Start the tree; return the pids of all its processes, the root's included."""
        pids: list[int] = await self._tasks.start(self._keep)
        return [os.getpid(), *pids]

    async def release(self, seconds: float) -> None:
        """Stop the tree."""
        self._release.set()
        await self._released.wait()

    async def _keep(self, task_status: trio.TaskStatus[list[int]]) -> None:
        one, two = [
            await self._nursery.start_actor(name, modules=[callees.__name__])
            for name in ("branch one", "branch two")
        ]
        async with one.open_context(callees.hold_child) as (ctx_one, pid_one):
            async with two.open_context(callees.hold_child) as (ctx_two, pid_two):
                task_status.started([one.pid, two.pid, pid_one, pid_two])
                await self._release.wait()
                await ctx_one.cancel()
                await ctx_two.cancel()
        await one.cancel_actor()
        await two.cancel_actor()
        self._released.set()


async def main() -> None:
    """Be the root of this side's actors."""
    async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
        portal = await nursery.start_actor("echo", modules=[callees.__name__])
        system = System(nursery, portal)
        tree = Tree(nursery, tasks)
        fan_out = topics.FanOut(nursery)
        await serve_jobs(
            {
                "calls": system.calls,
                "joint calls": system.joint_calls,
                "stream": system.stream,
                "ping-pong": system.ping_pong,
                "bytes": system.echo_bytes,
                "array": system.echo_array,
                "send and receive": kernels.send_and_receive,
                "ask": kernels.ask,
                "ten streams": fan_out.streams,
                "topic": fan_out.topic,
                "code message": kernels.code_message,
                "pass mailbox": kernels.pass_mailbox,
                "route messages": routing.route_messages,
                "map": pools.map_plainly,
                "map async": pools.map_tasks,
                "start": system.start_one,
                "start eight": system.start_eight,
                "hold": system.hold_actors,
                "release": system.release_actors,
                "hold tree": tree.hold,
                "release tree": tree.release,
            }
        )
        await nursery.cancel()


if __name__ == "__main__":
    trio.run(main)
