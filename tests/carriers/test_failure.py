"""What a run has failed with, and who raises it; no loop."""

from __future__ import annotations

import pytest

from actorsys.carriers.failure import Failure


class Block:
    """A failure, and how often its block was to be ended."""

    def __init__(self) -> None:
        self.ends = 0
        self.failure = Failure(self._end)

    def _end(self) -> None:
        self.ends += 1

    def fail(self, text: str) -> None:
        if self.failure.record(ValueError(text)):
            self.failure.tell()


def test_the_first_error_counts() -> None:
    block = Block()
    block.fail("first")
    block.fail("second")
    for _ in range(2):
        with pytest.raises(ValueError, match="first"):
            block.failure.check()


def test_an_error_that_nobody_waits_for_ends_the_block_and_leaves_it() -> None:
    block = Block()
    with pytest.raises(ValueError, match="mine"), block.failure.closing(KeyError("ended")):
        block.fail("mine")
    assert block.ends == 1


def test_whoever_waits_raises_it_and_the_block_does_not() -> None:
    block = Block()
    with block.failure.closing(KeyError("ended")):
        with pytest.raises(ValueError, match="mine"), block.failure.waiting():
            block.fail("mine")
    assert block.ends == 0


def test_if_whoever_waits_is_cancelled_the_block_is_ended_after_all() -> None:
    block = Block()
    with pytest.raises(ValueError, match="mine"), block.failure.closing(KeyError("ended")):
        with pytest.raises(InterruptedError), block.failure.waiting():
            block.fail("mine")
            raise InterruptedError
        assert block.ends == 1


def test_a_block_that_fails_as_well_raises_both() -> None:
    block = Block()
    with pytest.raises(ExceptionGroup) as caught, block.failure.closing(KeyError("ended")):
        block.fail("mine")
        raise LookupError("other")
    assert [type(error) for error in caught.value.exceptions] == [LookupError, ValueError]


def test_after_the_block_its_end_is_raised() -> None:
    block = Block()
    with block.failure.closing(KeyError("ended")):
        pass
    with pytest.raises(KeyError, match="ended"), block.failure.waiting():
        pass
