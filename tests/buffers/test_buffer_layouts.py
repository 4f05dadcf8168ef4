"""What the bytes of a buffer are: written on a page, and not believed until it fits."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actorsys import NotShareable, StaleBuffer
from actorsys.buffers.layout import Layout

SHAPES = st.lists(st.integers(0, 5), max_size=6).map(tuple)
SCALARS = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.byte_string_dtypes(endianness="?", min_len=1, max_len=9),
    hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=9),
)
DTYPES = SCALARS | hnp.nested_dtypes(SCALARS, max_leaves=6).filter(lambda dtype: not dtype.subdtype)
QUICK = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=100)


@QUICK
@given(SHAPES, DTYPES, st.sampled_from("CF"))
def test_a_layout_is_read_as_it_was_written(shape: Any, dtype: Any, order: str) -> None:
    layout = Layout(shape, dtype, order)
    assert layout.nbytes == math.prod(shape) * np.dtype(dtype).itemsize
    again = Layout.unpack(layout.pack(), layout.nbytes)
    assert (again.shape, again.dtype, again.order) == (shape, np.dtype(dtype), order)
    assert again.nbytes == layout.nbytes
    if layout.nbytes:
        with pytest.raises(StaleBuffer):
            Layout.unpack(layout.pack(), layout.nbytes - 1)


@QUICK
@given(SHAPES, DTYPES, st.sampled_from("CF"))
def test_an_array_is_filled_bit_by_bit(shape: Any, dtype: Any, order: str) -> None:
    layout = Layout(shape, dtype, order)
    raw = np.zeros(layout.nbytes + 100, "u1")
    sent = np.zeros(shape, dtype, order=order)  # type: ignore[call-overload]
    layout.fill(raw.data, sent)
    found = layout.array(raw)
    assert (found.shape, found.dtype) == (sent.shape, sent.dtype)
    assert found.tobytes() == sent.tobytes()
    assert not raw[layout.nbytes :].any()
    if layout.nbytes:
        assert np.shares_memory(found, raw)


@QUICK
@given(
    hnp.arrays(hnp.integer_dtypes(endianness="?") | hnp.floating_dtypes(endianness="?"), (3, 4, 5)),
    st.permutations(range(3)),
    st.sampled_from([1, -1, 2]),
)
def test_an_array_of_any_strides_is_filled_bit_by_bit(array: Any, axes: Any, step: int) -> None:
    sent = array.transpose(axes)[::step]
    for order in "CF":
        layout = Layout(sent.shape, sent.dtype, order)
        raw = np.zeros(layout.nbytes, "u1")
        layout.fill(raw.data, sent)
        assert layout.array(raw).tobytes() == sent.tobytes()


@pytest.mark.parametrize("dtype", ["O", [("a", "O")], [("a", [("b", "f8"), ("c", "O")])]])
def test_python_objects_are_not_shared(dtype: Any) -> None:
    with pytest.raises(NotShareable):
        Layout(3, dtype)


@pytest.mark.parametrize(
    "shape",
    [
        -1,
        (1, -1),
        1.5,
        (1.5,),
        "3",
        b"3",
        None,
        {1},
        (1,) * 33,
        [[1]],
        (2**48 + 1,),
        2**70,
        (2**20, 2**20, 2**20),
        (2**62, 2**62, 2**62),
    ],
    ids=repr,
)
def test_what_is_no_shape_is_refused(shape: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Layout(shape, "u1")


def test_shapes_that_numpy_gives_are_shapes() -> None:
    three: Any = np.int64(3)
    assert Layout(three, "u1").shape == (3,)
    assert Layout([three, True], "u1").shape == (3, 1)
    assert Layout((), "f8").nbytes == 8
    assert Layout((2**20, 0, 2**20), "f8").nbytes == 0


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=10)
    | st.sampled_from(["C", "F", "<f8", "|O", "|S0", "|V0", "<M8[ns]", [["a", "<f8"]]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@QUICK
@given(st.binary(max_size=100) | VALUES.map(msgpack.packb))
def test_what_stands_on_a_page_is_a_layout_or_stale(data: bytes) -> None:
    try:
        layout = Layout.unpack(data, 4096)
    except StaleBuffer:
        return
    assert layout.nbytes <= 4096


@QUICK
@given(
    st.lists(st.integers(-1, 2**64 - 1) | st.none() | st.text(max_size=2), max_size=40),
    st.sampled_from(["<f8", "|u1", "|O", "<M8[ns]", "|V5", "x", "|V2000000000", [["a", "<i2"]], 7]),
    st.sampled_from(["C", "F", "A", None, ["C"], 0]),
)
@example([0, 2**62, 8], "<f8", "C")
def test_a_page_that_looks_right_is_a_layout_or_stale(shape: Any, dtype: Any, order: Any) -> None:
    try:
        layout = Layout.unpack(msgpack.packb([shape, dtype, order]), 4096)
    except StaleBuffer:
        return
    assert layout.nbytes <= 4096
    assert layout.order in ("C", "F")
    assert layout.array(np.zeros(4096, "u1")).nbytes == layout.nbytes


@pytest.mark.parametrize("dtype", ["|S0", "<U0"])
def test_elements_of_no_bytes_have_no_bytes(dtype: str) -> None:
    try:
        layout = Layout.unpack(msgpack.packb([[1000], dtype, "C"]), 4096)
    except StaleBuffer:
        return
    assert layout.array(None).nbytes == layout.nbytes


def test_a_page_with_a_subarray_is_stale() -> None:
    try:
        layout = Layout.unpack(msgpack.packb([[10], "(2,)<f8", "C"]), 4096)
    except StaleBuffer:
        return
    assert layout.array(np.zeros(4096, "u1")).nbytes == layout.nbytes
