"""What is routed: a message for one actor, of one kind, with its payload."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..wire import register_type

ActorId = Hashable


@register_type
class Protocol(enum.Enum):
    """The kinds of messages."""

    REQUEST_INFERENCE = "request_inference"
    MODEL_VERSION = "model_version"
    FLAG_LAST_INFERENCE = "flag_last_inference"
    MODEL_HANDSHAKE = "model_handshake"
    SEND_TRAJECTORY = "send_trajectory"
    MODEL_UPDATE = "model_update"
    SHUTDOWN = "shutdown"


DEADLINES_SECONDS: Mapping[Protocol, float] = MappingProxyType(
    {
        Protocol.REQUEST_INFERENCE: 10.0,
        Protocol.MODEL_VERSION: 15.0,
        Protocol.FLAG_LAST_INFERENCE: 20.0,
        Protocol.MODEL_HANDSHAKE: 30.0,
        Protocol.SEND_TRAJECTORY: 30.0,
        Protocol.MODEL_UPDATE: 60.0,
        Protocol.SHUTDOWN: 60.0,
    }
)
"""How long a message of a kind may take from its acceptance to its delivery: what users of
RelayRL's dispatcher are used to."""


@register_type
@dataclass(frozen=True, slots=True)
class RoutedMessage:
    """A message for the actor *actor_id*.

    *deadline* is in seconds from the moment it is accepted, and stands in for that of its kind;
    ``math.inf`` is none. The payload is handed on as it is.
    """

    actor_id: ActorId
    protocol: Protocol
    payload: Any = None
    deadline: float | None = None


def checked_seconds(name: str, seconds: object) -> float:
    """Return *seconds*, if it is a time that something may take; ``math.inf`` is one.

    Raises:
      TypeError, ValueError: it is no number, or a negative one.
    """
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{name} must not be negative, it is {seconds!r}")
    return float(seconds)


def checked_actor_id(actor_id: ActorId) -> ActorId:
    """Return *actor_id*.

    Raises:
      TypeError: it cannot be looked up.
    """
    try:
        hash(actor_id)
    except TypeError:
        raise TypeError(f"an actor id is hashable, not {actor_id!r}") from None
    return actor_id


def checked_route_name(name: object) -> str:
    """Return *name*.

    Raises:
      TypeError: it is no text, or an empty one.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a route is a str that is not empty, not {name!r}")
    return name


def checked_deadlines(deadlines: Mapping[Protocol, float]) -> dict[Protocol, float]:
    """Return the deadline of every kind: those given, and the defaults of the others.

    Raises:
      TypeError, ValueError: it is no mapping, a key is no `Protocol`, or a value is no deadline.
    """
    if not isinstance(deadlines, Mapping):
        raise TypeError(f"deadlines is a mapping of Protocol to seconds, not {deadlines!r}")
    for kind, seconds in deadlines.items():
        if not isinstance(kind, Protocol):
            raise TypeError(f"deadlines has members of Protocol as keys, not {kind!r}")
        checked_seconds(f"deadlines[{kind}]", seconds)
    return {**DEADLINES_SECONDS, **deadlines}
