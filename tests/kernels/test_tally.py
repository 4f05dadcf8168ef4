"""The counts of a kernel's process, in memory of its own or in one that outlives it."""

from __future__ import annotations

from array import array

import pytest

from actorsys.histogram import Histogram
from actorsys.kernels.page import KernelPage
from actorsys.kernels.tally import TALLY_WORDS, Counted, Tally, counted_in

TIMES = [0.00001, 0.00015, 0.003, 7.0, 1000.0]


@pytest.mark.parametrize("words", [None, memoryview(array("Q", [0] * TALLY_WORDS))])
def test_what_is_counted_can_be_read_back(words: memoryview | None) -> None:
    tally, histogram = Tally(words), Histogram()
    for seconds in TIMES:
        tally.count_processed(seconds)
        histogram.record(seconds)
    tally.count_error()
    counted = counted_in(tally.numbers())
    assert (counted.processed, counted.errors) == (len(TIMES), 1)
    assert counted.latency_seconds == pytest.approx(sum(TIMES), abs=1e-5)
    assert list(counted.latency_counts) == histogram.counts
    assert "5 processed, 1 errors" in repr(tally)
    tally.clear()
    assert counted_in(tally.numbers()) == Counted()


def test_a_clock_that_is_set_back_counts_as_no_time() -> None:
    tally = Tally()
    tally.count_processed(-1e-9)
    assert counted_in(tally.numbers()).latency_seconds == 0


def test_more_was_counted_where_more_was_processed() -> None:
    assert max(Counted(1, 5), Counted(2, 0)) == Counted(2, 0)


def test_a_page_is_read_by_others_while_it_is_written() -> None:
    page = KernelPage.create()
    if page is None:
        pytest.skip("there is no shared memory here")
    with KernelPage.opened(list(page.address)) as its_own:
        assert its_own is not None
        its_own.note(3)
        its_own.tally.count_processed(0.5)
    assert page.numbers() == [3]
    assert counted_in(page.tally.numbers()).processed == 1
    page.close()
