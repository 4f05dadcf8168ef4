"""Runs whose participants are processes."""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import carrier_helpers as remote
import numpy as np
import psutil
import pytest
import trio
from tree_helpers import in_one_process

import actorsys
from actorsys import ActorDied, EncodeError, NotExposed, RemoteActorError, SpawnError
from actorsys.carriers import Participant, open_participants

pytestmark = pytest.mark.slow


@dataclasses.dataclass
class Inner:
    values: Any


@dataclasses.dataclass
class Outer:
    inner: Inner
    choices: Mapping[int, Any]


async def test_each_participant_is_a_process_and_none_is_left() -> None:
    async with open_participants(
        [Participant(remote.Answering)] * 2, coordinator=Participant(remote.Asking)
    ) as run:
        assert await run.coordinate(21) == [42, 42]
        pids = [portal.pid for portal in run.portals]
        assert await run.snapshot(remote.pid_of) == pids[:2]
        assert len({*pids, os.getpid()}) == 4
        portals = run.portals
    assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)
    for portal in portals:
        gone = portal.peer.gone
        assert isinstance(gone, ActorDied)
        assert gone.exit_code == 0


async def test_a_run_without_a_coordinator_is_started_by_the_first_participant() -> None:
    async with open_participants([Participant("carrier_helpers:PingPong")] * 2) as run:
        await run.start(0)
        await run.quiescent()
        assert await run.snapshot("carrier_helpers:received") == [
            [1, 3, 5, 7, 9],
            [0, 2, 4, 6, 8, 10],
        ]
        assert (run.statistics().messages, run.in_flight) == (11, 0)


@in_one_process
async def test_an_empty_run_is_quiescent() -> None:
    async with open_participants([Participant(remote.Recorder)]) as run:
        await run.quiescent()
        with pytest.raises(ValueError, match="there is 1"):
            await run.start(0)
        with pytest.raises(ValueError, match="no coordinator"):
            await run.coordinate(0)


async def test_values_arrive_whole_and_as_copies() -> None:
    array = np.array([[np.nan, -0.0], [np.inf, 1.0]], order="F")
    content = Outer(
        Inner([array, np.float32(1.5), np.array(3), np.empty((0, 2)), array[::2, 1]]),
        {1: (frozenset({1, 2}), None), -7: uuid.UUID(int=3)},
    )
    async with open_participants(
        [Participant(remote.Recorder)] * 2, types=[f"{__name__}:Inner", Outer]
    ) as run:
        await run.start(content)
        await run.quiescent()
        ((), (arrived,)) = await run.snapshot(remote.received)
    assert arrived.choices == content.choices
    for sent, got in zip(content.inner.values, arrived.inner.values, strict=True):
        assert (type(got), got.dtype, got.shape) == (type(sent), sent.dtype, sent.shape)
        assert got.tobytes() == sent.tobytes()
    assert arrived.inner.values[0].flags.writeable


async def test_quiescence_follows_the_last_handler_of_every_burst() -> None:
    seed = int.from_bytes(os.urandom(3), "big")
    participants = [Participant(remote.Branching, args=(seed + each,)) for each in range(4)]
    async with open_participants(participants) as run:
        for _ in range(25):
            await run.start(5)
            await run.quiescent()
            handled = sum(await run.snapshot(remote.handled))
            assert handled == run.statistics().messages, f"seed {seed}"


async def test_numbered_messages_arrive_in_order() -> None:
    async with open_participants(
        [Participant(remote.Recorder)], coordinator=Participant(remote.Flooding)
    ) as run:
        await run.coordinate(10_000)
        await run.quiescent()
        assert await run.snapshot(remote.received) == [[*range(10_000)]]


async def test_threads_of_a_participant_may_send() -> None:
    async with open_participants([Participant(remote.Threads)] * 2) as run:
        await run.start("go")
        await run.quiescent()
        received, _ = await run.snapshot(remote.received)
        assert run.in_flight == 0
    assert len(received) == 4000
    for thread in range(8):
        assert [n for t, n in received if t == thread] == [*range(500)]


