"""Large arrays go through shared memory by themselves, and nobody can tell but by the time."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path
from typing import Any

import buffer_functions as remote
import numpy as np
import pytest
import trio
from buffer_helpers import (
    MODULE,
    check_silent,
    clear,
    open_workers,
    run_tree,
    seen,
    wait_quiet,
    wait_seen,
)
from shared_tree import SharedTree, alone
from test_buffers import DTYPES, STRUCTURED
from tree_helpers import noting

import actorsys
from actorsys import Limits
from actorsys.limits import KIB, MIB

shared_tree = SharedTree(["worker"], MODULE, clear=clear)
pytestmark = pytest.mark.timeout(40)

EVERY_ARRAY = Limits(shared_array_bytes=1)


def random_array(dtype: Any, shape: tuple[int, ...], seed: int = 1) -> Any:
    """Return an array of *dtype* whose bytes are random, as far as it has any bytes."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    # Text of any bytes is no text: keep to what is a character in every order of bytes.
    high = 2 if dtype.kind in "U?" or dtype.fields else 256
    raw = np.random.default_rng(seed).integers(0, high, count, dtype="u1")
    if dtype.kind == "U":
        raw[:] = 0
    return raw.view(dtype).reshape(shape) if count else np.empty(shape, dtype)


LAYOUTS: dict[str, Any] = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: a.transpose(2, 0, 1),
    "reversed": lambda a: a[::-1, :, ::-1],
    "with gaps": lambda a: a[::2, :, 1:],
    "one row again and again": lambda a: np.broadcast_to(a[:1], a.shape),
    "flat": lambda a: a.ravel(),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "one element": lambda a: a[1, 2, 3],
    "no elements": lambda a: a[:, :0],
    "0-d": lambda a: np.array(a[0, 0, 0]),
}


@alone
async def test_arrays_arrive_bit_by_bit_whatever_their_order() -> None:
    async with open_workers("worker", limits=EVERY_ARRAY) as (worker,):
        for order, dtype in itertools.product(LAYOUTS, (*DTYPES, STRUCTURED)):
            with noting(f"{order}: {dtype}"):
                await check_arrives(LAYOUTS[order](random_array(dtype, (4, 6, 5))), worker)
        assert (await seen())["copied"] == 0
        await wait_quiet(worker)


async def check_arrives(sent: Any, worker: actorsys.Portal) -> None:
    """Check that *sent* is the same array there, and here again."""
    again = await worker.run(remote.echo, sent)
    assert again.dtype == sent.dtype
    assert again.shape == sent.shape
    assert again.tobytes() == sent.tobytes()
    if isinstance(sent, np.ndarray):
        assert again.flags.writeable
        assert again.flags.aligned
        is_fortran = sent.flags.f_contiguous and not sent.flags.c_contiguous
        assert again.flags.f_contiguous or not is_fortran
        described = await worker.run(remote.describe, sent)
        assert described[:3] == [sent.dtype.str, list(sent.shape), True]


async def test_what_arrives_is_nobody_elses() -> None:
    async with open_workers("worker") as (worker,):
        sent = np.zeros(100_000)
        again = await worker.run(remote.echo, sent)
        once_more = await worker.run(remote.echo, sent)
        again += 1
        assert not sent.any()
        assert not once_more.any()
        sent += 2
        assert (again == 1).all()
        del again, once_more
        await wait_quiet(worker)


@alone
async def test_only_large_arrays_are_shared() -> None:
    async with open_workers("worker", limits=Limits(shared_array_bytes=64 * KIB)) as (worker,):
        for count, handed_over in ((8191, 0), (8192, 1), (8193, 2)):
            assert await worker.run(remote.total, np.ones(count)) == count
            found = await seen()
            assert (found["handed_over"], found["copied"]) == (handed_over, 0)
        await wait_quiet(worker)
    async with open_workers("worker", limits=Limits(shared_array_bytes=2**60)) as (worker,):
        assert await worker.run(remote.total, np.ones(10**6)) == 10**6
        assert (await seen())["handed_over"] == 0


@alone
async def test_what_has_no_room_is_copied_and_counted() -> None:
    limits = Limits(max_array_bytes=1 * MIB)
    async with open_workers("worker", limits=limits) as (worker,):
        assert await worker.run(remote.total, np.ones(300_000)) == 300_000
        assert (await seen())["copied"] == 1
        await worker.run(remote.keep, np.ones(100_000))
        assert await worker.run(remote.total, np.full(100_000, 2.0)) == 200_000
        found = await seen()
        assert (found["copied"], found["handed_over"], found["accepted"]) == (2, 1, 1)
        again = await worker.run(remote.ones, 100_000)
        more = await worker.run(remote.ones, 100_000)
        assert again.sum() == more.sum() == 100_000
        assert (await seen(worker))["copied"] == 1
        assert await worker.run(remote.kept_totals) == [100_000.0]
        await worker.run(remote.drop)
        await wait_seen(accepted=0)
        assert await worker.run(remote.total, np.full(100_000, 2.0)) == 200_000
        found = await seen()
        assert (found["copied"], found["handed_over"]) == (2, 2)
        assert found["bytes"] <= limits.max_array_bytes
        del again, more
        await wait_quiet(worker)


