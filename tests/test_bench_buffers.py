"""The benchmark of buffers runs, and tells what it is meant to tell."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from scripts.benchmarks.measure import measure_together, open_sides
from scripts.benchmarks.plot import NAMES, draw, points_by_side
from scripts.benchmarks.report import describe
from scripts.benchmarks.rows import Figures, Row, no_less
from scripts.benchmarks.sizes import GIB, KIB, MIB, SENT_SIZES, SIZES, name_size
from scripts.benchmarks.trials import SHARED, TRIALS, fit_lines, fit_rows, hand_off_rows

ROOT = Path(__file__).parent.parent
MACHINE = {"cores": 2, "system": "Linux", "python": "3.11", "commit": "abc"}
LIGHT = ["hand-off-rate", "echo-1M"]


def is_light(row: Row) -> bool:
    """Whether a row takes a moment only: nothing large is copied."""
    return row.nbytes is not None and (row.floor_side == SHARED or row.nbytes <= MIB)


def measured_as(microseconds_per_gib: float) -> list[tuple[Row, Figures]]:
    """Return the rows of hand-overs as they are if a buffer takes so much longer with each GiB."""

    def time_of(size: int, per_gib: float) -> float:
        return 500 + per_gib * size / GIB

    measured = []
    for row in hand_off_rows():
        size = row.nbytes or 0
        if row.floor_side == SHARED:
            floor, system = time_of(KIB, 0), time_of(size, microseconds_per_gib)
        else:
            floor, system = time_of(size, 1e6), time_of(size, 5e5)
        measured.append((row, Figures([(floor, system)] * 3)))
    return measured


def run_benchmarks(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "scripts.benchmarks", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def described(measured: list[tuple[Row, Figures]]) -> list[dict[str, Any]]:
    """Return rows as JSON has them."""
    return [describe(row, figures) for row, figures in measured]


def with_fits(measured: list[tuple[Row, Figures]]) -> list[dict[str, Any]]:
    """Return rows of hand-overs, and those of the lines through them, as JSON has them."""
    return described([*measured, *fit_rows(measured)])


# --- the whole ---------------------------------------------------------------------------


@pytest.mark.slow
def test_hand_overs_are_measured_on_all_sides_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    rows = [row for row in hand_off_rows() if is_light(row)]
    with open_sides(rows) as sides:
        measured = measure_together(rows, sides, rounds=2, seconds=0.01)
    told = with_fits(measured)
    assert {side for row in told for side in row["sides"]} == set(NAMES)
    assert {row["bytes"] for row in told if row["bytes"]} == set(SIZES)
    assert all(len(row["rounds"]) == 2 for row in told)
    ElementTree.fromstring(draw(MACHINE, told))


@pytest.mark.slow
def test_benchmark_of_buffers_writes_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    names = [f"--only={name}" for name in LIGHT]
    done = run_benchmarks("--rounds=1", "--seconds=0.02", *names, f"--json={path}")
    assert done.returncode == 0, done.stderr
    told = json.loads(path.read_text())["rows"]
    chosen = [row for trial in TRIALS if trial.name in LIGHT for row in trial.rows]
    assert [row["name"] for row in told] == [row.name for row in chosen]
    for row in told:
        assert row["ratio"] == row["system"] / row["floor"] > 0
        assert row["name"] in done.stdout


def test_a_picture_needs_hand_overs_among_what_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    done = run_benchmarks("--only=echo-1M", f"--plot={path}")
    assert done.returncode == 2
    assert "hand-offs" in done.stderr
    assert not path.exists()


# --- what follows from the figures -------------------------------------------------------


def test_a_straight_line_is_found_again() -> None:
    rounds = {size: [500 + 30 * size / GIB, 90 + 1e6 * size / GIB] for size in SIZES}
    one, other = fit_lines(rounds)
    assert one == pytest.approx((500, 30))
    assert other == pytest.approx((90, 1e6))


@pytest.mark.parametrize(("microseconds_per_gib", "is_met"), [(0, True), (20, True), (5e5, False)])
def test_what_copies_misses_the_targets_of_a_hand_over(
    microseconds_per_gib: float, is_met: bool
) -> None:
    told = with_fits(measured_as(microseconds_per_gib))
    assert {row["met"] for row in told if row["target"]} == {is_met}


def test_a_line_is_told_as_what_it_takes_at_all_and_with_each_gib() -> None:
    (_, fixed), (_, slope) = fit_rows(measured_as(20))
    assert fixed.floor == pytest.approx(500)
    assert fixed.system == pytest.approx(500)
    assert slope.floor == pytest.approx(1e6)
    assert slope.system == pytest.approx(20)


def test_a_rate_has_a_target_of_its_own_whatever_the_floor_does() -> None:
    assert no_less(3000).is_met(Figures([(9000, 3000)]))
    assert not no_less(3000).is_met(Figures([(10, 2999)]))


# --- the picture -------------------------------------------------------------------------


def test_a_picture_has_a_line_for_each_side() -> None:
    told = described(measured_as(20))
    lines = points_by_side(told)
    assert list(lines) == list(NAMES)
    assert list(lines[SHARED]) == SIZES
    assert list(lines["floor"]) == SENT_SIZES
    texts = {text.text for text in ElementTree.fromstring(draw(MACHINE, told)) if text.text}
    assert {*NAMES.values(), *map(name_size, SIZES), "1 ms"} <= texts


def test_names_of_lines_do_not_cover_each_other() -> None:
    picture = ElementTree.fromstring(draw(MACHINE, described(measured_as(20))))
    heights = sorted(float(t.attrib["y"]) for t in picture if t.text in NAMES.values())
    assert all(below - above >= 12 for above, below in pairwise(heights))


def test_nothing_measured_is_no_picture() -> None:
    with pytest.raises(ValueError, match="no hand-overs"):
        draw(MACHINE, [])


def test_sizes_are_told_as_people_say_them() -> None:
    assert [name_size(size) for size in SIZES[::3]] == ["1 KiB", "16 MiB", "4 GiB"]
