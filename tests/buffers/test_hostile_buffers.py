"""Bad names, bad use, and peers that keep to no rules: an error for whoever is wrong, at most."""

from __future__ import annotations

import gc
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import buffer_functions as remote
import msgpack
import numpy as np
import pytest
import trio
from buffer_helpers import (
    MODULE,
    check_silent,
    open_workers,
    outcome,
    run_tree,
    seen,
    wait_quiet,
    wait_seen,
)
from tree_helpers import noting

import actorsys
from actorsys import Buffer, BufferFault, Limits, open_buffer, resolve_buffer

pytestmark = pytest.mark.timeout(40)

BUFFER, ARRAY = 32, 33
CODES = pytest.mark.parametrize("code", [BUFFER, ARRAY])


# --- what cannot be opened ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "error"),
    [
        (3, "O", actorsys.NotShareable),
        (3, [("a", "i4"), ("b", "O")], actorsys.NotShareable),
        ((2**60, 2**60), "f8", ValueError),
        (2**62, "u1", ValueError),
        ((2**24, 2**24), "u1", actorsys.BufferPoolFull),
        (-1, "f8", ValueError),
        ((1,) * 33, "f8", TypeError),
        ("12", "f8", TypeError),
        (1.5, "f8", TypeError),
        (3, "no dtype", TypeError),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_array_is_not_opened(shape: Any, dtype: Any, error: Any) -> None:
    async with actorsys.open_nursery():
        with pytest.raises(error):
            async with open_buffer(shape, dtype):
                pass
        assert (await seen())["own"] == 0


@pytest.mark.parametrize("device", ["cuda:0", "gpu", "", "CPU"])
async def test_there_is_no_other_device(device: str) -> None:
    async with actorsys.open_nursery():
        with pytest.raises(actorsys.DeviceUnavailable, match=repr(device)):
            async with open_buffer(3, "f8", device=device):
                pass


async def test_there_are_no_buffers_without_an_actor() -> None:
    with pytest.raises(actorsys.NoRuntime):
        async with open_buffer(3, "f8"):
            pass
    with pytest.raises(actorsys.NoRuntime):
        resolve_buffer("1-2-3-4")


@pytest.mark.parametrize(
    "make_dtype",
    [
        lambda: np.dtype(("f4", (2,))),
        lambda: np.dtype("S"),
        lambda: np.dtype([("a", "f4", (2,)), ("b", [("c", ">i2")])]),
        lambda: np.dtype([("a", "u1"), ("b", "f8")], align=True),
    ],
)
async def test_what_opens_has_an_array_that_is_shared(make_dtype: Callable[[], Any]) -> None:
    dtype = make_dtype()
    async with actorsys.open_nursery():
        try:
            async with open_buffer(3, dtype) as buffer:
                first, second = outcome(buffer.array), outcome(buffer.array)
                assert isinstance(first, np.ndarray)
                shares = np.shares_memory(first, second)
                del first, second
                assert shares
        except (BufferFault, ValueError):
            pass  # it was refused in time


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "1-2-3",
        "1-2-3-4-5",
        "x-2-3-4",
        "-1-2-3-4",
        "8000000000000000-1-1-1",
        "1-1-1-8000000000000000",
        "1,2,3,4",
        "../../etc/passwd",
        "\0-\0-\0-\0",
        "a" * 100_000,
    ],
    ids=lambda name: repr(name)[:30],
)
async def test_what_is_no_name_is_refused(name: str) -> None:
    async with actorsys.open_nursery():
        with pytest.raises(ValueError, match=r"no name of a buffer|four numbers"):
            resolve_buffer(name)


async def test_names_that_were_forged_find_nothing() -> None:
    async with actorsys.open_nursery(), open_buffer(1000, "f8") as buffer:
        pid, fd, inode, generation = (int(part, 16) for part in buffer.id.split("-"))
        before = await seen()
        for forged in (
            (pid, fd, inode, generation + 1),
            (pid, fd, inode, generation - 1),
            (pid, fd, inode + 1, generation),
            (pid, fd + 10_000, inode, generation),
            (pid, 0, inode, generation),
            (pid, 2**62, inode, generation),
            (1, fd, inode, generation),
            (0, fd, inode, generation),
            (2**22 + 1, fd, inode, generation),
            (2**62, 2**62, 2**62, 2**62),
        ):
            with pytest.raises((actorsys.StaleBuffer, actorsys.BufferLost, actorsys.NotReachable)):
                resolve_buffer("-".join(f"{number:x}" for number in forged))
        assert await seen() == before
        assert resolve_buffer(buffer.id) is buffer