@alone
async def test_a_slow_reader_bounds_the_memory_of_a_stream() -> None:
    limits = Limits(max_array_bytes=4 * MIB, stream_window_bytes=64 * KIB)
    async with open_workers("worker", limits=limits) as (worker,):
        async with worker.open_stream_from(remote.count_arrays, 40, 100_000) as items:
            await items.receive()
            found = {}
            with trio.fail_after(5):
                while not (found := await seen(worker))["copied"]:
                    await trio.sleep(0.01)
            assert found["bytes"] <= limits.max_array_bytes
            number = 0
            async for item in items:
                number += 1
                assert (item == number).all()
            assert number == 39
            assert (await seen(worker))["bytes"] <= limits.max_array_bytes
        del item
        await wait_quiet(worker)


async def test_arrays_in_many_places_of_one_call() -> None:
    async with open_workers("worker") as (worker,):
        large = np.arange(100_000.0)
        value = {"a": [large, (large,)], "b": remote.Parcel("p", large, [large[::2]])}
        again = await worker.run(remote.echo, value)
        for array in (again["a"][0], again["a"][1][0], again["b"].content):
            assert (array == large).all()
        assert (again["b"].more[0] == large[::2]).all()
        async with worker.open_context(remote.parrot, large) as (ctx, first):
            assert (first == large).all()
            async with ctx.open_stream() as stream:
                await stream.send([large])
                assert (await stream.receive())[0].sum() == large.sum()
            assert (await ctx.result()).sum() == large.sum()
        del again, array, first, ctx, stream
        await wait_quiet(worker)


async def test_a_last_result_is_not_lost_with_its_process() -> None:
    async with actorsys.open_nursery() as nursery:
        for _ in range(3):
            portal = await nursery.run_in_actor(remote.ones, 200_000, name="once")
            array = await portal.result()
            assert array.sum() == 200_000
            del array, portal
        await wait_quiet()


@alone
async def test_memory_of_arrays_is_used_again() -> None:
    async with open_workers("worker") as (worker,):
        for number in range(30):
            again = await worker.run(remote.echo, np.full(100_000, number))
            assert (again == number).all()
            del again
        await wait_quiet(worker)
        for portal in (None, worker):
            found = await seen(portal)
            assert found["bytes"] <= 4 * MIB
            assert found["handed_over"] == 30


@pytest.mark.parametrize("is_first", [True, False])
async def test_arrays_of_very_many_fields_are_copied(is_first: bool, tmp_path: Path) -> None:
    code = f"""
    FIELDS = np.zeros(200, [(f"field {{i}}", "f8") for i in range(500)])

    async def body(portal):
        if not {is_first}:
            await portal.run(remote.total, np.ones(100_000))
            await settle()
        before = remote.statistics()["bytes"]
        for _ in range(3):
            again = await portal.run(remote.echo, FIELDS)
            assert again.dtype == FIELDS.dtype
            assert remote.statistics()["bytes"] == before

    trio.run(in_tree, body)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_arrays_of_very_many_dimensions_are_copied() -> None:
    async with open_workers("worker") as (worker,):
        sent = np.ones((1,) * 40 + (100_000,))
        assert (await worker.run(remote.echo, sent)).shape == sent.shape


async def test_padding_shows_nothing_of_another_array() -> None:
    padded = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    async with open_workers("worker") as (worker,):
        await worker.run(remote.echo, np.full(640_000, 0xEE, "u1"))
        await wait_quiet(worker)
        again = await worker.run(remote.echo, np.zeros(40_000, padded))
        gaps = again.view("u1").reshape(-1, 16)[:, 1:8]
        assert not gaps.any()


async def test_more_arrays_can_be_kept_than_there_are_descriptors(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        arrays = [await portal.run(remote.ones, 40_000) for _ in range(150)]
        assert all(array.sum() == 40_000 for array in arrays)
        with open("/dev/null"):
            pass

    trio.run(in_tree, body)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_arrays_leave_their_sender_some_descriptors(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        await portal.run(remote.limit_descriptors, 100)
        arrays = [await portal.run(remote.ones, 40_000) for _ in range(120)]
        assert await portal.run(remote.open_a_file) == "/dev/null"

    trio.run(in_tree, body)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


@alone
async def test_arrays_that_cannot_travel_leave_nothing_behind() -> None:
    async with open_workers("worker") as (worker,):
        for value in (np.array([object()] * 100_000), np.ones(10**5).view(np.matrix)):
            with pytest.raises(actorsys.EncodeError):
                await worker.run(remote.total, value)
        gc.collect()
        await wait_quiet(worker)
        assert (await seen())["bytes"] == 0
