"""A buffer is the same memory in every process that has it, for as long as one has it."""

from __future__ import annotations

import gc
import textwrap
import weakref
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
    outcome,
    run_tree,
    seen,
    wait_quiet,
    wait_seen,
)
from shared_tree import SharedTree, alone

import actorsys
from actorsys import Buffer, Limits, open_buffer, resolve_buffer
from actorsys.limits import MIB

shared_tree = SharedTree(["worker", "other"], MODULE, clear=clear)
pytestmark = pytest.mark.timeout(40)

DTYPES = [
    "?",
    "i1",
    "<u2",
    ">i4",
    "<f2",
    "<f4",
    ">f8",
    "<c16",
    "S5",
    "<U3",
    ">U2",
    "M8[us]",
    "m8[25s]",
    "V7",
]
STRUCTURED = np.dtype([("a", "u1"), ("b", ">f8", (2, 3)), ("c", [("d", "M8[ns]"), ("e", "S3")])])


# --- one memory --------------------------------------------------------------------------------


async def test_what_either_side_writes_the_other_sees() -> None:
    async with open_workers("worker") as (worker,), open_buffer((10, 100), "f8") as buffer:
        array = buffer.array()
        assert array.shape == (10, 100)
        assert not array.any()
        array[:] = 1
        assert await worker.run(remote.add, buffer, 2) == 3000
        assert (array == 3).all()
        assert await worker.run(remote.total_in_thread, buffer) == 3000
        assert await worker.run(remote.total, [buffer][0]) == 3000
        assert await worker.run(remote.resolve, buffer.id, 1) == 4000
        assert (array == 4).all()
        theirs = await worker.run(remote.make, 10, 5.0)
        assert not theirs.is_own
        view = theirs.array()
        view += 1
        assert await worker.run(remote.total, theirs) == 60
        del array, view, theirs
        await wait_seen(worker, own=0, borrowed=0)


async def test_what_comes_home_is_what_went_out() -> None:
    async with open_workers("worker") as (worker,), open_buffer(100, "f8") as buffer:
        assert await worker.run(remote.echo, buffer) is buffer
        assert await worker.run(remote.echo, [buffer, (buffer,)]) == [buffer, (buffer,)]
        assert resolve_buffer(buffer.id) is buffer
        await worker.run(remote.keep, buffer)
        assert await worker.run(remote.give_kept) is buffer
        theirs = await worker.run(remote.make_kept, 100, 1.0)
        assert theirs.id == (await worker.run(remote.give_kept, 1)).id
        assert theirs.array().ctypes.data == resolve_buffer(theirs.id).array().ctypes.data
        del theirs
        await worker.run(remote.drop)
        await wait_quiet(worker, own=1)


@pytest.mark.parametrize("dtype", [*DTYPES, STRUCTURED], ids=lambda dtype: str(dtype)[:20])
@pytest.mark.parametrize("shape", [(), 7, (0,), (3, 0, 2), (2, 3, 4)], ids=repr)
async def test_shape_and_dtype_arrive(shape: Any, dtype: Any) -> None:
    async with actorsys.open_nursery():
        worker_store = actorsys.current_actor().buffers
        async with open_buffer(shape, dtype) as buffer:
            rng = np.random.default_rng(1)
            array = buffer.array()
            raw = rng.integers(0, 1, array.nbytes, dtype="u1").tobytes()
            assert array.tobytes() == raw
            again = worker_store.resolve(buffer.id).array()
            assert (again.shape, again.dtype) == (array.shape, np.dtype(dtype))
            assert buffer.shape == array.shape
            assert buffer.nbytes == array.nbytes
            del array, again


@pytest.mark.parametrize(
    "dtype",
    [*DTYPES, STRUCTURED],
    ids=lambda dtype: str(dtype)[:20],
)
async def test_the_bytes_can_be_had_of_any_dtype(dtype: Any) -> None:
    async with actorsys.open_nursery(), open_buffer((2, 3), dtype) as buffer:
        memory = outcome(buffer.memoryview)
        assert isinstance(memory, memoryview)
        assert (len(memory), memory.format, memory.readonly) == (buffer.nbytes, "B", False)
        del memory


