"""Log records that say which actor they come from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .current import find_current_actor

_CHILD_FORMAT = "%(levelname)s %(actor)s %(name)s: %(message)s"


@contextmanager
def naming_records(name: str) -> Iterator[None]:
    """Give every log record of this process an attribute ``actor``, for ``%(actor)s``.

    It is the name of the actor in which the record is made, and *name* outside of all of them.
    """
    before = logging.getLogRecordFactory()

    def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        actor = find_current_actor()
        record.actor = actor.name if actor is not None else name
        return record

    logging.setLogRecordFactory(make_record)
    try:
        yield
    finally:
        if logging.getLogRecordFactory() is make_record:
            logging.setLogRecordFactory(before)


def show_actor_of_records() -> None:
    """Where logging is not configured, show what comes to stderr with the name of its actor."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter(_CHILD_FORMAT))
    # The functions of the module, such as logging.exception, configure it at their first use.
    styles: Any = logging._STYLES
    styles["%"] = (logging.PercentStyle, _CHILD_FORMAT)