async def test_a_name_is_stale_once_the_buffer_is_released_everywhere() -> None:
    async with open_workers("worker") as (worker,):
        async with open_buffer(1000, "f8") as buffer:
            assert await worker.run(remote.resolve, buffer.id, 2.0) == 2000
        await wait_quiet(worker)
        assert await worker.run(remote.resolve_fault, buffer.id) == "StaleBuffer"
        with pytest.raises(actorsys.StaleBuffer):
            resolve_buffer(buffer.id)
        async with open_buffer(1000, "f8") as again:
            assert again.id != buffer.id
            assert await worker.run(remote.resolve_fault, buffer.id) == "StaleBuffer"
            with pytest.raises(actorsys.StaleBuffer):
                resolve_buffer(buffer.id)


async def test_what_was_released_here_is_found_by_name_while_another_has_it() -> None:
    async with open_workers("worker") as (worker,):
        async with open_buffer(1000, "f8") as buffer:
            buffer.array()[:] = 1
            await worker.run(remote.keep, buffer)
        async with resolve_buffer(buffer.id) as again:
            assert again.array().sum() == 1000
            again.array()[:] = 2
        assert await worker.run(remote.kept_totals) == [2000]
        await worker.run(remote.drop)
        await wait_quiet(worker)


# --- use ---------------------------------------------------------------------------------------


async def test_a_buffer_that_was_released_is_refused_everywhere() -> None:
    async with open_workers("worker") as (worker,):
        async with open_buffer(1000, "f8") as buffer:
            await buffer.release()
            await buffer.release()
            buffer.release_nowait()
            for use in (
                buffer.array,
                buffer.memoryview,
                buffer.freeze,
                buffer.__dlpack__,
                lambda: np.asarray(buffer),
            ):
                with pytest.raises(actorsys.BufferReleased):
                    use()
            with pytest.raises(actorsys.BufferReleased):
                async with buffer:
                    pass
            with pytest.raises(actorsys.BufferReleased):
                await worker.run(remote.total, buffer)
            assert "released" in repr(buffer)
            assert (buffer.shape, buffer.dtype, buffer.nbytes) == ((1000,), np.dtype("f8"), 8000)
        await wait_quiet(worker)


async def test_a_borrower_cannot_freeze() -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        assert await worker.run(remote.try_to_freeze, buffer) == "BufferFault"
        assert not buffer.is_frozen
        buffer.array()[:] = 1


async def test_what_a_borrower_may_write_to_cannot_be_frozen_until_he_has_let_it_go() -> None:
    async with open_workers("worker") as (worker,), open_buffer(1000, "f8") as buffer:
        array = buffer.array()
        await worker.run(remote.keep, buffer)
        assert await worker.run(remote.kept_totals) == [0.0]
        with pytest.raises(BufferFault, match="before it is handed over"):
            buffer.freeze()
        assert not buffer.is_frozen
        array[:] = 1
        assert await worker.run(remote.kept_totals) == [1000.0]
        await worker.run(remote.drop)
        await wait_seen(worker, borrowed=0, maps=0)
        buffer.freeze()
        buffer.freeze()
        assert buffer.is_frozen
        for write in (array, buffer.array(), np.asarray(buffer)):
            with pytest.raises(ValueError, match="read-only"):
                write[0] = 2
        assert buffer.memoryview().readonly
        assert (
            await worker.run(remote.try_to_write, buffer) == "assignment destination is read-only"
        )
        assert (await worker.run(remote.write_by_force, buffer)).startswith("refused")
        assert array.sum() == 1000


async def test_a_buffer_does_not_reach_another_tree() -> None:
    key = b"k" * 32
    async with actorsys.open_nursery(), open_buffer(1000, "f8") as buffer:
        async with (
            actorsys.open_endpoint("tcp:127.0.0.1:0", modules=[MODULE], allow={"ann": key}) as door,
            actorsys.open_link(door.address, key=key, name="ann") as portal,
        ):
            for value in (buffer, [buffer], {"a": (buffer,)}, remote.Parcel("a", buffer)):
                with pytest.raises(actorsys.NotReachable, match="send a copy"):
                    await portal.run(remote.total, value)
            with pytest.raises(actorsys.NotReachable):
                await portal.run(remote.make, 10, 1.0)
            large = np.arange(100_000.0)
            assert await portal.run(remote.total, large) == large.sum()
            assert ((await portal.run(remote.echo, large)) == large).all()
            found = await seen()
            assert (found["own"], found["pending"], found["copied"]) == (1, 0, 0)


@CODES
async def test_another_tree_cannot_name_a_buffer_of_this_machine(code: int) -> None:
    key = b"k" * 32
    async with actorsys.open_nursery(), open_buffer(1000, "f8") as buffer:
        buffer.array()[:] = 1
        forged = msgpack.ExtType(code, remote.packed_name(buffer))
        async with (
            actorsys.open_endpoint("tcp:127.0.0.1:0", modules=[MODULE], allow={"ann": key}) as door,
            actorsys.open_link(door.address, key=key, name="ann") as portal,
        ):
            with pytest.raises(actorsys.NotReachable):
                await portal.run(remote.total, forged)


