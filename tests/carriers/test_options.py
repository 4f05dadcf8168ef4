"""What is refused in the very call, before a process starts."""

from __future__ import annotations

from typing import Any

import carrier_helpers as remote
import pytest

from actorsys import LocalProtocolError
from actorsys.carriers import Participant, open_participants

OPTIONS: list[tuple[str, Any, type[Exception]]] = [
    ("max_messages", -1, ValueError),
    ("max_messages", "1", TypeError),
    ("max_messages", 1.5, TypeError),
    ("max_messages", True, TypeError),
    ("max_seconds", -1, ValueError),
    ("max_seconds", 0, ValueError),
    ("max_seconds", float("nan"), ValueError),
    ("max_seconds", "1", TypeError),
    ("types", [5], TypeError),
    ("types", 5, TypeError),
    ("types", "module:Class", TypeError),
    ("types", ["module"], ValueError),
    ("modules", [5], TypeError),
    ("modules", "module", TypeError),
    ("modules", remote, TypeError),
    ("delivery", "parallel", ValueError),
    ("delivery", ["concurrent"], ValueError),
]


@pytest.mark.parametrize(("name", "value", "kind"), OPTIONS, ids=lambda each: repr(each)[:30])
async def test_an_option_that_makes_no_sense_is_refused(
    name: str, value: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=name if kind is not ValueError or "max" in name else None):
        async with open_participants([], **{name: value}):
            pytest.fail("it has started")


ARGUMENTS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"args": 5}, TypeError),
    ({"args": "ab"}, TypeError),
    ({"kwargs": [1]}, TypeError),
    ({"kwargs": {1: 2}}, TypeError),
    ({"factory": "a:"}, ValueError),
    ({"factory": ":a"}, ValueError),
    ({"factory": "a"}, LocalProtocolError),
]


@pytest.mark.parametrize(("given", "kind"), ARGUMENTS, ids=lambda each: repr(each)[:30])
def test_a_participant_that_cannot_be_made_is_refused(
    given: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        Participant(**{"factory": remote.Recorder, **given})
