"""Messages as a type checker is to see them; `error` marks the lines that it is to refuse."""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass
from typing import assert_type

from actorsys.kernels.messages import Message, message


@message
@dataclass
class Over(Message):
    result: float
    tags: list[str] = dataclasses.field(default_factory=list)


@message
class Alone(Message):
    result: float
    tags: list[str] = dataclasses.field(default_factory=list)


@message(version=2)
@dataclass(frozen=True)
class Frozen(Message):
    result: float


@message(version=2)
class Derived(Alone):
    more: int = 3


request = Alone(1.0)
over = Over(1.0, ["x"], correlation_id=request.message_id, priority=3)
alone = Alone(result=1.0, correlation_id=over.correlation_id)
frozen = Frozen(1.0, message_id=uuid.uuid4())
derived = Derived(1.0, [], 4, priority=3)

assert_type(over.message_id, uuid.UUID)
assert_type(alone.priority, int)
assert_type(frozen.correlation_id, uuid.UUID | None)
assert_type(derived.replace(more=4), Derived)
assert_type(alone.reply(Over, 1.0), Over)
assert_type(Alone.deserialize(alone.serialize()), Alone)


def refused() -> None:
    Over(1.0, wrong=1)  # error
    Alone("x")  # error
    Alone(1.0, [], uuid.uuid4())  # error
    Derived(1.0, priority="high")  # error
    alone.message_id.nothing  # error
