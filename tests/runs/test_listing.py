"""What `runs list` prints: on a terminal, through a pipe, as JSON; what it leaves out and how it sorts."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from featherpose.errors import UsageError
from featherpose.runs.folder import Run, find_run, find_runs
from featherpose.runs.listing import Wish, print_list

WriteRun = Callable[..., Path]
LONG = "lapx-s3-mpii-g0.2-learning_rate0.0005-none-seed0"


@pytest.fixture
def runs(write_run: WriteRun) -> list[Run]:
    folders = [
        write_run(LONG, score=86.25, config={"model": {"stages": 3}}),
        write_run("lap-seed0", score=87.5, config={"model": {"stages": 2}}),
        write_run("torn-seed0", state="failed", score=None, finished=None),
    ]
    return [Run(folder) for folder in folders]


def printed(runs: list[Run], width: int | None) -> list[str]:
    """Lines on a terminal of that width; None: through a pipe."""
    file = io.StringIO()
    terminal = width is not None
    print_list(runs, Console(file=file, width=width or 80, force_terminal=terminal, no_color=True))
    text = re.sub(r"\x1b\[\d*m", "", file.getvalue())
    return [line.rstrip() for line in text.splitlines()]


def test_it_fits_a_terminal_of_80_columns(runs: list[Run]) -> None:
    lines = printed(runs, 80)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert "86.25 PCKh@0.5" in text
    assert "scored on: mpii, paper_no_tta" in text
    assert len(lines) <= 10  # the longest name takes a few lines


def test_a_pipe_gets_whole_lines(runs: list[Run]) -> None:
    lines = printed(runs, None)
    assert len(lines) == 5
    assert lines[1].startswith(LONG)
    assert {"finished", "86.25", "PCKh@0.5", "3", "10", "min", "2.31M"} <= set(lines[1].split())
    assert "None" not in "\n".join(lines)


def test_ways_of_scoring_are_a_column_where_they_differ(write_run: WriteRun) -> None:
    runs = [Run(write_run("a")), Run(write_run("b", data={"name": "coco"}))]
    lines = printed(runs, None)
    assert lines[1].endswith("mpii, paper_no_tta")
    assert lines[2].endswith("coco, paper_no_tta")


def test_json_is_whole_and_has_no_signs_for_nothing(
    runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    print_list(runs, Console(), "json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["score"] for row in rows] == [86.25, 87.5, None]
    assert rows[0]["name"] == LONG
    assert rows[0]["folder"] == str(runs[0].folder)


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        (Wish(), [LONG, "lap-seed0", "torn-seed0"]),
        (Wish(("state=finished",), "score"), ["lap-seed0", LONG]),
        (Wish(("model.stages=3",)), [LONG]),
        (Wish(("name=seed0", "state=failed")), ["torn-seed0"]),
        (Wish((), "name"), ["lap-seed0", LONG, "torn-seed0"]),
        (Wish(("model.stages=7",)), []),
    ],
)
def test_filters_and_sorts(runs: list[Run], wish: Wish, names: list[str]) -> None:
    assert [run.name for run in wish.of(runs)] == names


def test_a_filter_without_a_value_is_refused(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="--where foo=: no run has such a key"):
        Wish(("foo=3",)).of(runs)
    assert Wish(("foo=3",)).of([]) == []
    with pytest.raises(UsageError, match="--where stages: write it as key=value"):
        Wish(("stages",)).of(runs)


def test_ids_are_short_and_find_the_run_again(write_run: WriteRun, tmp_path: Path) -> None:
    single = write_run("a").rename(tmp_path / "2026-11-21_05-11-41-9a3f_lapx-synthetic")
    place = "sweeps/2026-11-22_05-11-41-77bc"
    jobs = [write_run(f"job{i}", place=place) for i in range(11)]
    found = find_runs(tmp_path)
    assert {run.id for run in found} == {"9a3f", *(f"77bc/{i}" for i in range(11))}
    assert find_run("9a3f", tmp_path).folder == single
    assert find_run("77bc/1", tmp_path).folder == jobs[1]
    assert find_run("77bc/10", tmp_path).folder == jobs[10]
