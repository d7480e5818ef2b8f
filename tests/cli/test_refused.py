"""What is refused before it starts leaves no folder; whatever has started, or is a job of a sweep, keeps its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featherpose.cli import refused
from featherpose.runs.record import RunRecord

Typed = Callable[[str], Any]


def refused_run(folder: Path, **record: Any) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("[]")
    (folder / "train.log").write_text("")
    RunRecord(state="failed", error="There is no GPU.", **record).write(folder)
    return folder


def test_nothing_is_left_of_what_was_refused(tmp_path: Path) -> None:
    folder = refused_run(tmp_path / "train" / "run")
    refused.forget(folder, "train")
    assert not folder.exists()
    assert (tmp_path / "train").is_dir()


def test_what_is_more_than_a_beginning_stays(tmp_path: Path) -> None:
    started = refused_run(tmp_path / "started", device="cpu")
    resumed = refused_run(tmp_path / "resumed", resumed=["2026-01-01"])
    theirs = refused_run(tmp_path / "theirs")
    (theirs / "notes.txt").write_text("mine")
    job = refused_run(tmp_path / "sweep" / "0_lapx")
    (tmp_path / "sweep" / "multirun.yaml").write_text("")
    logs = refused_run(tmp_path / "logs")
    (logs / "mine.log").write_text("")
    for folder in (started, resumed, theirs, job, logs):
        refused.forget(folder, "train")
        assert (folder / ".hydra" / "overrides.yaml").is_file()
        assert (folder / "run.json").is_file()
    refused.forget(tmp_path / "nowhere", "train")


@pytest.mark.parametrize(
    "line", ["train debug=tiny trainer=cpu trainer.devices=0", "evaluate", "train +nobody=1"]
)
def test_refused_on_the_command_line(line: str, typed: Typed, tmp_path: Path) -> None:
    answer = typed(line)
    assert answer.code, answer.text
    assert not [path for path in tmp_path.glob("runs/*/*") if path.is_dir()], answer.text
