"""CUDA by way of CuPy: what is called is there, and the odd ways of CuPy are known."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from cupy_like import CupyLike, Foreign

from actorsys.cuda import Place
from actorsys.cuda.cupy_runtime import CupyRuntime
from actorsys.errors import DeviceOutOfMemory, DeviceUnavailable


def runtime_of(monkeypatch: pytest.MonkeyPatch, cupy: Any) -> CupyRuntime:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return CupyRuntime()


def test_an_array_on_another_device_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = CupyLike()
    runtime = runtime_of(monkeypatch, cupy)
    array = cupy.ndarray(cupy, 1)
    assert runtime.as_array(array) is array
    foreign = runtime.as_array(Foreign(cupy, 1))
    assert (runtime.device_of(foreign), cupy.current) == (1, 0)


def test_an_array_on_the_host_that_the_device_sees_is_on_the_current_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cupy = CupyLike()
    runtime = runtime_of(monkeypatch, cupy)
    assert runtime.device_of(runtime.as_array(Foreign(cupy, -1))) == 0


def test_an_empty_array_of_another_library_is_on_the_current_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cupy = CupyLike()
    runtime = runtime_of(monkeypatch, cupy)
    assert runtime.device_of(runtime.as_array(Foreign(cupy, 1, is_empty=True))) == 0


def test_what_cupy_keeps_for_later_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = CupyLike()
    runtime = runtime_of(monkeypatch, cupy)
    cupy.pooled_bytes = 500
    assert runtime.malloc(1200)
    with pytest.raises(DeviceOutOfMemory):
        runtime.malloc(1200)


def test_what_was_copied_to_the_device_may_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = CupyLike()
    runtime = runtime_of(monkeypatch, cupy)
    runtime.update(cupy.ndarray(cupy, 0), np.zeros(3))
    assert cupy.stream.queued == []


def test_a_device_that_has_failed_is_told_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = CupyLike()
    runtime = runtime_of(monkeypatch, cupy)
    with pytest.raises(DeviceUnavailable, match="700"), runtime.on(1):
        cupy.has_failed = True
        runtime.synchronize()
    cupy.has_failed = False
    with pytest.raises(DeviceUnavailable, match="700"), runtime.on(1):
        cupy.has_failed = True


def test_devices_whose_uuids_are_cut_short_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uuids = [bytes([0, number] * 8) for number in (1, 2)]
    runtime = runtime_of(monkeypatch, CupyLike(uuids))
    assert len({runtime.device_uuid(number) for number in range(2)}) == 2


def test_a_whole_uuid_is_told_as_the_driver_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = runtime_of(monkeypatch, CupyLike())
    assert runtime.device_uuid(0) == "GPU-01020304-0506-0708-090a-0b0c0d0e0f10"


# --- CuPy itself: it can be imported without a GPU ---------------------------------------------

SIGNATURES = {
    "getDeviceCount": "getDeviceCount()",
    "getDevice": "getDevice()",
    "getDeviceProperties": "getDeviceProperties(int device)",
    "deviceGetPCIBusId": "deviceGetPCIBusId(int device)",
    "deviceSynchronize": "deviceSynchronize()",
    "malloc": "malloc(size_t size)",
    "free": "free(intptr_t ptr)",
    "memGetInfo": "memGetInfo()",
    "memsetAsync": "memsetAsync(intptr_t ptr, int value, size_t size, intptr_t stream)",
    "pointerGetAttributes": "pointerGetAttributes(intptr_t ptr)",
    "ipcGetMemHandle": "ipcGetMemHandle(intptr_t devPtr)",
    "ipcOpenMemHandle": "ipcOpenMemHandle(bytes handle, unsigned int flags=",
    "ipcCloseMemHandle": "ipcCloseMemHandle(intptr_t devPtr)",
    "ipcGetEventHandle": "ipcGetEventHandle(intptr_t event)",
    "ipcOpenEventHandle": "ipcOpenEventHandle(bytes handle)",
    "eventCreateWithFlags": "eventCreateWithFlags(unsigned int flags)",
    "eventDestroy": "eventDestroy(intptr_t event)",
    "eventRecord": "eventRecord(intptr_t event, intptr_t stream)",
    "eventQuery": "eventQuery(intptr_t event)",
    "streamWaitEvent": "streamWaitEvent(intptr_t stream, intptr_t event, unsigned int flags=0)",
    "hostRegister": "hostRegister(intptr_t ptr, size_t size, unsigned int flags)",
    "hostUnregister": "hostUnregister(intptr_t ptr)",
}


@pytest.fixture
def cupy() -> Any:
    """CuPy itself, where it is installed."""
    return pytest.importorskip("cupy", reason="CuPy is not installed here")


def test_cupy_has_what_is_called(cupy: Any) -> None:
    runtime = cupy.cuda.runtime
    found = {name: str(getattr(runtime, name, None).__doc__) for name in SIGNATURES}
    assert not [name for name in SIGNATURES if not found[name].startswith(SIGNATURES[name])]
    assert callable(cupy.get_default_memory_pool().free_all_blocks)
    assert (runtime.eventDisableTiming, runtime.eventInterprocess) == (2, 4)


def test_cupy_makes_arrays_over_memory_of_others(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cupy, "is_available", lambda: True)
    monkeypatch.setattr(cupy.cuda.runtime, "getDevice", lambda: 0)
    owner = object()
    place = Place(base=4096, size=65536, offset=512)
    array = CupyRuntime().array(place, (3, 2), np.dtype("f4"), "F", owner)
    assert (array.data.ptr, array.shape, array.strides) == (4608, (3, 2), (4, 12))
    assert array.data.mem._owner is owner
    assert CupyRuntime().device_of(array) == 0