@in_one_process
async def test_a_snapshot_may_be_a_coroutine_function() -> None:
    async with open_participants([Participant(remote.Branching, args=(1,))]) as run:
        assert await run.snapshot(remote.handled_later) == [0]


@in_one_process
async def test_a_snapshot_finds_only_what_is_offered() -> None:
    async with open_participants([Participant(remote.Recorder)]) as run:
        for name in ("os:getpid", "carrier_helpers:_hidden", "carrier_helpers:Bus"):
            with pytest.raises(NotExposed):
                await run.snapshot(name)
        await run.quiescent()


async def test_a_factory_that_cannot_be_imported_is_a_spawn_error() -> None:
    with pytest.raises(SpawnError, match="No module named") as caught:
        async with open_participants(
            [Participant(remote.Recorder), Participant("no_such_module:make")]
        ):
            pytest.fail("it has started")
    assert "participant 2 (no_such_module:make)" in str(caught.value.__notes__)


@in_one_process
async def test_the_error_of_a_factory_is_raised_with_its_participant() -> None:
    with pytest.raises(LookupError, match="no algorithm number 7") as caught:
        async with open_participants([Participant(remote.failing_factory, args=(7,))]):
            pytest.fail("it has started")
    assert isinstance(caught.value, RemoteActorError)
    assert "participant 1 (carrier_helpers:failing_factory)" in str(caught.value.__notes__)


@in_one_process
async def test_a_factory_that_its_module_only_imports_is_refused() -> None:
    with pytest.raises(NotExposed):
        async with open_participants([Participant("carrier_helpers:Bus")]):
            pytest.fail("it has started")


@pytest.mark.parametrize("delivery", ["parallel", None])
async def test_an_unknown_delivery_is_refused(delivery: Any) -> None:
    with pytest.raises(ValueError, match="concurrent"):
        async with open_participants([], delivery=delivery):
            pytest.fail("it has started")


@in_one_process
async def test_an_error_of_the_coordinator_is_raised_and_the_run_goes_on() -> None:
    async with open_participants(
        [Participant(remote.Failing)], coordinator=Participant(remote.Asking)
    ) as run:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="cannot handle 5") as caught:
                await run.coordinate(5)
        assert "participant-1" in caught.value.tb_str or caught.value.src_uid[0] == "participant-1"
        await run.quiescent()


@in_one_process
async def test_a_cancelled_coordination_leaves_the_run_usable(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    async with open_participants(
        [Participant(remote.Recorder)], coordinator=Participant(remote.Noting, args=(str(notes),))
    ) as run:
        with trio.move_on_after(0.2):
            await run.coordinate(0)
        await run.quiescent()
        assert notes.read_text() == "CancelledError\n"
        assert await run.snapshot(remote.received) == [["?"]]


async def test_a_result_that_means_nothing_here_is_refused_and_named() -> None:
    async with open_participants([], coordinator=Participant(remote.make_secretive)) as run:
        with pytest.raises(EncodeError, match=r"participant 1 .*Secret.* is not registered"):
            await run.coordinate(0)
        await run.quiescent()


@in_one_process
async def test_a_coordinator_that_cannot_lead_says_so() -> None:
    async with open_participants([], coordinator=Participant(remote.Recorder)) as run:
        with pytest.raises(RemoteActorError, match="a Recorder, which has no start_optimization"):
            await run.coordinate(0)
        with pytest.raises(ValueError, match="there are 0"):
            await run.start(0)


async def test_buffers_in_contents_are_the_same_memory_everywhere() -> None:
    async with (
        actorsys.open_nursery(),
        actorsys.open_buffer(1000, "int64") as buffer,
        open_participants(
            [Participant(remote.Filling)] * 3, coordinator=Participant(remote.Filling)
        ) as run,
    ):
        for _ in range(20):
            await run.start({"buffer": buffer})
            await run.quiescent()
        result = await run.coordinate({"buffer": buffer})
        assert (buffer.array() == 20 * (2 + 3 + 4) + 1).all()
        assert (result["buffer"].array() == buffer.array()).all()