async def test_buffers_travel_inside_of_values_and_everywhere() -> None:
    async with open_workers("worker") as (worker,), open_buffer(100, "f8") as buffer:
        buffer.array()[:] = 1
        value = {"a": [buffer, (buffer, {"b": buffer})], "c": remote.Parcel("p", buffer)}
        again = await worker.run(remote.echo, value)
        assert again["a"] == [buffer, (buffer, {"b": buffer})]
        assert again["c"].content is buffer
        async with worker.open_context(remote.parrot, buffer) as (ctx, first):
            assert first is buffer
            async with ctx.open_stream() as stream:
                for item in (buffer, [buffer] * 10, remote.Parcel("q", [buffer])):
                    await stream.send(item)
                    assert await stream.receive() == item
            assert await ctx.result() is buffer
        async with worker.open_stream_from(remote.count_buffers, 10, 5) as items:
            sums = [item.array().sum() async for item in items]
        assert sums == [5 * i for i in range(10)]
        del again, value, first, item
        await wait_quiet(worker, own=1)
        assert (await seen(worker))["own"] == 0


async def test_buffers_of_interest_to_other_libraries() -> None:
    async with actorsys.open_nursery(), open_buffer((3, 4), "f4") as buffer:
        buffer.array()[:] = 1
        assert np.asarray(buffer).sum() == 12
        assert np.from_dlpack(buffer).sum() == 12
        assert buffer.__dlpack_device__() == (1, 0)
        assert bytes(buffer.memoryview()) == np.ones(12, "f4").tobytes()
        assert np.shares_memory(np.asarray(buffer), buffer.array())


# --- views and ends ----------------------------------------------------------------------------


@alone
async def test_views_outlive_the_release_on_both_sides() -> None:
    async with open_workers("worker", limits=Limits(max_buffer_bytes=1 * MIB)) as (worker,):
        async with open_buffer(100_000, "f8") as buffer:
            view = buffer.array()[::2]
            memory = buffer.memoryview()
            await worker.run(remote.keep, buffer)
        await wait_seen(own=1, accepted=1)
        await worker.run(remote.keep_views)
        view[:] = 2
        assert memory[:8] == np.float64(2).tobytes()
        del memory
        assert await worker.run(remote.kept_totals) == [100_000.0]
        del view
        found = await wait_seen(own=1)
        with trio.move_on_after(0.2) as patience:
            async with open_buffer(100_000, "f8"):
                pass
        assert patience.cancelled_caught, found
        assert await worker.run(remote.kept_totals) == [100_000.0]
        await worker.run(remote.drop)
        with trio.fail_after(2):
            async with open_buffer(100_000, "f8") as second:
                assert not second.array().any()
        await wait_quiet(worker)


async def test_arrays_by_dlpack_outlive_the_release() -> None:
    async with actorsys.open_nursery():
        async with open_buffer(1000, "f8") as buffer:
            array = np.from_dlpack(buffer)
            array[:] = 1
        async with open_buffer(1000, "f8") as second:
            second.array()[:] = 2
            assert array.sum() == 1000
        del array


USE_AFTER_RELEASE = """
    async def body(portal):
        async with open_buffer(1000, "f8") as buffer:
            array = np.asarray(buffer)
            array[:] = 1
            {freeze}
        await settle()
        async with open_buffer(1000, "f8") as second:
            second.array()[:] = 2
            assert array.sum() == 1000, array.sum()

    trio.run(in_tree, body)
    print("done")
    """


