"""What a run has failed with, and who tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Failure:
    """The error that a run ends with; the first one counts, and somebody is told.

    Whoever waits in the run raises it, and so does each later call. If nobody waits, *on_untold* is
    called, which ends the block of the run; the block raises it then. Owned by the run.
    """

    def __init__(self, on_untold: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._is_told = False
        self._waiting = 0
        self._on_untold = on_untold

    def __repr__(self) -> str:
        return f"<Failure: {self.error!r}, {self._waiting} waiting>"

    def record(self, error: BaseException) -> bool:
        """Keep *error* if it is the first one; return whether it is."""
        if self.error is not None:
            return False
        self.error = error
        return True

    def tell(self) -> None:
        """See to it that somebody is told: those who wait, else the block."""
        if not (self._waiting or self._is_told):
            self._on_untold()

    def check(self) -> None:
        """Raise the error, if there is one."""
        if self.error is not None:
            self._is_told = True
            raise self.error

    def check_told(self) -> None:
        """Raise the error, if there is one that nobody was told of."""
        if not self._is_told:
            self.check()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting in the run; at its end, raise the error if there is one."""
        self._waiting += 1
        try:
            yield
        except BaseException:
            self._waiting -= 1
            if self.error is not None:  # it was counted on us to tell of it
                self.tell()
            raise
        self._waiting -= 1
        self.check()

    @contextmanager
    def closing(self, ended: BaseException) -> Iterator[None]:
        """Raise the error when the block ends, unless somebody was told; *ended* counts from then.

        Raises:
          BaseExceptionGroup: the block has failed as well.
        """
        try:
            yield
        except BaseException as error:
            if self.error is None or self._is_told:
                raise
            raise BaseExceptionGroup("the block and its run failed", [error, self.error]) from None
        finally:
            if self.record(ended):
                self._is_told = True
        self.check_told()