# --- a peer that keeps to no rules ------------------------------------------------------------


def lent(*numbers: Any) -> bytes:
    return bytes(msgpack.packb(list(numbers)))


NONSENSE = [
    b"",
    b"\xc1",
    lent(),
    lent(1),
    lent(1, 2, 3, 4),
    lent(1, 2, 3, 4, 5, 6),
    lent("1", 2, 3, 4, 5),
    lent(1, "2", 3, 4, 5),
    lent(True, 2, 3, 4, 5),
    lent(1, True, 3, 4, 5),
    lent(1, -2, 3, 4, 5),
    lent(1, 2, 3, 4, 2**63),
    lent(1, 2, 3, 4, msgpack.ExtType(5, b"\x7f" * 100)),
    lent(1, [2], 3, 4, 5),
    lent(1, 2.0, 3, 4, 5),
    bytes(msgpack.packb(7)),
    bytes(msgpack.packb({"a": 1})),
    bytes(msgpack.packb("abcde")),
    lent(1, 1, 0, 1, 1),
    lent(1, 2**40, 2**40, 1, 1),
]


async def test_nonsense_on_the_wire_fails_its_call_alone() -> None:
    async with open_workers("worker") as (worker,):
        await worker.run(remote.turn)
        for code, data in itertools.product((BUFFER, ARRAY), NONSENSE):
            with noting(f"{code}: {data!r}"):
                with pytest.raises(
                    (actorsys.EncodeError, actorsys.BufferFault), match="an answer of"
                ):
                    await worker.run(remote.say, code, data)
                found = await seen()
                assert (found["borrowed"], found["fds"]) == (0, 0)
        assert await worker.run(remote.echo, 1) == 1


NOT_LENT: list[tuple[Any, Any]] = [
    ([0], []),
    ([], [0]),
    ([-1], []),
    (["0"], []),
    ([], [None]),
    ([True], []),
    ([0.0], []),
    ([], [2**200]),
    ([[]], []),
    ("0", ""),
    ({0: 1}, {}),
]


async def test_a_note_about_what_was_not_lent_ends_the_link_and_no_more() -> None:
    async with open_workers("honest") as (honest,):
        for accepted, released in NOT_LENT:
            with noting(f"accepted {accepted!r}, released {released!r}"):
                async with open_liar() as (worker, buffer):
                    await honest.run(remote.keep, buffer)
                    await worker.run(remote.note, accepted, released)
                    await worker.run(remote.hang)
                assert await honest.run(remote.kept_totals) == [0.0]
                await honest.run(remote.drop)


@asynccontextmanager
async def open_liar() -> AsyncIterator[tuple[actorsys.Portal, Buffer]]:
    """Open a buffer, and start an actor whose link breaks within the block."""
    with pytest.raises((actorsys.ActorUnavailable, BaseExceptionGroup)):
        async with actorsys.open_nursery() as nursery:
            worker = await nursery.start_actor("worker", modules=[MODULE])
            async with open_buffer(10, "f8") as buffer:
                yield worker, buffer


async def test_a_note_that_is_no_list_harms_nobody() -> None:
    async with open_workers("worker") as (worker,):
        for number in (7, None, 1.5, True):
            with noting(repr(number)):
                await worker.run(remote.note, number, number)
                assert await worker.run(remote.echo, 1) == 1


async def test_a_lease_is_accepted_once_and_released_once() -> None:
    notes: Any
    for notes in ([([0], []), ([0], [])], [([], [0]), ([], [0])], [([], [0, 0])]):
        async with open_liar() as (worker, buffer):
            await worker.run(remote.keep_without_books, buffer)
            for note in notes:
                await worker.run(remote.note, *note)
            await worker.run(remote.hang)
        gc.collect()


async def test_what_a_peer_lends_without_end_is_let_go() -> None:
    async with open_workers("worker") as (worker,):
        await worker.run(remote.turn)
        for code, shape in ((BUFFER, 10), (BUFFER, 0), (ARRAY, 10)):
            with noting(f"code {code}, shape {shape}"):
                for _ in range(3):
                    assert len(await worker.run(remote.lend_unasked, code, 5, shape)) == 5
                await wait_seen(borrowed=0, fds=0, maps=0)


async def test_what_a_peer_has_sealed_can_be_read_and_is_let_go() -> None:
    async with open_workers("worker") as (worker,):
        await worker.run(remote.turn)
        async with await worker.run(remote.lend_sealed, BUFFER) as buffer:
            assert not buffer.array().any()
            assert not buffer.array().flags.writeable
        await wait_seen(borrowed=0, fds=0, maps=0)