@pytest.mark.parametrize("freeze", ["", "buffer.freeze()"])
async def test_arrays_that_numpy_has_made_outlive_the_release(freeze: str, tmp_path: Path) -> None:
    code = USE_AFTER_RELEASE.format(freeze=freeze)
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_memory_is_used_again_and_is_zeros_then() -> None:
    async with open_workers("worker") as (worker,):
        found = {}
        for number in range(20):
            async with open_buffer(1000 + number, "f8") as buffer:
                assert not buffer.array().any()
                assert await worker.run(remote.add, buffer, 7) == 7 * (1000 + number)
            await wait_quiet(worker)
            found = await seen()
        assert found["bytes"] <= 2 * 12288
        assert found["fds"] <= 2
        held = await seen(worker)
        assert (held["fds"], held["maps"]) == (0, 0)


async def test_memory_of_buffers_that_went_by_name_is_used_again() -> None:
    async with open_workers("worker") as (worker,):
        for _ in range(10):
            async with open_buffer(1000, "f8") as buffer:
                await worker.run(remote.resolve_and_keep, buffer.id)
            await worker.run(remote.drop)
            await wait_seen(worker, borrowed=0, fds=0)
        assert (await seen())["bytes"] <= 3 * 8192


async def test_nothing_of_another_buffer_is_mapped_behind_the_end() -> None:
    async with actorsys.open_nursery():
        async with open_buffer(9 * 4096, "u1") as secret:
            secret.array()[:] = 7
        async with open_buffer(8 * 4096 + 1, "u1") as buffer:
            assert buffer.id.split("-")[:3] == secret.id.split("-")[:3]
            whole = buffer.array()
            while isinstance(whole.base, np.ndarray):
                whole = whole.base
            assert not whole.any()


@alone
async def test_one_who_waits_for_room_can_be_cancelled_and_others_get_it() -> None:
    async with actorsys.open_nursery(limits=Limits(max_buffer_bytes=8192)):
        order: list[int] = []

        async def take(number: int, scope: trio.CancelScope) -> None:
            with scope:
                async with open_buffer(1000, "f8") as buffer:
                    order.append(number)
                    assert not buffer.array().any()
                    buffer.array()[:] = number

        scopes = [trio.CancelScope() for _ in range(4)]
        with trio.fail_after(5):
            async with trio.open_nursery() as tasks:
                async with open_buffer(1000, "f8"):
                    for number, scope in enumerate(scopes):
                        tasks.start_soon(take, number, scope)
                    await trio.sleep(0.01)
                    scopes[1].cancel()
                    assert order == []
        assert sorted(order) == [0, 2, 3]
        with pytest.raises(actorsys.BufferPoolFull, match="max_buffer_bytes"):
            async with open_buffer(2000, "f8"):
                pass


async def test_a_full_pool_is_a_checkpoint_no_more_than_an_empty_one() -> None:
    async with actorsys.open_nursery():
        with trio.CancelScope() as scope:
            scope.cancel()
            async with open_buffer(10, "f8"):
                pass
        assert scope.cancelled_caught
        assert (await seen())["own"] == 0


# --- three processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["abc", "cba", "bca", "bac", "acb", "cab"])
async def test_who_was_handed_a_buffer_on_has_it_whoever_lets_go_first(order: str) -> None:
    """*a* owns it, *b* is the root, which hands it on to *c*."""
    async with open_workers("worker", "other") as (a, c):
        buffer: Buffer | None = await a.run(remote.make_kept, 1000, 1.0)
        assert buffer is not None
        await c.run(remote.keep, buffer)
        view: Any = buffer.array()
        left = {"a", "b", "c"}
        for one in order:
            left.discard(one)
            if one == "a":
                await a.run(remote.drop)
            elif one == "c":
                await c.run(remote.drop)
            else:
                buffer = view = None
            if "b" in left:
                view += 1
            if "c" in left:
                (total,) = await c.run(remote.kept_totals)
                assert view is None or total == view.sum()
            await wait_seen(a, own=1 if left else 0)
        await wait_quiet(a, c)


