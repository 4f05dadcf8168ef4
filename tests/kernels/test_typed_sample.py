"""What derives from `Message` is known to type checkers, and is a message like any other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typed_sample as sample

from actorsys import message
from actorsys.kernels import messages

SAMPLE = Path(sample.__file__)
ALL = [sample.over, sample.alone, sample.frozen, sample.derived]


@pytest.mark.slow
def test_mypy_sees_the_fields_that_are_added(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="it is installed with the extra 'check'")
    # Whatever else the module of messages imports does not matter here, and takes long.
    alone = ["--follow-imports=skip", "--config-file=", f"--cache-dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *alone, str(SAMPLE), messages.__file__],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    found = re.findall(rf"{SAMPLE.name}:(\d+): error", done.stdout)
    lines = enumerate(SAMPLE.read_text().splitlines(), 1)
    expected = [number for number, line in lines if line.endswith("# error")]
    assert sorted(set(map(int, found))) == expected, done.stdout + done.stderr


@pytest.mark.parametrize("sent", ALL, ids=lambda sent: type(sent).__name__)
def test_what_derives_from_the_class_for_type_checkers_travels(sent: messages.Message) -> None:
    assert type(sent).deserialize(sent.serialize()) == sent


def test_what_derives_from_it_is_what_it_is_without() -> None:
    @message
    class Plain:
        result: float
        tags: list[str]

    plain = Plain(1.0, [], message_id=sample.alone.message_id)
    expected = repr(plain).rpartition("Plain")[2]
    assert repr(sample.alone.replace(correlation_id=None)).rpartition("Alone")[2] == expected


def test_a_field_may_have_the_name_of_a_method() -> None:
    @message
    class Letter(messages.Message):
        reply: str
        serialize: int = 3

    with pytest.raises(TypeError, match="reply"):
        Letter()
    assert (Letter("yes").reply, Letter("yes").serialize) == ("yes", 3)
