"""Names of topics, and patterns that match several of them.

A name is words joined by dots: ``prices.eur``. In a pattern, ``*`` is any one word, and ``**`` at
the end is any number of them, at least one.
"""

from __future__ import annotations

from ..limits import Limits

_ONE = "*"
_REST = "**"


def check_form(name: str) -> None:
    """Refuse what is neither a name nor a pattern.

    Raises:
      ValueError: it is not.
    """
    words = name.split(".") if isinstance(name, str) and name.isprintable() else [""]
    if not all(words):
        raise ValueError(
            f"a topic is printable words joined by dots, such as 'prices.eur', not {name!r}"
        )
    for position, word in enumerate(words, 1):
        if _ONE in word and word != _ONE and not (word == _REST and position == len(words)):
            raise ValueError(
                f"{name!r} is no pattern: '*' stands for a whole word, and '**' for the rest"
            )


def check_pattern(name: str, limits: Limits) -> str:
    """Return *name* if it can be subscribed to.

    Raises:
      ValueError: it is neither a name nor a pattern, or too long.
    """
    check_form(name)
    if len(name.encode()) > limits.max_topic_bytes:
        raise ValueError(
            f"a topic has at most {limits.max_topic_bytes} bytes (limits.max_topic_bytes), "
            f"not {len(name.encode())}"
        )
    return name


def check_topic(name: str, limits: Limits) -> str:
    """Return *name* if it can be published to.

    Raises:
      ValueError: it is no name of a topic.
    """
    check_pattern(name, limits)
    if is_pattern(name):
        raise ValueError(f"{name!r} is a pattern; it can be subscribed to, not published to")
    return name


def is_pattern(name: str) -> bool:
    """Tell whether *name* can match more than one topic."""
    return _ONE in name


def matches(pattern: str, topic: str) -> bool:
    """Tell whether *topic* is one of those that *pattern* means."""
    wanted, words = pattern.split("."), topic.split(".")
    if wanted[-1] == _REST:
        wanted.pop()
        if len(words) <= len(wanted):
            return False
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(
        one in (_ONE, other) for one, other in zip(wanted, words, strict=True)
    )