async def test_a_buffer_goes_through_three_generations_and_comes_home() -> None:
    async with open_workers("worker") as (middle,), open_buffer(100, "f8") as buffer:
        async with middle.open_context(remote.relay) as (ctx, _), ctx.open_stream() as stream:

            async def ask(name: str, *args: Any) -> Any:
                await stream.send((name, args))
                return await stream.receive()

            assert await ask("add", buffer, 1) == 100
            theirs = await ask("make_kept", 10, 3.0)
            theirs.array()[:] = 4
            assert await ask("kept_totals") == [40.0]
            await ask("drop")
            assert theirs.array().sum() == 40
            await theirs.release()
            del theirs
            await wait_quiet(own=1)
            with trio.fail_after(5):
                while (found := await ask("look"))["own"] or found["borrowed"]:
                    await trio.sleep(0.01)
            assert (found["fds"], found["maps"]) == (1, 1)


async def test_a_buffer_comes_home_from_who_has_it_from_another() -> None:
    async with open_workers("worker", "other") as (middle, end), open_buffer(10, "f8") as buffer:
        await middle.run(remote.keep_at, "other", buffer)
        assert await end.run(remote.give_kept) is buffer
        await end.run(remote.drop)
        await wait_quiet(middle, end, own=1)


async def test_what_a_borrower_gives_back_to_a_borrower_is_let_go_by_both() -> None:
    async with open_workers("worker", "other") as (owner, other):
        buffer = await owner.run(remote.make, 10, 1.0)
        again = await other.run(remote.echo, buffer)
        assert again.id == buffer.id
        del buffer, again
        await wait_quiet(owner, other)


async def test_a_function_can_return_a_buffer_out_of_its_block() -> None:
    async with open_workers("worker") as (worker,):
        buffer = await worker.run(remote.make_in_a_block, 100, 3.0)
        assert buffer.array().sum() == 300
        await buffer.release()
        await wait_quiet(worker)


async def test_a_function_cannot_return_what_it_has_released() -> None:
    async with open_workers("worker") as (worker,):
        with pytest.raises(actorsys.BufferReleased):
            await worker.run(remote.release_and_return, 100)
        await wait_quiet(worker)


# --- ends of calls -----------------------------------------------------------------------------


async def check_nothing_left(worker: actorsys.Portal, own: int = 0) -> None:
    """Check that nothing is held, though no garbage was collected there."""
    with trio.fail_after(5):
        while True:
            found = await worker.run(remote.look_at_once)
            if not (found["own"] or found["borrowed"] or found["pending"] or found["accepted"]):
                break
            await trio.sleep(0.01)
    await wait_quiet(worker, own=own)


@pytest.mark.parametrize("is_mapped", [True, False])
async def test_errors_leave_no_lease_behind(is_mapped: bool) -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        value = buffer if is_mapped else [buffer]
        large = np.ones(100_000)
        for _ in range(3):
            with pytest.raises((ValueError, AttributeError)):
                await worker.run(remote.fail_with, value)
            with pytest.raises(ValueError, match="no good"):
                await worker.run(remote.fail_with, large)
            with pytest.raises(RuntimeError):
                await worker.run(remote.raise_with, value)
            with pytest.raises(RuntimeError):
                await worker.run(remote.raise_with, large)
            with pytest.raises(actorsys.EncodeError):
                await worker.run(remote.unsendable, value)
            with pytest.raises(actorsys.EncodeError):
                await worker.run(remote.echo, [buffer, large, object()])
            with pytest.raises(actorsys.NotExposed):
                await worker.run("buffer_functions:nothing", buffer, large)
            with pytest.raises(TypeError):
                await worker.run(remote.echo, buffer, large)
        gc.collect()
        await check_nothing_left(worker, own=1)


@alone
async def test_what_could_not_be_sent_was_not_handed_over() -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        with pytest.raises(actorsys.EncodeError):
            await worker.run(remote.echo, [buffer, np.ones(100_000), object()])
        assert (await seen())["handed_over"] == 0


