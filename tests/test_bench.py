"""The benchmark runs, and tells what it is meant to tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from scripts.benchmarks.floor import ORDER
from scripts.benchmarks.kernels import make_order
from scripts.benchmarks.rows import NONE_AT_ALL, Figures, at_least, at_most, under

ROOT = Path(__file__).parent.parent
ROWS = ["calls", "stream", "kernel", "kernel-ask", "message", "mailbox"]


@pytest.mark.slow
def test_benchmark_writes_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    command = [sys.executable, "-m", "scripts.benchmarks", "--rounds", "1", "--seconds", "0.05"]
    done = subprocess.run(
        [*command, *[f"--only={name}" for name in ROWS], "--json", str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    told = json.loads(path.read_text())
    assert {"cores", "python", "trio", "msgpack", "commit"} <= set(told["machine"])
    assert [row["name"] for row in told["rows"]] == ROWS
    for row in told["rows"]:
        assert row["ratio"] == row["system"] / row["floor"] > 0
        assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
        assert isinstance(row["met"], bool)
        assert row["name"] in done.stdout
        assert row["target"] in done.stdout


def test_the_median_of_the_ratios_counts() -> None:
    figures = Figures([(100, 50), (10, 20), (1000, 700)])
    assert figures.ratio == 0.7
    assert at_least(0.7).is_met(figures)
    assert not at_most(0.65).is_met(figures)


def test_an_absolute_target_is_for_the_system_alone() -> None:
    assert under(2).is_met(Figures([(0.1, 1.9)]))
    assert not under(2).is_met(Figures([(9.0, 2.0)]))


def test_the_floor_packs_the_very_map_that_travels() -> None:
    travels = msgpack.unpackb(make_order().serialize())
    assert list(travels) == list(ORDER)
    assert {**travels, "message_id": None} == {**ORDER, "message_id": None}
    assert len(travels["message_id"]) == len(ORDER["message_id"])


def test_a_floor_of_nothing_has_no_ratio() -> None:
    assert Figures([(0, 0)]).ratio is None
    assert NONE_AT_ALL.is_met(Figures([(0, 0)]))
    assert not NONE_AT_ALL.is_met(Figures([(0, 1)]))
