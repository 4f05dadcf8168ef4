"""The fake device has everybody keep to the rules: each rule that is broken is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from owner_process import OwnerProcess, place_of

from actorsys.cuda import Gpu, find_gpu, find_gpu_by_uuid
from actorsys.errors import DeviceOutOfMemory, DeviceUnavailable
from actorsys.testing import fake_cuda
from actorsys.testing.fake_cuda import CudaRuleBroken, FakeArray, FakeCuda

F4 = np.dtype("f4")


@pytest.fixture
def gpu(broken_fake: FakeCuda) -> Gpu:
    return find_gpu("cuda:0")


def array_in(fake: FakeCuda, base: int, size: int = 4096) -> FakeArray:
    from actorsys.cuda import Place

    found = fake.array(Place(base, size, 0), (10,), F4, "C", None)
    assert isinstance(found, FakeArray)
    return found


# --- what it does ------------------------------------------------------------------------------


def test_nothing_is_done_before_it_is_waited_for(broken_fake: FakeCuda) -> None:
    array = broken_fake.upload(np.zeros((4, 3), "f4"))
    with broken_fake.stream():
        array[1:3, :2] = 5.0
        array *= 2.0
        array[0, 0] += 1.0
    assert not array.any()
    broken_fake.synchronize()
    assert array.tolist() == [[1, 0, 0], [10, 10, 0], [10, 10, 0], [0, 0, 0]]
    assert float(array[2, 1]) == 10
    assert array.sum() == 41


def test_one_array_is_copied_to_another_when_its_turn_comes(broken_fake: FakeCuda) -> None:
    source, target = (broken_fake.upload(np.zeros(4, "f4")) for _ in range(2))
    source[:] = 1.0
    target[:] = source
    source[:] = 2.0
    out = np.empty(4, "f4")
    target.get(out)
    assert (out.tolist(), source.tolist()) == ([1] * 4, [2] * 4)


def test_new_memory_is_no_zeros(broken_fake: FakeCuda) -> None:
    assert array_in(broken_fake, broken_fake.malloc(4096)).any()


def test_it_has_so_much_memory(broken_fake: FakeCuda) -> None:
    _, total = broken_fake.memory_info()
    broken_fake.malloc(total - 4096)
    assert broken_fake.memory_info() == (4096, total)
    with pytest.raises(DeviceOutOfMemory):
        broken_fake.malloc(8192)


def test_handles_of_nothing_open_nothing(broken_fake: FakeCuda) -> None:
    for open_handle in (broken_fake.open_memory, broken_fake.open_event):
        with pytest.raises(DeviceUnavailable):
            open_handle(bytes(64))


def test_work_is_queued_on_the_current_device_wherever_the_array_is(
    broken_fake: FakeCuda,
) -> None:
    with broken_fake.on(1):
        array = broken_fake.upload(np.zeros(4, "f4"))
    array[:] = 1.0
    with broken_fake.on(1):
        assert not array.any()
    assert array.tolist() == [1.0] * 4


def test_only_an_array_of_one_element_is_true_or_false(broken_fake: FakeCuda) -> None:
    array = broken_fake.upload(np.ones(2, "f4"))
    assert array[0]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(array)


# --- the rules ---------------------------------------------------------------------------------


def open_in_the_exporter(fake: FakeCuda) -> None:
    fake.open_memory(fake.export_memory(fake.malloc(4096)))


def open_an_event_in_the_exporter(fake: FakeCuda) -> None:
    fake.open_event(fake.export_event(fake.create_event()))


def free_twice(fake: FakeCuda) -> None:
    base = fake.malloc(4096)
    fake.free(base)
    fake.free(base)


def use_after_free(fake: FakeCuda) -> None:
    base = fake.malloc(4096)
    array = array_in(fake, base)
    fake.free(base)
    array.sum()


def queue_after_free(fake: FakeCuda) -> None:
    base = fake.malloc(4096)
    array = array_in(fake, base)
    fake.free(base)
    array[:] = 1.0


def free_before_the_work_is_done(fake: FakeCuda) -> None:
    base = fake.malloc(4096)
    array_in(fake, base)[:] = 1.0
    fake.free(base)


def free_before_it_was_read(fake: FakeCuda) -> None:
    base, target = fake.malloc(4096), fake.malloc(4096)
    array_in(fake, target)[:] = array_in(fake, base)
    fake.free(base)


def zero_before_it_was_read(fake: FakeCuda) -> None:
    base, target = fake.malloc(4096), fake.malloc(4096)
    array_in(fake, target)[:] = array_in(fake, base)
    fake.zero(base, 4096)


def zero_before_the_work_is_done(fake: FakeCuda) -> None:
    base = fake.malloc(4096)
    array_in(fake, base)[:] = 1.0
    fake.zero(base, 4096)


def give_a_short_handle(fake: FakeCuda) -> None:
    fake.open_memory(bytes(63))


def give_a_handle_of_another_type(fake: FakeCuda) -> None:
    fake.open_memory(bytearray(64))  # type: ignore[arg-type]


def export_a_pool(fake: FakeCuda) -> None:
    fake.export_memory(fake.malloc_async(4096))


def export_an_event_with_times(fake: FakeCuda) -> None:
    fake.export_event(fake.create_event(has_times=True))


def use_a_destroyed_event(fake: FakeCuda) -> None:
    event = fake.create_event()
    fake.destroy_event(event)
    fake.record(event)


def free_on_the_wrong_device(fake: FakeCuda) -> None:
    with fake.on(1):
        base = fake.malloc(4096)
    fake.free(base)


def record_on_the_wrong_device(fake: FakeCuda) -> None:
    event = fake.create_event()
    with fake.on(1):
        fake.record(event)


def close_what_is_ones_own(fake: FakeCuda) -> None:
    fake.close_memory(fake.malloc(4096))


@pytest.mark.parametrize(
    "break_rule",
    [
        open_in_the_exporter,
        open_an_event_in_the_exporter,
        free_twice,
        use_after_free,
        queue_after_free,
        free_before_the_work_is_done,
        free_before_it_was_read,
        zero_before_it_was_read,
        zero_before_the_work_is_done,
        give_a_short_handle,
        give_a_handle_of_another_type,
        export_a_pool,
        export_an_event_with_times,
        use_a_destroyed_event,
        free_on_the_wrong_device,
        record_on_the_wrong_device,
        close_what_is_ones_own,
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_rule_is_told(
    broken_fake: FakeCuda, break_rule: Callable[[FakeCuda], None]
) -> None:
    with pytest.raises(CudaRuleBroken):
        break_rule(broken_fake)
    assert len(broken_fake.broken) == 1


def test_the_memory_of_another_is_opened_once(
    gpu: Gpu, broken_fake: FakeCuda, owner: OwnerProcess
) -> None:
    address = owner.take()
    base = broken_fake.open_memory(address.handle)
    with pytest.raises(CudaRuleBroken, match="twice"):
        broken_fake.open_memory(address.handle)
    with pytest.raises(CudaRuleBroken, match="another process is exported"):
        broken_fake.export_memory(base)
    broken_fake.close_memory(base)
    base = broken_fake.open_memory(address.handle)
    broken_fake.close_memory(base)


def test_what_somebody_has_mapped_is_not_freed(
    gpu: Gpu, broken_fake: FakeCuda, owner: OwnerProcess
) -> None:
    address = owner.take()
    broken_fake.open_memory(address.handle)
    assert "mapped" in owner.call("free_by_force")


def test_what_was_closed_is_not_used(gpu: Gpu, broken_fake: FakeCuda, owner: OwnerProcess) -> None:
    address = owner.take()
    base = broken_fake.open_memory(address.handle)
    array = broken_fake.array(place_of(address, base), (10,), F4, "C", None)
    array[:] = 1.0
    with pytest.raises(CudaRuleBroken, match="before work"):
        broken_fake.close_memory(base)
    broken_fake.synchronize()
    broken_fake.close_memory(base)
    with pytest.raises(CudaRuleBroken, match="closed"):
        array.sum()


def test_the_event_of_another_is_not_used_after_he_has_destroyed_it(
    gpu: Gpu, owner: OwnerProcess
) -> None:
    owner.take()
    mark = owner.fill(0, 10, 1.0)
    gpu.wait(mark)
    owner.call("destroy_events")
    with pytest.raises(CudaRuleBroken, match="destroyed"):
        gpu.wait(mark)


def test_memory_is_not_used_after_its_process_has_ended(
    gpu: Gpu, broken_fake: FakeCuda, owner: OwnerProcess
) -> None:
    address = owner.take()
    base = broken_fake.open_memory(address.handle)
    array = broken_fake.array(place_of(address, base), (10,), F4, "C", None)
    assert array.tolist() == [0.0] * 10
    owner.end()
    with pytest.raises(CudaRuleBroken, match="has ended"):
        array.tolist()
    with pytest.raises(CudaRuleBroken, match="has ended"):
        array[:] = 1.0
    broken_fake.close_memory(base)


def test_each_process_has_its_own_order_of_devices(owner: OwnerProcess) -> None:
    fake = fake_cuda.install(devices=(1, 0))
    address = owner.take()
    mark = owner.fill(0, 10, 3.0)
    gpu = find_gpu_by_uuid(address.uuid)
    assert gpu.name == "cuda:1"
    opened = gpu.open(address)
    assert opened is not None
    gpu.wait(mark)
    with fake.on(1):
        array = fake.array(place_of(address, opened.base), (10,), F4, "C", None)
        assert array.tolist() == [3.0] * 10
    gpu.close(opened)
    gpu.tidy(is_last=True)
    assert (fake.broken, owner.call("give_back")) == ([], 0)
    fake_cuda.uninstall(fake)


def test_a_device_that_is_not_among_those_of_a_process_is_not_mapped(owner: OwnerProcess) -> None:
    fake = fake_cuda.install(devices=(1,))
    with pytest.raises(DeviceUnavailable):
        fake.open_memory(owner.take().handle)
    fake_cuda.uninstall(fake)