async def talk_for_ever(worker: actorsys.Portal, value: Any) -> None:
    """Send a value back and forth."""
    async with worker.open_context(remote.parrot, value) as (ctx, _), ctx.open_stream() as stream:
        while True:
            await stream.send(value)
            await stream.receive()


@pytest.mark.parametrize("seconds", [0, 0.001, 0.01, 0.05])
async def test_cancelled_calls_leave_no_lease_behind(seconds: float) -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        large = np.ones(100_000)
        value: Any
        for value in (buffer, large, remote.Parcel("p", [buffer, large])):
            for function in (remote.wait_with, remote.echo):
                with trio.move_on_after(seconds):
                    await worker.run(function, value)
            with trio.move_on_after(seconds):
                await talk_for_ever(worker, value)
        value = None
        await check_nothing_left(worker, own=1)


async def test_a_buffer_that_is_kept_is_not_lent_without_end() -> None:
    async with open_workers("worker") as (worker,), open_buffer(10, "f8") as buffer:
        await worker.run(remote.keep, buffer)
        for _ in range(50):
            await worker.run(remote.total, buffer)
        assert (await seen())["accepted"] <= 2


async def test_a_stream_that_was_read_to_its_end_leaves_no_lease_behind() -> None:
    async with open_workers("worker") as (worker,):
        async with worker.open_stream_from(remote.count_buffers, 500, 10) as items:
            async for item in items:
                item.array()
        item = None
        await check_nothing_left(worker)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_what_nobody_has_read_of_a_stream_is_let_go_with_it(is_cancelled: bool) -> None:
    async with open_workers("worker") as (worker,):
        with trio.CancelScope() as scope:
            async with worker.open_stream_from(remote.count_buffers, 100, 10) as items:
                await items.receive()
                await wait_seen(worker, pending=0, accepted=99)
                if is_cancelled:
                    scope.cancel()
        await wait_quiet(worker)
        assert items is not None


@alone
async def test_an_item_that_was_cancelled_while_it_waited_is_not_lent() -> None:
    limits = Limits(stream_window_bytes=1024)
    async with open_workers("worker", limits=limits) as (worker,), open_buffer(10, "f8") as buffer:
        async with worker.open_context(remote.ignore_stream) as (ctx, _):
            async with ctx.open_stream() as stream:
                with trio.move_on_after(0.3):
                    while True:
                        await stream.send([buffer, b"x" * 500])
                found = await seen()
                held = await seen(worker)
                assert found["pending"] == 0, (found, held)
                await ctx.cancel()
        await wait_quiet(worker, own=1)


async def test_a_result_that_was_cancelled_while_it_waited_is_not_lent() -> None:
    async with open_workers("worker") as (worker,):
        with trio.move_on_after(0.2):
            await worker.run(remote.make_for_a_full_outbox, 10)
        found = await worker.run(remote.look)
        assert (found["own"], found["pending"]) == (0, 0)


# --- use in threads and by names ----------------------------------------------------------------


async def test_a_plain_function_can_resolve_a_name() -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        buffer.array()[:] = 1
        assert await worker.run(remote.total_by_id_in_thread, buffer.id) == 1000


async def test_a_plain_function_can_look_at_the_statistics() -> None:
    async with open_workers("worker") as (worker,):
        for _ in range(5):
            assert (await worker.run(remote.look_in_thread))["borrowed"] == 0
        await wait_quiet(worker)


async def test_many_buffers_take_a_descriptor_each_and_give_it_back() -> None:
    before = remote.shared_mappings(), len(remote.shared_fds())
    async with open_workers("worker") as (worker,):
        buffers = [await worker.run(remote.make, 10, float(i)) for i in range(100)]
        assert [buffer.array()[0] for buffer in buffers] == list(range(100))
        assert (await seen())["borrowed"] == 100
        del buffers
        await wait_quiet(worker)
        assert (remote.shared_mappings(), len(remote.shared_fds())) == before


