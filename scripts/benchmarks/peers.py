"""The peers: what else there is to call a function in another process with.

Each is a function of its own that yields how to call an echo in its other process. They are sides
with three jobs, and everything of theirs is at its defaults.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, NamedTuple

from .rows import Row
from .sizes import MIB

CALLERS = 100


class Caller(NamedTuple):
    """How a peer echoes: one value, or many at once where it can do that."""

    echo: Callable[[Any], Any]
    echo_many: Callable[[list[Any]], Any] | None = None


# --- the peers ---------------------------------------------------------------------------


def echo(value: Any) -> Any:
    """Send the argument back."""
    return value


def answer_pipe(pipe: Connection) -> None:
    """Send every message back until the pipe is closed."""
    try:
        while True:
            pipe.send(pipe.recv())
    except EOFError:
        return


@contextmanager
def pipe() -> Iterator[Caller]:
    """Two processes at the ends of a `multiprocessing.Pipe`, blocking."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=answer_pipe, args=(theirs,))
    process.start()
    theirs.close()

    def call(value: Any) -> Any:
        ours.send(value)
        return ours.recv()

    yield Caller(call)
    ours.close()
    process.join()


@contextmanager
def executor() -> Iterator[Caller]:
    """A `concurrent.futures.ProcessPoolExecutor` of one process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield Caller(
            lambda value: pool.submit(echo, value).result(),
            lambda values: [future.result() for future in [pool.submit(echo, v) for v in values]],
        )


class Echo:
    """The actor of those peers whose actors are plain classes."""

    def echo(self, value: Any) -> Any:
        """Send the argument back."""
        return value


@contextmanager
def ray() -> Iterator[Caller]:
    """A Ray actor on this machine."""
    import ray

    ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    actor = ray.remote(Echo).remote()
    yield Caller(
        lambda value: ray.get(actor.echo.remote(value)),
        lambda values: ray.get([actor.echo.remote(value) for value in values]),
    )
    ray.shutdown()


@contextmanager
def distributed() -> Iterator[Caller]:
    """A Dask actor in a worker process on this machine."""
    from distributed import Client, LocalCluster

    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            actor = client.submit(Echo, actor=True).result()
            yield Caller(
                lambda value: actor.echo(value).result(),
                lambda values: [future.result() for future in [actor.echo(v) for v in values]],
            )


@contextmanager
def xoscar() -> Iterator[Caller]:
    """An xoscar actor in a sub-process of a pool on this machine."""
    import xoscar

    class EchoActor(xoscar.Actor):  # type: ignore[misc]
        async def echo(self, value: Any) -> Any:
            return value

    async def start() -> tuple[Any, Any]:
        pool = await xoscar.create_actor_pool("127.0.0.1", n_process=1)
        strategy = xoscar.allocate_strategy.ProcessIndex(1)
        address = pool.external_address
        actor = await xoscar.create_actor(EchoActor, address=address, allocate_strategy=strategy)
        return pool, actor

    async def call_all(actor: Any, values: list[Any]) -> Any:
        return await asyncio.gather(*[actor.echo(value) for value in values])

    with asyncio.Runner() as runner:
        pool, actor = runner.run(start())
        yield Caller(
            lambda value: runner.run(actor.echo(value)),
            lambda values: runner.run(call_all(actor, values)),
        )
        runner.run(pool.stop())


PEERS: dict[str, Callable[[], Any]] = {
    "pipe": pipe,
    "executor": executor,
    "ray": ray,
    "distributed": distributed,
    "xoscar": xoscar,
}
"""By name; those that are no part of Python are named like their package."""


# --- what is measured --------------------------------------------------------------------


def find_missing(peer: str) -> str | None:
    """Return the package that *peer* needs and that is not installed, if there is one."""
    if peer in ("pipe", "executor") or importlib.util.find_spec(peer):
        return None
    return peer


def peer_rows(peer: str) -> list[Row]:
    """Return the rows in which *peer* is compared with the floor."""
    side = f"peers {peer}"
    rows = [
        Row(f"{peer} calls", "calls/s", "calls", "calls", side=side),
        Row(f"{peer} bytes", "MiB/s", "bytes", "bytes", side=side),
    ]
    if peer != "pipe":
        rows.insert(1, Row(f"{peer} callers", "calls/s", "calls", "joint calls", side=side))
    return rows


def measure_rate(step: Callable[[], Any], seconds: float, weight: float = 1) -> float:
    """Repeat *step* for *seconds*; return how many it does per second, times *weight*."""
    step()
    begin = now = perf_counter()
    count = 0
    while not count or now < begin + seconds:
        step()
        count += 1
        now = perf_counter()
    return count * weight / (now - begin)


def main() -> None:
    """Be the side of the peer that the command line names."""
    with PEERS[sys.argv[1]]() as caller:
        steps: dict[str, tuple[Callable[[], Any], int]] = {
            "calls": (partial(caller.echo, 7), 1),
            "bytes": (partial(caller.echo, bytes(MIB)), 1),
        }
        if caller.echo_many is not None:
            steps["joint calls"] = partial(caller.echo_many, [7] * CALLERS), CALLERS
        for line in sys.stdin:
            name, seconds = json.loads(line)
            step, weight = steps[name]
            print(json.dumps(measure_rate(step, seconds, weight)), flush=True)


if __name__ == "__main__":
    main()
