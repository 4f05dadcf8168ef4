"""What fails on a device, and what becomes of the rest then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from owner_process import OwnerProcess
from test_slabs import NO_PID

from actorsys.cuda import Gpu
from actorsys.cuda.slabs import UNIT_BYTES
from actorsys.errors import BufferFault, DeviceOutOfMemory, DeviceUnavailable, NotReachable
from actorsys.memory import GuestBook, SharedFile
from actorsys.testing.fake_cuda import FakeCuda


def failing(error: Exception) -> Any:
    def fail(*args: Any) -> Any:
        raise error

    return fail


def test_memory_that_cannot_be_exported_is_given_back(
    gpu: Gpu, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "export_memory", failing(DeviceUnavailable("not supported")))
    with pytest.raises(DeviceUnavailable, match="not supported"):
        gpu.take(4096)
    assert fake.used_bytes == 0


def test_an_event_that_cannot_be_exported_is_given_up(
    gpu: Gpu, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    destroyed: list[int] = []
    monkeypatch.setattr(fake, "create_event", lambda: 5)
    monkeypatch.setattr(fake, "destroy_event", destroyed.append)
    monkeypatch.setattr(fake, "export_event", failing(DeviceUnavailable("not supported")))
    with pytest.raises(DeviceUnavailable):
        gpu.mark()
    assert destroyed == [5]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(DeviceUnavailable("no"), NotReachable), (DeviceOutOfMemory("no"), DeviceOutOfMemory)],
    ids=["unavailable", "no room"],
)
def test_who_could_not_map_a_slab_is_not_in_its_book(
    gpu: Gpu,
    fake: FakeCuda,
    owner: OwnerProcess,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
) -> None:
    address = owner.take()
    with monkeypatch.context() as patch:
        patch.setattr(fake, "open_memory", failing(error))
        with pytest.raises(raised):
            gpu.open(address)
    assert owner.call("give_back") == 0


def test_a_slab_whose_guests_have_all_died_can_be_mapped(gpu: Gpu, owner: OwnerProcess) -> None:
    address = owner.take()
    file = SharedFile.open(address.control)
    mapping = file.map(0, GuestBook.SIZE_BYTES)
    book = GuestBook(file, mapping)
    for number in range(256):
        book._write(number, NO_PID, 1)
    gpu.close(gpu.open(address))
    gpu.tidy(is_last=True)
    mapping.close()
    file.close()


def test_a_slab_with_too_many_guests_is_refused_as_a_buffer_is(
    gpu: Gpu, owner: OwnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = owner.take()
    monkeypatch.setattr(GuestBook, "enter", failing(BlockingIOError("256 processes use it")))
    with pytest.raises(BufferFault, match="256 processes"):
        gpu.open(address)


def test_what_fails_while_tidying_keeps_nothing_else_from_being_done(
    gpu: Gpu, fake: FakeCuda
) -> None:
    done: list[str] = []
    is_possible = False

    def fail() -> bool:
        if is_possible:
            raise DeviceUnavailable("the first one fails")
        return False

    def attempt() -> bool:
        if is_possible:
            done.append("second")
        return is_possible

    gpu.do_when_possible(fail)
    gpu.do_when_possible(attempt)
    is_possible = True
    with pytest.raises(DeviceUnavailable):
        gpu.tidy()
    gpu.tidy()
    assert (done, gpu.is_tidy) == (["second"], True)


def test_to_give_memory_back_raises_nothing_on_a_device_that_has_failed(
    gpu: Gpu, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = gpu.take(UNIT_BYTES), gpu.take(64 * UNIT_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(fake, "free", failing(DeviceUnavailable("status 700")))
        gpu.give_back(first)
        gpu.give_back(second)
    assert "status 700" in caplog.text
    assert gpu.slab_bytes == 0
    for base in list(fake._allocations):
        fake.free(base)


def test_a_mark_that_is_made_again_stands_for_what_it_stood_for_before(
    gpu: Gpu, fake: FakeCuda
) -> None:
    taken = gpu.take(4096)
    gpu.zero(taken, 4096)
    array = fake.array(taken.place, (4,), np.dtype("f4"), "C", None)
    with fake.stream():
        array[:2] = 5.0
        first = gpu.mark()
    assert gpu.mark() != first
    with fake.stream():
        array[2:] = 6.0
        assert gpu.mark(first) == first
    with fake.stream():
        gpu.wait(first)
        assert array.tolist() == [5, 5, 6, 6]
    fake.synchronize()
    gpu.give_back(taken)


def test_a_process_that_has_ended_fails_nobody_with_its_events(
    gpu: Gpu, fake: FakeCuda, owner: OwnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.take()
    marks = [owner.fill(0, 10, 7.0), owner.fill(0, 10, 8.0)]
    assert [gpu.wait(mark) for mark in marks] == [False, False]
    owner.end()
    monkeypatch.setattr(fake, "is_done", failing(DeviceUnavailable("no event")))
    monkeypatch.setattr(fake, "destroy_event", failing(DeviceUnavailable("no event")))
    assert [gpu.wait(mark) for mark in marks] == [True, True]
    gpu.tidy()
    assert gpu._events.pids == set()


def test_what_is_closed_can_still_be_looked_at(gpu: Gpu) -> None:
    taken = gpu.take(4096)
    book = taken.slab._book
    gpu.give_back(taken)
    assert "closed" in repr(book)
    assert "closed" in repr(taken.slab)


class MappedMeanwhile:
    """What is mapped: while it is looked at, a thread maps another one."""

    def __init__(self, found: dict[Any, Any]) -> None:
        self._found = found

    @property
    def users(self) -> int:
        self._found[len(self._found)] = self
        return 1


def test_threads_may_map_slabs_while_it_is_looked_for_what_rests(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[Any, Any] = {}
    found[0] = found[1] = MappedMeanwhile(found)
    monkeypatch.setattr(gpu._imports, "_imports", found)
    assert gpu.is_tidy
