"""Runs from Python in one line."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

import featherpose.runs
from featherpose.errors import PoseError

WriteRun = Callable[..., Path]


def test_one_line_opens_a_run(
    write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run("first", score=70.0)
    folder = write_run("second", score=80.0)
    (folder / "steps.csv").write_text("step,train/step/loss\n50,2.5\n100,2\n")
    monkeypatch.setenv("FEATHERPOSE_RUNS", str(tmp_path))
    run = featherpose.runs.open("last")
    assert (run.name, run.score) == ("second", 80.0)
    assert run.metrics["epoch"].tolist() == [0, 1, 2]
    assert run.steps["train/step/loss"].tolist() == [2.5, 2.0]
    assert featherpose.runs.open("first").steps.empty
    assert featherpose.runs.open("first", root=tmp_path).name == "first"


def test_all_runs_as_a_dataframe(write_run: WriteRun, tmp_path: Path) -> None:
    folders = [write_run(name, score=score) for name, score in (("a", 70.0), ("b", 80.0))]
    assert featherpose.runs.dataframe(root=tmp_path)["score"].tolist() == [70.0, 80.0]
    assert featherpose.runs.dataframe(folders[1])["name"].tolist() == ["b"]
    runs = [featherpose.runs.open(name, root=tmp_path) for name in ("last", "last-1")]
    assert featherpose.runs.dataframe(*runs)["name"].tolist() == ["a", "b"]
    assert "PCKh@0.5 80.00" in runs[0]._repr_html_()


def test_runs_counted_from_the_last(write_run: WriteRun, tmp_path: Path) -> None:
    write_run("only")
    assert featherpose.runs.open("last-0", root=tmp_path).name == "only"
    with pytest.raises(PoseError, match=r"There is no run last-1: .* holds 1 runs"):
        featherpose.runs.open("last-1", root=tmp_path)


def test_the_runs_of_a_sweep(write_run: WriteRun, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(name, place="sweeps/first")
    write_run("c", place="sweeps/second")
    os.utime(tmp_path / "sweeps" / "first", (0, 0))
    assert [run.name for run in featherpose.runs.sweep("last", tmp_path)] == ["c"]
    assert [run.name for run in featherpose.runs.sweep("first", tmp_path)] == ["a", "b"]
    with pytest.raises(PoseError, match="There is no folder"):
        featherpose.runs.sweep("third", tmp_path)


def test_the_page_says_what_the_docstrings_say(root: Path) -> None:
    page = runpy.run_path(str(root / "scripts" / "python_page.py"))["page"]()
    again = "run python scripts/python_page.py"
    assert (root / "docs" / "python.md").read_text(encoding="utf-8") == page, again
    for part in ("featherpose.runs.open", "`predictions`", "`name`: its folder", "paired.compared"):
        assert part in page