LEFT_BEHIND = {
    "an array of no bytes, which nobody is a user of": "(remote.lend_unasked, 33, 1, 0)",
    "an array that cannot be written to": "(remote.lend_sealed, 33)",
    "a name with a thread for a process, of which there is no pidfd": "(remote.name_by_thread,)",
    "an array with a thread for a process": "(remote.lend_by_thread, 33)",
}


async def test_nothing_is_left_behind_of_what_a_peer_should_not_lend(tmp_path: Path) -> None:
    code = f"""
    async def body(portal):
        await portal.run(remote.turn)
        for kind, call in {LEFT_BEHIND}.items():
            for _ in range(3):
                try:
                    found = await portal.run(*eval(call))
                    if isinstance(found, str):
                        await resolve_buffer(found).release()
                except (actorsys.ActorsysError, OSError) as error:
                    print(repr(error))
                found = None
            await settle()
            assert not remote.shared_fds(), kind

    trio.run(in_tree, body)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_a_page_that_lies_is_not_believed() -> None:
    pages = [
        b"\xc1",
        lent(),
        lent([10], "<f8"),
        lent([1025], "<f8", "C"),
        lent([-1], "<f8", "C"),
        lent([10], "|O", "C"),
        lent([10], "<f8", "A"),
        lent([10], "<f8", ["C"]),
        lent([2**40, 2**40], "<f8", "C"),
        lent([10], [["a", "|O"]], "C"),
        lent("12", "<f8", "C"),
        lent(10.5, "<f8", "C"),
        lent([1] * 33, "|u1", "C"),
        lent([1], "import os", "C"),
        lent([1], "|V2000000000", "C"),
    ]
    async with open_workers("worker") as (worker,):
        await worker.run(remote.turn)
        for code, page in itertools.product((BUFFER, ARRAY), pages):
            with noting(f"{code}: {page!r}"):
                with pytest.raises(actorsys.StaleBuffer, match="an answer of"):
                    await worker.run(remote.lend_described, code, page)
                found = await seen()
                assert (found["borrowed"], found["fds"]) == (0, 0)


async def test_a_page_of_rows_without_bytes_takes_no_memory(tmp_path: Path) -> None:
    code = """
    ROWS = b"\\x93\\x91\\xce\\x10\\x00\\x00\\x00\\xa3|S0\\xa1C"

    async def body(portal):
        await portal.run(remote.turn)
        try:
            array = await portal.run(remote.lend_described, 33, ROWS)
        except (actorsys.EncodeError, actorsys.StaleBuffer):
            return
        assert array.nbytes <= 4096, array.nbytes

    trio.run(in_tree, body)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_a_borrower_that_seals_a_buffer_does_not_harm_its_owner(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        for is_array in (False, True):
            async with open_buffer(1000, "f8") as buffer:
                await portal.run(remote.seal_against_writing, buffer)
                value = buffer.array() if is_array else None
            value = None
            await settle()
        async with open_buffer(1000, "f8") as buffer:
            assert not buffer.array().any()

    trio.run(in_tree, body)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_a_borrower_that_locks_a_buffer_alone_costs_its_owner_that_memory_only() -> None:
    async with open_workers("worker", "other", limits=Limits(max_buffer_bytes=8192)) as portals:
        worker, other = portals
        async with open_buffer(500, "f8") as buffer:
            await worker.run(remote.lock_alone, buffer)
            with pytest.raises(actorsys.StaleBuffer, match="an argument of"):
                await other.run(remote.total, buffer)
        async with open_buffer(500, "f8") as second:
            assert second.id.split("-")[:3] != buffer.id.split("-")[:3]
            assert await other.run(remote.total, second) == 0
            with trio.move_on_after(0.3) as patience:
                async with open_buffer(500, "f8"):
                    pass
            assert patience.cancelled_caught
        await worker.run(remote.close_kept)
        with trio.fail_after(2):
            async with open_buffer(500, "f8") as one, open_buffer(500, "f8") as two:
                assert not one.array().any()
                assert not two.array().any()


async def test_a_lease_with_a_long_number_ends_a_link_at_most(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        await portal.run(remote.turn)
        for size in range(8112, 8152, 8):
            try:
                with trio.move_on_after(0.5):
                    await portal.run(remote.lend_numbered, 32, size)
            except actorsys.ActorsysError:
                pass
        await settle()

    async def main():
        try:
            await in_tree(body, Limits(max_message_bytes=8192))
        except* actorsys.ActorDied:
            pass

    trio.run(main)
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))


async def test_many_buffers_can_be_dropped_at_once_where_messages_are_short(tmp_path: Path) -> None:
    code = """
    async def body(portal):
        buffers = [await portal.run(remote.make, 1, 1.0) for _ in range(600)]
        buffers.clear()
        await settle()

    trio.run(in_tree, body, Limits(max_message_bytes=1024))
    print("done")
    """
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))
