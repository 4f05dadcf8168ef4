"""Names of topics, and patterns that match several of them.

A name is words joined by dots: ``prices.eur``. In a pattern, ``*`` is any one word, and ``**`` at
the end is any number of them, at least one.
"""

from __future__ import annotations

from ..limits import Limits

_ONE = "*"
_REST = "**"


def check_topic(name: str, limits: Limits) -> str:
    """Return *name* if it can be published to.

    Raises:
      ValueError: it is no name of a topic.
    """
    if any(_ONE in word for word in _words(name, limits)):
        raise ValueError(f"{name!r} is a pattern; it can be subscribed to, not published to")
    return name


def check_pattern(name: str, limits: Limits) -> str:
    """Return *name* if it can be subscribed to.

    Raises:
      ValueError: it is neither a name nor a pattern.
    """
    words = _words(name, limits)
    for position, word in enumerate(words, 1):
        if _ONE in word and word != _ONE and not (word == _REST and position == len(words)):
            raise ValueError(
                f"{name!r} is no pattern: '*' stands for a whole word, and '**' for the rest"
            )
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


def _words(name: str, limits: Limits) -> list[str]:
    is_text = isinstance(name, str) and name.isprintable()
    if not is_text or len(name.encode()) > limits.max_topic_bytes:
        raise ValueError(
            f"a topic is 1 to {limits.max_topic_bytes} printable bytes, words joined by dots, "
            f"not {name!r}"
        )
    words = name.split(".")
    if not all(words):
        raise ValueError(f"a topic is words joined by dots, such as 'prices.eur', not {name!r}")
    return words
