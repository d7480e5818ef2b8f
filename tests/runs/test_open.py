"""Runs from Python in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import featherpose.runs

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