_NO_DESCRIPTORS = """
import contextlib

@contextlib.contextmanager
def no_descriptors_left():
    files = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    try:
        while True:
            files.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    yield
    for fd in files:
        os.close(fd)
"""


async def check_without_descriptors(folder: Path, body: str) -> None:
    """Run *body*, in which `no_descriptors_left` is a context manager, as the root of a tree."""
    code = f"{_NO_DESCRIPTORS}\n{textwrap.dedent(body)}\ntrio.run(in_tree, body)\nprint('done')"
    check_silent(await trio.to_thread.run_sync(run_tree, folder, code))


async def test_who_has_no_descriptors_left_is_told_so(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        with no_descriptors_left():
            try:
                with trio.fail_after(2):
                    async with open_buffer(10, "f8"):
                        pass
            except actorsys.BufferPoolFull:
                pass
    """
    await check_without_descriptors(tmp_path, code)


async def test_who_could_not_open_what_he_was_lent_says_so(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        with no_descriptors_left():
            for _ in range(3):
                try:
                    await portal.run(remote.make, 10, 1.0)
                except actorsys.EncodeError:
                    pass
        await settle()
        found = await portal.run(remote.look)
        assert found["pending"] == 0, found
    """
    await check_without_descriptors(tmp_path, code)


async def test_the_last_buffer_of_an_owner_can_go_as_he_does(tmp_path: Path) -> None:
    code = """
    class AtTheSameTime(trio.abc.Instrument):
        buffer = None

        def task_scheduled(self, task):
            if self.buffer is not None and "_wait_end" in task.name:
                buffer, self.buffer = self.buffer, None
                buffer.release_nowait()

    async def main():
        instrument = AtTheSameTime()
        trio.lowlevel.add_instrument(instrument)
        try:
            async with actorsys.open_nursery() as nursery:
                portal = await nursery.start_actor("worker", modules=["buffer_functions"])
                instrument.buffer = await portal.run(remote.make, 10, 1.0)
                await portal.run(remote.die, "decoded", None)
        except* actorsys.ActorDied:
            pass

    trio.run(main)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


# --- frozen ------------------------------------------------------------------------------------


async def test_what_is_frozen_nobody_can_write_to() -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        array = buffer.array()
        array[:] = 1
        buffer.freeze()
        assert buffer.is_frozen
        assert not array.flags.writeable
        assert (await worker.run(remote.write_by_force, buffer)).startswith("refused")
        assert (
            await worker.run(remote.try_to_write, buffer) == "assignment destination is read-only"
        )
        assert await worker.run(remote.total, buffer) == 1000
        theirs = await worker.run(remote.make_frozen, 10, 2.0)
        assert theirs.is_frozen
        assert not theirs.array().flags.writeable
        assert theirs.memoryview().readonly
        assert not np.asarray(theirs).flags.writeable
        with pytest.raises(actorsys.BufferFault):
            theirs.freeze()
        assert theirs.array().sum() == 20
        await theirs.release()
        del theirs, array


async def test_what_was_frozen_is_never_used_again() -> None:
    before = remote.shared_mappings(), len(remote.shared_fds())
    async with open_workers("worker") as (worker,):
        for _ in range(5):
            async with open_buffer(1000, "f8") as buffer:
                buffer.array()[:] = 1
                buffer.freeze()
                assert await worker.run(remote.total, buffer) == 1000
            await wait_quiet(worker)
            assert (await seen())["bytes"] == 0
            assert (remote.shared_mappings(), len(remote.shared_fds())) == before
        async with open_buffer(1000, "f8") as buffer:
            buffer.array()[:] = 2


# --- garbage -----------------------------------------------------------------------------------


async def test_a_buffer_is_no_cycle() -> None:
    async with actorsys.open_nursery():
        gc.disable()
        try:
            buffer = remote.new_buffer()
            array = buffer.array()
            gone = weakref.ref(buffer)
            del buffer
            assert gone() is None
            del array
            assert actorsys.current_actor().buffers.statistics().own == 0
        finally:
            gc.enable()
