"""What of an error is trio's cancellation, and what is not."""

from __future__ import annotations

import trio


def split_cancelled(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Return what of *error* is trio's cancellation, to be raised on, and what is not."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    if isinstance(error, trio.Cancelled):
        return error, None
    return None, error
